"""From a trained network and the slices of a scan to a mask on the scan's own voxel grid.

Scans of a store are scored against their labels; a new scan, which has none, is cut and segmented
on the fly with the weights of a run.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm.auto import tqdm

from liverutils.datasets.loaders import SliceLoader, SliceSet, apply_window, gathered_ahead
from liverutils.datasets.store import Resampler, SliceStore, cut_picture
from liverutils.datasets.volumes import TUMOR, VIEW_AXES, Case, View, as_picture
from liverutils.errors import BadInput
from liverutils.learners import CourseLearner
from liverutils.logs import RunLogs
from liverutils.metrics import score_lesions, score_patient
from liverutils.models import load_weights
from liverutils.settings import Settings, choose_device

# Pixels of a batch of new slices: enough to keep the device busy, few enough to bound the memory.
PIXELS_PER_BATCH = {"cpu": 2**17, "cuda": 2**20}

# Turns (degrees) and zooms of test-time augmentation. Left and right are not exchanged: the liver
# lies on one side.
TEST_TIME_CHANGES = ((0, 1.0), (-8, 1.0), (8, 1.0), (0, 0.93), (0, 1.07))


# --- Scans of a store -------------------------------------------------------------------------


def predict_slices(learn: CourseLearner, slices: SliceSet) -> Iterator[Tensor]:
    """Yield class probabilities (B, classes, H, W), float32 on the device, batch by batch."""
    model = learn.model.eval().to(memory_format=learn.settings.memory_format)
    loader = SliceLoader(slices, bs=learn.dls.train.bs, device=learn.dls.device)
    for images, _ in loader:
        yield class_probabilities(model, images, learn.settings)


def class_probabilities(model: nn.Module, images: Tensor, settings: Settings) -> Tensor:
    """Return class probabilities (B, classes, H, W), float32, of windowed images (B, C, H, W)."""
    dtype, is_mixed = getattr(torch, settings.dtype), settings.dtype != "float32"
    with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=is_mixed):
        output = model(images.contiguous(memory_format=settings.memory_format))
    logits = output[0] if isinstance(output, tuple) else output  # Masks are the first task.
    return logits.float().softmax(1)


def predict_labels(learn: CourseLearner, slices: SliceSet) -> np.ndarray:
    """Return the labels (N, H, W) uint8 of slices, on the store's pixels."""
    labels = [
        probabilities.argmax(1).byte().cpu() for probabilities in predict_slices(learn, slices)
    ]
    return torch.cat(labels).numpy()


def predict_volume(learn: CourseLearner, store: SliceStore, slices: SliceSet) -> np.ndarray:
    """Segment one scan of a store.

    The probabilities, not the labels, are interpolated to the scan's grid, so that the mask's
    outline is not that of the store's larger pixels.

    Args:
        learn: A trained learner.
        store: The store that holds the scan.
        slices: The scan's slices, from `SliceSet.of_volume`.

    Returns:
        Labels (X, Y, Z) uint8 on the scan's own grid, RAS.
    """
    volume, view = slices.slices.volume[0], store.info["view"]
    painter = Painter(store.resampler(volume, view), view, store.info["volumes"][volume]["shape"])
    first = 0
    for probabilities in predict_slices(learn, slices):
        painter.paint(first, probabilities)
        first += len(probabilities)
    return painter.labels


