"""Where the patches of an epoch are cut: some on lesions, some on liver, the rest anywhere."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from liverutils.errors import BadInput
from liverutils.scans import LIVER, TUMOR

PLACES = 16  # pixels remembered of each spot


@dataclass(frozen=True)
class Spots:
    """Places to cut a patch around: the pieces of a structure that slices show.

    Attributes:
        slices: (S,) the slice that each spot lies in.
        places: (S, PLACES, 2) row and column of pixels of the spot, drawn with replacement.
    """

    slices: Tensor
    places: Tensor

    @classmethod
    def find(cls, masks: Tensor, rows: Tensor, label: int, *, apart: bool) -> "Spots":
        """Find the spots of `label` and above.

        Args:
            masks: (N, H, W) uint8 of a whole store.
            rows: (n,) those of its slices that count; a spot's slice is a place in this list.
            label: LIVER or TUMOR.
            apart: Pieces of a slice that do not touch are spots of their own, so that a small
                lesion is drawn as often as a large one; else a slice is one spot.
        """
        rng = np.random.default_rng(0)
        slices, places = [], []
        for number, row in enumerate(rows.tolist()):
            mask = masks[row].cpu().numpy() >= label
            pieces, count = ndimage.label(mask) if apart else (mask, int(mask.any()))
            for piece in range(1, count + 1):
                pixels = np.flatnonzero(pieces == piece)
                drawn = pixels[rng.integers(len(pixels), size=PLACES)]
                slices.append(number)
                places.append(np.stack(np.unravel_index(drawn, mask.shape), axis=1))
        return cls(
            torch.tensor(slices, dtype=torch.int64),
            torch.from_numpy(np.array(places, np.int64).reshape(-1, PLACES, 2)),
        )


class Patches:
    """Draws the patches of an epoch from training slices.

    As many patches as there are slices: `lesion_share` of them hold a pixel of a lesion in their
    middle half, as many a pixel of liver, and the rest lie anywhere in the slices as the loader
    drew them. All lie within their slice. A share of nothing, where no slice shows a lesion or a
    liver, lies anywhere too.

    Attributes:
        size: Pixels a side.
        lesion_share: From 0 to 0.5.
    """

    def __init__(self, masks: Tensor, rows: Tensor, size: int, lesion_share: float) -> None:
        """Find the spots; `masks` (N, H, W) of the store, of which the slices in `rows` count.

        Raises:
            BadInput: A patch larger than the slices, or a share out of range.
        """
        if not 0 < size <= min(masks.shape[1:]):
            raise BadInput(
                f"patch_size is {size}, but the slices have {masks.shape[1]} pixels a side: take "
                "at most that, or 0 to train on whole slices.",
                fault="patch_size",
            )
        if not 0 <= lesion_share <= 0.5:
            raise BadInput(
                f"lesion_share is {lesion_share}: as many patches as on lesions lie on liver, so "
                "it must be from 0 to 0.5.",
                fault="lesion_share",
            )
        self.size, self.lesion_share = size, lesion_share
        self._height, self._width = masks.shape[1:]
        self._spots = []
        if lesion_share:
            self._spots = [
                Spots.find(masks, rows, TUMOR, apart=True),
                Spots.find(masks, rows, LIVER, apart=False),
            ]

    def draw(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Draw an epoch from torch's generator.

        Args:
            order: (N,) the slices in the order in which the loader drew them.

        Returns:
            The slice of each patch (N,), and the row and column of its upper left corner (N, 2).
        """
        order, n = order.clone(), len(order)
        limits = torch.tensor([self._height - self.size, self._width - self.size])
        corners = (torch.rand(n, 2) * (limits + 1)).long()
        shuffled, share = torch.randperm(n), round(n * self.lesion_share)
        for number, spots in enumerate(self._spots):
            where = shuffled[number * share : (number + 1) * share]
            if len(spots.slices):
                chosen = torch.randint(len(spots.slices), where.shape)
                place = spots.places[chosen, torch.randint(PLACES, where.shape)]
                inside = (0.25 + 0.5 * torch.rand(len(where), 2)) * self.size
                order[where] = spots.slices[chosen]
                corners[where] = (place - inside.long()).clamp(min=0).minimum(limits)
        return order, corners


def cut(images: Tensor, rows: Tensor, corners: Tensor, side: int) -> Tensor:
    """Cut a square out of each of several pictures, all at once.

    Args:
        images: (N, H, W).
        rows: (B, C) of the pictures that are cut alike.
        corners: (B, 2) row and column of the upper left corner; beyond a picture's border its
            outermost pixels are repeated.
        side: Pixels.

    Returns:
        (B, C, side, side), on the device of `images`.
    """
    device, steps = images.device, torch.arange(side)
    down, right = (
        (corners[:, axis, None] + steps).clamp(0, images.shape[axis + 1] - 1).to(device)
        for axis in (0, 1)
    )
    return images[rows.to(device)[:, :, None, None], down[:, None, :, None], right[:, None, None]]
