"""fastai DataLoaders over a slice store: whole batches at once, prepared on the device."""

import queue
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import pandas as pd
import psutil
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.torch_core import apply
from torch import Tensor
from torch.nn import functional as F

from liverutils.datasets.splits import Split
from liverutils.datasets.store import SliceStore
from liverutils.errors import BadInput

Target = Literal["mask", "label", "both"]
Sampling = Literal["natural", "balanced"]
Targets = Tensor | tuple[Tensor, Tensor]

# What the networks see of the store's values: the soft tissue of the abdomen, or all greys.
WINDOWS = {"HU": (-100.0, 240.0), "grey": (0.0, 255.0)}
RESIDENT_SHARE = 0.4
BATCHES_AHEAD = 3
PIECE = 2**16  # numbers, at least, of a batch that are augmented together on a CPU


def apply_window(values: Tensor, window: tuple[float, float]) -> Tensor:
    """Map `window` (low, high) to -1…1 and clip what lies outside; float32, any shape."""
    low, high = window
    return values.float().sub_((low + high) / 2).div_((high - low) / 2).clamp_(-1, 1)


@dataclass(frozen=True)
class Augment:
    """Random changes of a training batch, drawn anew for each slice, on the batch's device.

    Attributes:
        rotate: Largest rotation, degrees.
        scale: Largest relative change of size.
        shift: Largest shift, as a share of the picture's side.
        flip: Probability of exchanging left and right. (The liver then lies on the wrong side.)
        brightness: Largest change of brightness, as a share of the window.
        contrast: Largest relative change of contrast.
        noise: Largest standard deviation of added noise, as a share of the window.
    """

    rotate: float = 15.0
    scale: float = 0.15
    shift: float = 0.05
    flip: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.15
    noise: float = 0.05

    def __call__(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Change images (B, C, H, W) linearly interpolated, masks (B, H, W) nearest, alike."""
        transforms, draws = self._transforms(images), _uniform(images, 3)
        changed, moved = torch.empty_like(images), torch.empty_like(masks)
        for some in _pieces(images):
            grid = F.affine_grid(transforms[some], images[some].shape, align_corners=False)
            changed[some] = F.grid_sample(
                images[some], grid, padding_mode="border", align_corners=False
            )
            self._change_values(changed[some], draws[:, some])
            moved[some] = F.grid_sample(
                masks[some, None].to(images.dtype), grid, mode="nearest", align_corners=False
            )[:, 0]
        return changed, moved

    def _transforms(self, images: Tensor) -> Tensor:
        """One random 2×3 matrix per image, from output to input coordinates."""
        angle, zoom, right, down, mirror = _uniform(images, 5)
        angle = angle * np.pi * self.rotate / 180
        zoom = 1 + self.scale * zoom
        mirrored = torch.where((mirror + 1) / 2 < self.flip, -1.0, 1.0)
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        rows = [cos * mirrored, -sin, self.shift * 2 * right, sin * mirrored, cos]
        return torch.stack([*rows, self.shift * 2 * down], dim=1).view(-1, 2, 3)

    def _change_values(self, images: Tensor, draws: Tensor) -> None:
        gain, offset, noise = draws.view(3, -1, 1, 1, 1)
        images.mul_(1 + self.contrast * gain).add_(2 * self.brightness * offset)
        images.add_(torch.randn_like(images).mul_(self.noise * (noise + 1))).clamp_(-1, 1)


def _pieces(images: Tensor) -> list[slice]:
    """Parts of a batch: what lies in a processor's cache is changed faster than what does not."""
    length = len(images)
    if images.device.type == "cpu":
        length = max(torch.get_num_threads(), PIECE // images[0].numel())
    return [slice(first, first + length) for first in range(0, len(images), length)]


def _uniform(images: Tensor, n: int) -> Tensor:
    """`n` rows of one number in -1…1 per image."""
    return torch.rand(n, len(images), device=images.device) * 2 - 1


@dataclass
class SliceSet:
    """Slices of some patients as a data set that hands out whole batches.

    Attributes:
        images, masks: The store's arrays, on the device or memory-mapped.
        slices: The table of these slices only.
        neighbours: (n, 2 * context + 1) rows of `images` that make each slice's channels.
        window: (low, high) of the store's values that is mapped to -1…1.
        target: "mask" for segmentation, "label" for classification, "both" for both tasks.
        augment: Applied on the device; None for validation and test, always.
    """

    images: Tensor
    masks: Tensor
    slices: pd.DataFrame
    neighbours: Tensor
    window: tuple[float, float]
    target: Target
    augment: Augment | None

    def __post_init__(self):
        middle = self.neighbours.shape[1] // 2
        self.rows = self.neighbours[:, middle].contiguous()
        self.labels = torch.tensor(self.slices.label.to_numpy(copy=True))

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple[Tensor, Targets]:
        return apply(lambda batch: batch[0], self.prepare(*self.gather([index])))

    def of_volume(self, volume: str, view: str | None = None) -> "SliceSet":
        """Return the slices of one scan only, in one view or in all that there are."""
        chosen = self._indices_by_volume[volume]
        if view:
            chosen = chosen[self.slices.view.iloc[chosen] == view]
        slices = self.slices.iloc[chosen].reset_index(drop=True)
        return replace(self, slices=slices, neighbours=self.neighbours[chosen])

    @cached_property
    def _indices_by_volume(self) -> dict[str, np.ndarray]:
        """Each scan's slices; to search the whole table for each of them would be quadratic."""
        return self.slices.groupby("volume").indices

    def gather(self, indices: Sequence[int] | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return raw images (B, C, H, W) int16, masks (B, H, W) uint8 and labels (B,)."""
        indices = torch.as_tensor(indices)
        rows = self.neighbours[indices]
        on_device = self.images.device
        images = self.images.index_select(0, rows.flatten().to(on_device))
        masks = self.masks.index_select(0, self.rows[indices].to(on_device))
        return images.unflatten(0, rows.shape), masks, self.labels[indices].to(on_device)

    def prepare(self, images: Tensor, masks: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """Window and augment a gathered batch where it lies; return (images, targets)."""
        images = apply_window(images, self.window)
        if self.augment is not None:
            images, masks = self.augment(images, masks)
        masks = masks.long()
        return images, {"mask": masks, "label": labels, "both": (masks, labels)}[self.target]


class SliceLoader(DataLoader):
    """A fastai DataLoader that gathers whole batches from a `SliceSet`.

    The order is drawn from torch's generator, so seeding an epoch fixes it. `order` keeps it:
    batch b of the running epoch holds the slices `order[b * bs:(b + 1) * bs]`. With `weights` (N,)
    the slices of an epoch are drawn with replacement, each as often as its weight says.
    """

    def __init__(self, dataset: SliceSet, bs: int, weights: Tensor | None = None, **kwargs):
        super().__init__(dataset, bs=bs, num_workers=0, **kwargs)
        self.weights = weights

    def get_idxs(self) -> Tensor:
        """Return this epoch's order of the slices."""
        n = len(self.dataset)
        if self.weights is not None:
            self.order = torch.multinomial(self.weights, n, replacement=True)
        else:
            self.order = torch.randperm(n) if self.shuffle else torch.arange(n)
        return self.order

    def __iter__(self) -> Iterator[tuple[Tensor, Targets]]:
        order = self.get_idxs()
        stop = len(order) - len(order) % self.bs if self.drop_last else len(order)
        chunks = (order[i : min(i + self.bs, stop)] for i in range(0, stop, self.bs))
        batches = map(self.dataset.gather, chunks)
        if self.dataset.images.device != self.device or not _in_memory(self.dataset.images):
            batches = gathered_ahead(batches, pin=self.device.type == "cuda")
        for batch in batches:
            yield self.dataset.prepare(*(t.to(self.device, non_blocking=True) for t in batch))


def _in_memory(images: Tensor) -> bool:
    return images.device.type != "cpu" or images.nbytes < RESIDENT_SHARE * _free_memory("cpu")


def gathered_ahead(batches: Iterator, pin: bool) -> Iterator:
    """Gather the next batches, tuples of tensors, in a thread while the device works on this one.

    Where `pin` is set they lie in memory from which a GPU copies faster.
    """
    ready: queue.Queue = queue.Queue(BATCHES_AHEAD)
    abandoned = threading.Event()

    def put(item) -> None:
        while not abandoned.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def gather() -> None:
        try:
            for batch in batches:
                put((tuple(t.pin_memory() for t in batch) if pin else batch, None))
                if abandoned.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=gather, daemon=True).start()
    try:
        while True:
            batch, error = ready.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
    finally:
        abandoned.set()


def slice_loaders(
    store: SliceStore,
    split: Split,
    *,
    batch_size: int,
    context_slices: int = 0,
    window: tuple[float, float] | None = None,
    target: Target = "mask",
    sampling: Sampling = "natural",
    augment: Augment | None = None,
    device: torch.device | str = "cpu",
) -> DataLoaders:
    """Return the loaders `train`, `valid` and, as `dls[2]`, `test` of a split by patient.

    Batches are images (B, 2 * context_slices + 1, H, W) float32 in -1…1 and targets: masks
    (B, H, W) int64, labels (B,) int64, or a tuple of both. The store lies on the device where it
    takes at most 40 % of its free memory; else batches are gathered ahead by a thread.

    `dls.facts` says what the batches are made of, for the logs and the weights.

    Args:
        store: The slices.
        split: Patients of each part.
        batch_size: Slices per batch.
        context_slices: Neighbouring slices on each side that become channels. At the end of a scan
            the last slice stands in for the missing ones; a channel never shows another scan.
        window: (low, high) mapped to -1…1; by default `WINDOWS` for the store's kind of values.
        target: "mask", "label" or "both".
        sampling: "natural" shows each training slice once an epoch; "balanced" draws as many with
            replacement, each label as often as the others. Validation and test stay natural.
        augment: Changes the training batches, and only those.
        device: Where batches are prepared.

    Raises:
        BadInput: An unknown `sampling`.
    """
    if sampling not in get_args(Sampling):
        raise BadInput(f"sampling is {sampling!r}: it must be 'natural' or 'balanced'.")
    balanced = sampling == "balanced"
    device = torch.device(device)
    window = window or WINDOWS[store.info["intensity"]]
    images, masks = _place(store, device)
    neighbours = torch.as_tensor(neighbour_rows(store.slices, context_slices))

    def loader(patients: Sequence[str], training: bool) -> SliceLoader:
        rows = store.rows_of(patients)
        dataset = SliceSet(
            images,
            masks,
            store.slices.iloc[rows].reset_index(drop=True),
            neighbours[rows],
            window,
            target,
            augment if training else None,
        )
        # A last batch of one slice would leave batch normalisation nothing to average over.
        drop_last = training and len(rows) > batch_size
        return SliceLoader(
            dataset,
            bs=min(batch_size, len(rows)),
            weights=balancing_weights(dataset.labels) if balanced and training else None,
            shuffle=training,
            drop_last=drop_last,
            device=device,
        )

    dls = DataLoaders(
        loader(split.train, training=True),
        loader(split.valid, training=False),
        loader(split.test, training=False),
        device=device,
    )
    kept = ("source", "fingerprint", "view", "size", "intensity", "cropped_to")
    dls.facts = {
        "data": {key: store.info[key] for key in kept if key in store.info}
        | {"window": list(window), "context_slices": context_slices, "target": target},
        "split": {part: list(patients) for part, patients in asdict(split).items()},
        "augment": asdict(augment) if augment else None,
        "sampling": sampling,
    }
    return dls


def balancing_weights(labels: Tensor) -> Tensor:
    """Return a weight (N,) per slice with which every label that occurs weighs the same in sum."""
    return 1 / torch.bincount(labels)[labels]


def neighbour_rows(slices: pd.DataFrame, context_slices: int) -> np.ndarray:
    """Rows (N, 2 * context_slices + 1) of each slice and its neighbours in the same scan."""
    row = np.arange(len(slices))
    scan = slices.groupby(["volume", "view"], sort=False).ngroup().to_numpy()
    order = np.lexsort((slices["index"].to_numpy(), scan))
    place = np.empty_like(order)
    place[order] = row
    first = np.searchsorted(scan[order], scan, side="left")
    last = np.searchsorted(scan[order], scan, side="right") - 1
    offsets = np.arange(-context_slices, context_slices + 1)
    return order[np.clip(place[:, None] + offsets, first[:, None], last[:, None])]


def _place(store: SliceStore, device: torch.device) -> tuple[Tensor, Tensor]:
    """The store's arrays: copied to the device where they fit, else memory-mapped."""
    images, masks = _shared(store.images), _shared(store.masks)
    size = images.nbytes + masks.nbytes
    if device.type != "cpu" and size < RESIDENT_SHARE * _free_memory(device):
        return images.to(device), masks.to(device)
    return images, masks


def _shared(array: np.ndarray) -> Tensor:
    """Return a tensor on a read-only array. Torch warns; but batches are copies, and only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _free_memory(device: torch.device | str) -> int:
    """Free memory of a device in bytes."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
