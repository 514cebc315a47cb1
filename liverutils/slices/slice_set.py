"""A choice of a store's slices, with their neighbours, gathered by the batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Literal

import numpy as np
import pandas as pd
import torch
from fastai.torch_core import apply
from torch import Tensor

from liverutils.slices.augment import Augment
from liverutils.slices.patches import cut

Target = Literal["mask", "label", "both"]


Targets = Tensor | tuple[Tensor, Tensor]


# What the networks see of the store's values: the soft tissue of the abdomen, or all greys.
INPUT_WINDOWS = {"HU": (-100.0, 240.0), "grey": (0.0, 255.0)}


def apply_window(values: Tensor, window: tuple[float, float]) -> Tensor:
    """Map `window` (low, high) to -1…1 and clip what lies outside; float32, any shape."""
    low, high = window
    return values.float().sub_((low + high) / 2).div_((high - low) / 2).clamp_(-1, 1)


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

    def __post_init__(self) -> None:
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

    def gather(
        self,
        indices: Sequence[int] | Tensor,
        corners: Tensor | None = None,
        patch_size: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return raw images (B, C, H, W) int16, masks (B, H, W) uint8 and labels (B,).

        With `corners` (B, 2) only the patches there, with as much around them as augmentation
        moves into them.
        """
        indices = torch.as_tensor(indices)
        rows = self.neighbours[indices]
        on_device = self.images.device
        if corners is not None:
            around = self._around(patch_size)
            side = patch_size + 2 * around
            images = cut(self.images, rows, corners - around, side)
            masks = cut(self.masks, self.rows[indices][:, None], corners - around, side)[:, 0]
            return images, masks, self.labels[indices].to(on_device)
        images = self.images.index_select(0, rows.flatten().to(on_device))
        masks = self.masks.index_select(0, self.rows[indices].to(on_device))
        return images.unflatten(0, rows.shape), masks, self.labels[indices].to(on_device)

    def _around(self, patch_size: int) -> int:
        """Pixels on each side of a patch that augmentation may move into it."""
        return ceil((self.augment.reach - 1) / 2 * patch_size) if self.augment else 0

    def prepare(
        self, images: Tensor, masks: Tensor, labels: Tensor, patch_size: int = 0
    ) -> tuple[Tensor, Targets]:
        """Window and augment a gathered batch where it lies; return (images, targets).

        The label of a patch is the highest in its mask.
        """
        images = apply_window(images, self.window)
        if self.augment is not None:
            images, masks = self.augment(images, masks, patch_size or None)
        masks = masks.long()
        if patch_size:
            labels = masks.flatten(1).amax(1)
        targets: dict[Target, Targets] = {"mask": masks, "label": labels, "both": (masks, labels)}
        return images, targets[self.target]


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
