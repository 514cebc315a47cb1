"""A trained network for whole scans that are in no store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.models import Settings, fastest_time, load_weights
from liverutils.prediction.painter import Painter, likeliest
from liverutils.scans import VIEW_AXES, Case, View
from liverutils.slices import Resampler, Warp, apply_window, cut_picture, gathered_ahead
from liverutils.training import choose_device

# Pixels of a batch of new slices: enough to keep the device busy, few enough to bound the memory.
PIXELS_PER_BATCH = {"cpu": 2**17, "cuda": 2**20}


Changes = Sequence[tuple[float, float]]  # turns (degrees) and zooms
UNCHANGED: Changes = ((0, 1.0),)

# Of test-time augmentation. Left and right are not exchanged: the liver lies on one side.
TEST_TIME_CHANGES: Changes = ((0, 1.0), (-8, 1.0), (8, 1.0), (0, 0.93), (0, 1.07))


def class_probabilities(model: nn.Module, images: Tensor, settings: Settings) -> Tensor:
    """Return class probabilities (B, classes, H, W), float32, of windowed images (B, C, H, W)."""
    with torch.inference_mode(), settings.autocast(images.device):
        output = model(settings.lay_out_batch(images))
    logits = output[0] if isinstance(output, tuple) else output  # Masks are the first task.
    return logits.float().softmax(1)


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
        BadInput: As `models.load_weights` and `training.choose_device`; no_facts,
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
    place = choose_device(device)
    fold_batch_norms(model)
    image = torch.zeros(1, channels, data["size"], data["size"], device=place)
    return TrainedNetwork(model, data, place, _fastest(model.to(place), image))


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
    augment: bool | Changes = False,
    keep_probabilities: bool = False,
    progress: bool = False,
) -> Segmentation:
    """Segment a scan that has no labels, slice by slice, in memory bounded by the volume.

    Args:
        network: From `load_network`.
        case: The scan.
        view: One of the network's views; by default all of them, and their mean counts.
        augment: Average over `TEST_TIME_CHANGES`, which takes five times as long, or over other
            turns (degrees) and zooms.
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
    changes = (
        (TEST_TIME_CHANGES if augment else UNCHANGED) if isinstance(augment, bool) else augment
    )
    if len(views) == 1:
        painter = _paint_view(network, case, views[0], changes, keep_probabilities, progress)
        return Segmentation(painter.labels, painter.probabilities)
    painters = (_paint_view(network, case, view, changes, True, progress) for view in views)
    probabilities = _mean([p.probabilities for p in painters if p.probabilities is not None])
    return Segmentation(_labels_of(probabilities), probabilities if keep_probabilities else None)


def _paint_view(
    network: TrainedNetwork, case: Case, view: View, changes: Changes, keep: bool, progress: bool
) -> Painter:
    """Segment from the slices of one view; a thread cuts the next ones while the network works."""
    resampler = Resampler.for_scan(case.image.shape, case.spacing, view, network.data["size"])
    painter = Painter(resampler, view, case.image.shape, keep)
    batches = gathered_ahead(cut_batches(network, case, view, resampler), pin=False)
    depth, done = case.image.shape[VIEW_AXES[view]], 0
    with tqdm(total=depth, desc=view, unit="slice", disable=not progress) as bar:
        for (raw,) in batches:
            images = apply_window(raw.to(network.device), network.data["window"])
            painter.paint(done, slice_probabilities(network, images, changes))
            done += len(images)
            bar.update(len(images))
    return painter


def _mean(volumes: list[np.ndarray]) -> np.ndarray:
    """Mean of uint8 volumes, plane by plane, in the place of the first."""
    for planes in zip(*(np.moveaxis(volume, 2, 0) for volume in volumes), strict=True):
        planes[0][:] = np.rint(np.mean(planes, axis=0, dtype=np.float32))
    return volumes[0]


def _labels_of(probabilities: np.ndarray) -> np.ndarray:
    """Labels (X, Y, Z) of probabilities as `Painter` keeps them."""
    labels = np.zeros(probabilities.shape[:3], np.uint8, order="F")
    for index in range(probabilities.shape[2]):
        liver, tumor = np.moveaxis(probabilities[:, :, index], -1, 0).astype(np.int16)
        scores = torch.from_numpy(np.stack([255 - liver, liver - tumor, tumor]))
        labels[..., index] = likeliest(scores[None])[0]
    return labels


def cut_batches(
    network: TrainedNetwork,
    case: Case,
    view: View,
    resampler: Resampler,
    chosen: Sequence[int] | None = None,
) -> Iterator[tuple[Tensor]]:
    """Yield raw slices with their neighbours, (B, C, size, size) int16, each slice cut once.

    `chosen` are the slices to cut; all of them by default.
    """
    context, depth = network.data["context_slices"], case.image.shape[VIEW_AXES[view]]
    chosen = range(depth) if chosen is None else chosen
    step = max(1, PIXELS_PER_BATCH[network.device.type] // resampler.size**2)

    @lru_cache(maxsize=2 * context + 1)
    def cut(index: int) -> np.ndarray:
        return cut_picture(resampler, case, view, index)

    for first in range(0, len(chosen), step):
        indices = np.asarray(chosen[first : first + step])[:, None]
        around = np.clip(indices + np.arange(-context, context + 1), 0, depth - 1)
        yield (torch.from_numpy(np.array([[cut(i) for i in row] for row in around.tolist()])),)


def _fastest(model: nn.Module, images: Tensor) -> Settings:
    """Try which settings answer fastest, and lay the network out for them."""
    half = "bfloat16" if images.device.type == "cpu" else "float16"
    fastest = min((Settings("float32"), Settings(half)), key=partial(_time_forward, model, images))
    turned = replace(fastest, channels_last=True)
    fastest = min((fastest, turned), key=partial(_time_forward, model, images))
    fastest.lay_out(model)
    return fastest


def _time_forward(model: nn.Module, images: Tensor, settings: Settings) -> float:
    """Seconds of the fastest pass."""
    settings.lay_out(model)
    return fastest_time(lambda: class_probabilities(model, images, settings), images.device)


def slice_probabilities(
    network: TrainedNetwork, images: Tensor, changes: Changes = UNCHANGED
) -> Tensor:
    """Return class probabilities, averaged over turned and zoomed copies."""
    total = torch.zeros((), device=images.device)
    for degrees, zoom in changes:
        if (degrees, zoom) == UNCHANGED[0]:
            total = total + class_probabilities(network.model, images, network.settings)
            continue
        there, back = (_transform(sign * degrees, zoom**sign) for sign in (1, -1))
        probabilities = class_probabilities(network.model, _warp(images, there), network.settings)
        total = total + _warp(probabilities, back)
    return total / len(changes)


def _transform(degrees: float, zoom: float) -> Tensor:
    """The 2×3 matrix from output to input coordinates."""
    angle = np.deg2rad(degrees)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], dtype=torch.float32)


def _warp(pictures: Tensor, transform: Tensor) -> Tensor:
    """Turn and zoom pictures (B, C, H, W) around their centre, linearly interpolated."""
    transforms = transform.to(pictures.device).expand(len(pictures), 2, 3)
    return Warp(transforms, pictures.shape[2:]).pictures(pictures)


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
