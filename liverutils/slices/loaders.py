"""fastai DataLoaders over a slice store: whole batches at once, prepared on the device."""

import queue
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

import numpy as np
import psutil
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from torch import Tensor

from liverutils.errors import BadInput
from liverutils.slices.augment import Augment
from liverutils.slices.patches import Patches
from liverutils.slices.slice_set import INPUT_WINDOWS, SliceSet, Target, Targets, neighbour_rows
from liverutils.slices.splits import Split
from liverutils.slices.store import SliceStore

Sampling = Literal["natural", "balanced"]


RESIDENT_SHARE = 0.4


BATCHES_AHEAD = 3


class SliceLoader(DataLoader):
    """A fastai DataLoader that gathers whole batches from a `SliceSet`.

    The order is drawn from torch's generator, so seeding an epoch fixes it. `order` keeps it:
    batch b of the running epoch holds the slices `order[b * bs:(b + 1) * bs]`. With `weights` (N,)
    the slices of an epoch are drawn with replacement, each as often as its weight says. With
    `patches` a batch holds patches of the slices; `corners` keeps where they lie.
    """

    def __init__(
        self,
        dataset: SliceSet,
        bs: int,
        weights: Tensor | None = None,
        patches: Patches | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset, bs=bs, num_workers=0, **kwargs)
        self.weights, self.patches = weights, patches

    def get_idxs(self) -> Tensor:
        """Draw this epoch: return the order of the slices."""
        n = len(self.dataset)
        if self.weights is not None:
            self.order = torch.multinomial(self.weights, n, replacement=True)
        else:
            self.order = torch.randperm(n) if self.shuffle else torch.arange(n)
        if self.patches:
            self.order, self.corners = self.patches.draw(self.order)
        return self.order

    def __iter__(self) -> Iterator[tuple[Tensor, Targets]]:
        order = self.get_idxs()
        stop = len(order) - len(order) % self.bs if self.drop_last else len(order)
        chunks = (slice(i, min(i + self.bs, stop)) for i in range(0, stop, self.bs))
        size = self.patches.size if self.patches else 0
        batches: Iterator = (
            self.dataset.gather(order[some], self.corners[some] if size else None, size)
            for some in chunks
        )
        # By kind: "cuda" is not equal to the "cuda:0" where a tensor sent there says it lies.
        if self.dataset.images.device.type != self.device.type or not _in_memory(
            self.dataset.images
        ):
            batches = gathered_ahead(batches, pin=self.device.type == "cuda")
        for batch in batches:
            batch = (t.to(self.device, non_blocking=True) for t in batch)
            yield self.dataset.prepare(*batch, size)


def _in_memory(images: Tensor) -> bool:
    return images.device.type != "cpu" or images.nbytes < RESIDENT_SHARE * _free_memory("cpu")


def gathered_ahead(batches: Iterator, pin: bool) -> Iterator:
    """Gather the next batches, tuples of tensors, in a thread while the device works on this one.

    Where `pin` is set they lie in memory from which a GPU copies faster.
    """
    ready: queue.Queue = queue.Queue(BATCHES_AHEAD)
    abandoned = threading.Event()

    def put(item: Any) -> None:
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


class SliceLoaders(DataLoaders):
    """The loaders of a split by patient: `train`, `valid` and `test`.

    Attributes:
        facts: What the batches are made of, for the logs and the weights.
    """

    facts: dict[str, Any]

    @property
    def test(self) -> SliceLoader:
        """The held-out patients."""
        return self[2]


def slice_loaders(
    store: SliceStore,
    split: Split,
    *,
    batch_size: int,
    context_slices: int = 0,
    window: tuple[float, float] | None = None,
    target: Target = "mask",
    sampling: Sampling = "natural",
    patch_size: int = 0,
    lesion_share: float = 1 / 3,
    augment: Augment | None = None,
    device: torch.device | str = "cpu",
) -> SliceLoaders:
    """Return the loaders of a split by patient.

    Batches are images (B, 2 * context_slices + 1, H, W) float32 in -1…1 and targets: masks
    (B, H, W) int64, labels (B,) int64, or a tuple of both. The store lies on the device where it
    takes at most 40 % of its free memory; else batches are gathered ahead by a thread.

    Args:
        store: The slices.
        split: Patients of each part.
        batch_size: Slices per batch.
        context_slices: Neighbouring slices on each side that become channels. At the end of a scan
            the last slice stands in for the missing ones; a channel never shows another scan.
        window: (low, high) mapped to -1…1; by default `INPUT_WINDOWS` for the store's kind of
            values.
        target: "mask", "label" or "both".
        sampling: "natural" shows each training slice once an epoch; "balanced" draws as many with
            replacement, each label as often as the others. Validation and test stay natural.
        patch_size: Train on patches of so many pixels a side, as many an epoch as there are slices;
            0 trains on whole slices. Validation and test always show whole slices.
        lesion_share: Share of the patches that lie on a lesion; as many lie on liver, the rest
            anywhere. Without patches it says nothing.
        augment: Changes the training batches, and only those.
        device: Where batches are prepared.

    Raises:
        BadInput: An unknown `sampling`; patches larger than the slices, or of slices that are to be
            classified; a share that is not from 0 to 0.5.
    """
    if patch_size and target == "label":
        raise BadInput("Whole slices are classified: patch_size must be 0.", fault="patch_size")
    if sampling not in get_args(Sampling):
        raise BadInput(f"sampling is {sampling!r}: it must be 'natural' or 'balanced'.")
    balanced = sampling == "balanced"
    device = torch.device(device)
    window = window or INPUT_WINDOWS[store.info.intensity]
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
            patches=Patches(masks, dataset.rows, patch_size, lesion_share)
            if patch_size and training
            else None,
            shuffle=training,
            drop_last=drop_last,
            device=device,
        )

    dls = SliceLoaders(
        loader(split.train, training=True),
        loader(split.valid, training=False),
        loader(split.test, training=False),
        device=device,
    )
    kept = ("source", "fingerprint", "view", "size", "intensity", "cropped_to")
    own = store.info.as_json
    dls.facts = {
        "data": {name: own[name] for name in kept if name in own}
        | {"window": list(window), "context_slices": context_slices, "target": target},
        "split": {part: list(patients) for part, patients in asdict(split).items()},
        "augment": asdict(augment) if augment else None,
        "sampling": sampling,
        "patch_size": patch_size,
        "lesion_share": lesion_share if patch_size else None,
    }
    return dls


def balancing_weights(labels: Tensor) -> Tensor:
    """Return a weight (N,) per slice with which every label that occurs weighs the same in sum."""
    return 1 / torch.bincount(labels)[labels]


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