class Painter:
    """Interpolates the probabilities of slices to a scan's grid and paints the labels there.

    Attributes:
        labels: (X, Y, Z) uint8, RAS; zero until painted.
        probabilities: (X, Y, Z, 2) uint8, 255 for certain: liver, tumour included, and tumour;
            None where they are not kept.
    """

    def __init__(
        self, resampler: Resampler, view: View, shape: tuple[int, ...], keep: bool = False
    ):
        """Start with an empty volume of `shape`; `keep` keeps the probabilities too."""
        self._rows, self._columns = resampler.back()
        self._axis = VIEW_AXES[view]
        # In the order in which NIfTI stores voxels, so that an axial slice is one piece of memory.
        self.labels = np.zeros(shape, np.uint8, order="F")
        self.probabilities = np.zeros((*shape, 2), np.uint8, order="F") if keep else None

    def paint(self, first: int, probabilities: Tensor) -> None:
        """Paint the slices from `first` on; `probabilities` (B, classes, size, size), anywhere."""
        if self.probabilities is not None:
            self._keep(first, probabilities)
        found = (probabilities[:, 1:].amax(1) > probabilities[:, 0]).cpu().numpy()
        if found.any():
            self._paint_box(first, probabilities, found)

    def _paint_box(self, first: int, probabilities: Tensor, found: np.ndarray) -> None:
        """Interpolate only the box that holds all but background: around it all is background."""
        rows, from_rows = _box(found.any((0, 2)), self._rows)
        columns, from_columns = _box(found.any((0, 1)), self._columns)
        scan = _interpolate(
            self._rows[rows, from_rows],
            probabilities[..., from_rows, from_columns],
            self._columns[columns, from_columns],
        )
        planes = np.moveaxis(self.labels, self._axis, 0)[first:]
        for plane, picture in zip(planes, _likeliest(scan).cpu().numpy(), strict=False):
            as_picture(plane)[rows, columns] = picture

    def _keep(self, first: int, probabilities: Tensor) -> None:
        planes = np.moveaxis(self.probabilities, self._axis, 0)[first:]
        for plane, picture in zip(planes, probabilities, strict=False):
            scan = _interpolate(self._rows, picture, self._columns).cpu().numpy()
            as_picture(plane[..., 0])[:] = np.rint(255 * (1 - scan[0]))
            as_picture(plane[..., 1])[:] = np.rint(255 * scan[TUMOR])


def _interpolate(rows: np.ndarray, pictures: Tensor, columns: np.ndarray) -> Tensor:
    rows, columns = (torch.from_numpy(m).to(pictures.device) for m in (rows, columns))
    return rows @ pictures @ columns.T


def _likeliest(scores: Tensor) -> Tensor:
    """Argmax over the classes of (B, classes, …), uint8; torch's own is slow for so few classes."""
    highest, labels = scores[:, 0], torch.zeros_like(scores[:, 0], dtype=torch.uint8)
    for label in range(1, scores.shape[1]):
        labels.masked_fill_(scores[:, label] > highest, label)
        highest = torch.maximum(highest, scores[:, label])
    return labels


def _box(found: np.ndarray, weights: np.ndarray) -> tuple[slice, slice]:
    """Rows of the scan that read any row `found` of the store, and all store rows they read."""
    first, last = np.flatnonzero(found)[[0, -1]]
    reading = np.flatnonzero(weights[:, first : last + 1].any(1))
    scan = slice(reading[0], reading[-1] + 1) if len(reading) else slice(0)
    return scan, slice(max(first - 1, 0), last + 2)


def score_held_out(
    learn: CourseLearner,
    store: SliceStore,
    logs: RunLogs,
    predict: Callable[[CourseLearner, SliceStore, SliceSet], np.ndarray] = predict_volume,
) -> pd.DataFrame:
    """Score the test patients; write `_test`, `_patients` and `_lesions` and the run's final times.

    `_test.csv` holds the scores on the store's pixels, as `_val.csv` does. `_patients.csv`, which
    is returned, has one row per held-out scan, scored on its own voxel grid by
    `metrics.score_patient`; `_lesions.csv` one row per lesion, true or only predicted.

    Args:
        learn: A trained learner.
        store: The store it was trained on.
        logs: Where the run writes.
        predict: Segments one scan, as `predict_volume` does.
    """
    test = learn.dls[2]
    learn.validate(dl=test)
    learn.run_facts["scores"]["test"] = learn.scorer.log_row("test")
    logs.write("test", pd.DataFrame([{"epoch": learn.best_epoch} | learn.scorer.log_row("test")]))
    patients, lesions = [], []
    for volume in test.dataset.slices.volume.unique():
        slices = test.dataset.of_volume(volume)
        names = {"patient": slices.slices.patient[0], "volume": volume}
        spacing = store.info["volumes"][volume]["spacing"]
        predicted, true = predict(learn, store, slices), store.true_mask(volume)
        patients.append(names | score_patient(predicted, true, spacing))
        found = score_lesions(predicted == TUMOR, true == TUMOR, spacing)
        lesions.append(found.assign(**names))
    logs.write("patients", pd.DataFrame(patients))
    logs.write("lesions", pd.concat(lesions, ignore_index=True))
    logs.write_run(learn.run_facts)
    return pd.DataFrame(patients)


# --- New scans --------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainedNetwork:
    """A network from a weights file, with what its pictures must be.

    Attributes:
        model: On its device, in evaluation mode.
        data: What it was trained on: view, size, window, intensity, context_slices.
        device: Where it computes.
        settings: How it computes fastest there.
    """

    model: nn.Module
    data: dict[str, Any]
    device: torch.device
    settings: Settings

    @property
    def views(self) -> list[View]:
        """The views it was trained on, one or several."""
        return self.data["view"].split("+")


class Segmentation(NamedTuple):
    """What a network says of a scan: `Painter.labels` and `Painter.probabilities`."""

    labels: np.ndarray
    probabilities: np.ndarray | None


NEEDED = ("view", "size", "window", "intensity", "context_slices", "target")


def load_network(path: Path | str, device: str = "auto") -> TrainedNetwork:
    """Load a segmentation network from the weights that a run saved.

    Raises:
        BadInput: As `models.load_weights` and `settings.choose_device`; no_facts,
            no_segmentation, wrong_channels.
    """
    model, facts = load_weights(path)
    data = facts.get("data", {})
    if missing := [name for name in NEEDED if name not in data]:
        raise BadInput(
            f"{path} does not say which {', '.join(missing)} its network was trained on, and "
            "nothing is guessed: take weights that a run of this course saved.",
            fault="no_facts",
        )
    if data["target"] == "label":
        raise BadInput(
            f"The network in {path} classifies slices; take the weights of a segmentation.",
            fault="no_segmentation",
        )
    channels, expected = facts["model"].get("in_channels", 1), 2 * data["context_slices"] + 1
    if channels != expected:
        raise BadInput(
            f"The network in {path} takes {channels} channels, but was trained with "
            f"{data['context_slices']} slices of context, which make {expected}: take the weights "
            "as the run saved them.",
            fault="wrong_channels",
        )
    device = choose_device(device)
    fold_batch_norms(model)
    image = torch.zeros(1, channels, data["size"], data["size"], device=device)
    return TrainedNetwork(model, data, device, _fastest(model.to(device), image))


def fold_batch_norms(model: nn.Module) -> None:
    """Fold each batch normalisation that follows a convolution into its weights, in place.

    A trained normalisation multiplies and adds constants, as the convolution can do itself; a
    U-Net answers about a fifth faster.
    """
    for block in model.modules():
        if isinstance(block, nn.Sequential):
            for first, (layer, following) in enumerate(pairwise(block)):
                if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                    block[first] = fuse_conv_bn_eval(layer, following)
                    block[first + 1] = nn.Identity()


def segment(
    network: TrainedNetwork,
    case: Case,
    *,
    view: View | None = None,
    augment: bool = False,
    keep_probabilities: bool = False,
    progress: bool = False,
) -> Segmentation:
    """Segment a scan that has no labels, slice by slice, in memory bounded by the volume.

    Args:
        network: From `load_network`.
        case: The scan.
        view: One of the network's views; by default all of them, and their mean counts.
        augment: Average over `TEST_TIME_CHANGES`; takes five times as long.
        keep_probabilities: Return the probabilities too.
        progress: Show a progress bar.

    Raises:
        BadInput: other_intensity, other_view.
    """
    if case.intensity != network.data["intensity"]:
        raise BadInput(
            f"{case.volume} holds {case.intensity} values, but the network was trained on "
            f"{network.data['intensity']} values: take weights for such scans.",
            fault="other_intensity",
        )
    if view and view not in network.views:
        raise BadInput(
            f"The network was trained on {' and '.join(network.views)} slices, not on {view} ones: "
            "choose what it knows, or other weights.",
            fault="other_view",
        )
    views = [view] if view else network.views
    keep = keep_probabilities or len(views) > 1
    painted = (_segment_view(network, case, view, augment, keep, progress) for view in views)
    if len(views) == 1:
        return next(painted)
    probabilities = _mean([of_view.probabilities for of_view in painted])
    return Segmentation(_labels_of(probabilities), probabilities if keep_probabilities else None)


def _segment_view(
    network: TrainedNetwork, case: Case, view: View, augment: bool, keep: bool, progress: bool
) -> Segmentation:
    """Segment from the slices of one view; a thread cuts the next ones while the network works."""
    resampler = Resampler.for_scan(case.image.shape, case.spacing, view, network.data["size"])
    painter = Painter(resampler, view, case.image.shape, keep)
    batches = gathered_ahead(cut_batches(network, case, view, resampler), pin=False)
    depth, done = case.image.shape[VIEW_AXES[view]], 0
    with tqdm(total=depth, desc=view, unit="slice", disable=not progress) as bar:
        for (raw,) in batches:
            images = apply_window(raw.to(network.device), network.data["window"])
            painter.paint(done, _predict(network, images, augment))
            done += len(images)
            bar.update(len(images))
    return Segmentation(painter.labels, painter.probabilities)


def _mean(volumes: list[np.ndarray]) -> np.ndarray:
    """Mean of uint8 volumes, plane by plane, in the place of the first."""
    for planes in zip(*(np.moveaxis(volume, 2, 0) for volume in volumes), strict=True):
        planes[0][:] = np.rint(np.mean(planes, axis=0, dtype=np.float32))
    return volumes[0]


def _labels_of(probabilities: np.ndarray) -> np.ndarray:
    """Labels (X, Y, Z) of probabilities as `Painter` keeps them."""
    labels = np.zeros(probabilities.shape[:3], np.uint8, order="F")
    for index in range(labels.shape[2]):
        liver, tumor = np.moveaxis(probabilities[:, :, index], -1, 0).astype(np.int16)
        scores = torch.from_numpy(np.stack([255 - liver, liver - tumor, tumor]))
        labels[..., index] = _likeliest(scores[None])[0]
    return labels


def cut_batches(
    network: TrainedNetwork, case: Case, view: View, resampler: Resampler
) -> Iterator[tuple[Tensor]]:
    """Yield raw slices with their neighbours, (B, C, size, size) int16, each slice cut once."""
    context, depth = network.data["context_slices"], case.image.shape[VIEW_AXES[view]]
    step = max(1, PIXELS_PER_BATCH[network.device.type] // resampler.size**2)

    @lru_cache(maxsize=2 * context + 1)
    def cut(index: int) -> np.ndarray:
        return cut_picture(resampler, case, view, index)

    for first in range(0, depth, step):
        indices = np.arange(first, min(first + step, depth))[:, None]
        around = np.clip(indices + np.arange(-context, context + 1), 0, depth - 1)
        yield (torch.from_numpy(np.array([[cut(i) for i in row] for row in around.tolist()])),)


def _fastest(model: nn.Module, images: Tensor) -> Settings:
    """Try which settings answer fastest, and lay the network out for them."""
    half = "bfloat16" if images.device.type == "cpu" else "float16"
    fastest = min((Settings("float32"), Settings(half)), key=partial(_time_forward, model, images))
    turned = replace(fastest, channels_last=True)
    fastest = min((fastest, turned), key=partial(_time_forward, model, images))
    model.to(memory_format=fastest.memory_format)
    return fastest


def _time_forward(model: nn.Module, images: Tensor, settings: Settings) -> float:
    """Seconds of the fastest of three passes: whatever else the machine does slows one down."""
    model.to(memory_format=settings.memory_format)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        class_probabilities(model, images, settings).cpu()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _predict(network: TrainedNetwork, images: Tensor, augment: bool) -> Tensor:
    """Return class probabilities, averaged over turned and zoomed copies where `augment` is set."""
    if not augment:
        return class_probabilities(network.model, images, network.settings)
    total = 0
    for degrees, zoom in TEST_TIME_CHANGES:
        there, back = (_transform(sign * degrees, zoom**sign) for sign in (1, -1))
        probabilities = class_probabilities(network.model, _warp(images, there), network.settings)
        total = total + _warp(probabilities, back)
    return total / len(TEST_TIME_CHANGES)


def _transform(degrees: float, zoom: float) -> Tensor:
    """The 2×3 matrix from output to input coordinates."""
    angle = np.deg2rad(degrees)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], dtype=torch.float32)


def _warp(pictures: Tensor, transform: Tensor) -> Tensor:
    """Turn and zoom pictures (B, C, H, W) around their centre, linearly interpolated."""
    grid = F.affine_grid(
        transform.to(pictures.device).expand(len(pictures), 2, 3),
        list(pictures.shape),
        align_corners=False,
    )
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def keep_largest_liver(labels: np.ndarray) -> None:
    """Set all but the largest connected piece of liver and tumour to background, in place.

    Tumours outside the liver go with the pieces they are, or lie, in. Voxels that touch by a face
    are connected.
    """
    turned = labels.T  # In the order of memory, which SciPy walks through faster.
    boxes = ndimage.find_objects((turned > 0).view(np.uint8))
    if not boxes:
        return
    box = turned[boxes[0]]
    pieces, n_pieces = ndimage.label(box)
    if n_pieces > 1:
        sizes = np.bincount(pieces[box > 0])
        box[pieces != sizes.argmax()] = 0
