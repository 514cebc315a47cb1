"""Where body, spine and lungs lie in a scan, and what that says about it. RAS is assumed.

Every claim needs positive evidence: where a scan shows too little, nothing is said.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from liverutils.scans.hounsfield import BODY_HU
from liverutils.scans.thinned import WITHIN_SLICES, fill_slices, largest_piece, solid, thinned

# Vertebrae exceed it in every slice; a heart full of contrast does too, but not alone.
BONE_HU = 250


# Lung lies between; gas in the bowel below.
LUNG_HU = (-970, -500)


# Share of the slices in which the spine shows bone at the same place.
SPINE_SLICES = 0.7


# Share of the body's cross-section that lungs take; in the lowest slices of an abdomen none.
LUNG_SHARE = 0.15


# Share of a head's cross-section that bone encloses; ribs and pelvis enclose next to nothing.
ENCLOSED_SHARE = 0.25


# How much more solid soft tissue one side must hold to be taken for the liver's: in right scans the
# right holds 2 to 3 times as much.
LIVER_SIDE_RATIO = 1.6


class Column(NamedTuple):
    """Bone that goes through the slices: its place, 0 the body's left edge or back, and pixels."""

    x: float
    y: float
    size: int


@dataclass(frozen=True)
class Anatomy:
    """A thinned scan (X, Y, Z) in HU."""

    image: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray) -> "Anatomy":
        """Return the anatomy of a whole volume."""
        return cls(thinned(image))

    @cached_property
    def body(self) -> np.ndarray:
        """The body, with its lungs and bowel, without the table."""
        dense = ndimage.binary_opening(self.image > BODY_HU, WITHIN_SLICES, 2)
        return fill_slices(largest_piece(np.asarray(dense)))

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """The body's limits along x and y: first and last index of each."""
        outline = np.any(self.body, axis=2)
        x, y = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
        return int(x[0]), int(x[-1]), int(y[0]), int(y[-1])

    @cached_property
    def lung_shares(self) -> np.ndarray:
        """Share of the body's cross-section that is lung, by slice."""
        low, high = LUNG_HU
        lung = (self.image > low) & (self.image < high) & self.body
        return _by_slice(lung, self.body)

    def columns(self) -> list[Column]:
        """Return where bone goes through the slices, such as the spine.

        Pieces that are too thick for a spine count as well.
        """
        first_x, last_x, first_y, last_y = self.box
        width, depth = last_x - first_x + 1, last_y - first_y + 1
        bone = (self.image > BONE_HU) & self.body
        # Vertebrae sit a little further back or to the side from one slice to the next.
        near = max(1, width // 20)
        through = ndimage.maximum_filter(bone, size=(near, near, 1)).sum(axis=2)
        pieces, n_pieces = ndimage.label(through >= SPINE_SLICES * self.body.any((0, 1)).sum())
        centres = ndimage.center_of_mass(pieces > 0, pieces, range(1, n_pieces + 1))
        sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:]
        return [
            Column((x - first_x) / width, (y - first_y) / depth, int(size))
            for (x, y), size in zip(centres, sizes, strict=True)
        ]


def turned_body(anatomy: Anatomy) -> str | None:
    """Say what shows that front and back, or two axes, are exchanged."""
    if not anatomy.body.any():
        return None
    columns = anatomy.columns()
    middle = [column.y for column in columns if 0.25 < column.x < 0.75]
    if middle and min(middle) > 0.55:
        return "the spine is in front"
    # Arms beside the body are no spine.
    within = [column for column in columns if 0.15 < column.x < 0.85]
    if not within:
        return None
    thickest = max(within, key=lambda column: column.size)
    in_place = [c for c in within if abs(c.x - 0.5) < 0.15 and c.y < 0.5]
    # Where axes are exchanged, ribs are there; a heart full of contrast is thicker than the spine.
    if any(column.size > thickest.size / 2 for column in in_place):
        return None
    if abs(thickest.x - 0.5) > max(0.1, 1.5 * abs(thickest.y - 0.5)):
        return "the spine is at the side, as where two axes are exchanged"
    return None


def spine_runs_across(anatomy: Anatomy) -> str | None:
    """Say where bone goes through the scan along another axis than from feet to head."""
    if not anatomy.body.any() or anatomy.columns():
        return None
    for axis, name in ((0, "from side to side"), (1, "from back to front")):
        turned = Anatomy(np.swapaxes(anatomy.image, axis, 2))
        if turned.body.any() and turned.columns():
            return f"the spine runs {name}, as where two axes are exchanged"
    return None


def liver_not_covered(anatomy: Anatomy) -> str | None:
    """Say what shows that the liver is not, or not wholly, in the scan."""
    if not anatomy.body.any():
        return None
    if np.median(_enclosed_by_bone(anatomy)) > ENCLOSED_SHARE:
        return "bone encloses most of it, as in a head"
    bottom, top = _ends(anatomy.lung_shares)
    if bottom < LUNG_SHARE:
        return None
    if top < LUNG_SHARE:
        return (
            f"its lowest slices show lungs ({bottom:.0%}) and its highest none: it ends above the"
            " liver, or head and feet are exchanged"
        )
    return f"its lowest slices still show lungs ({bottom:.0%}), as where a scan ends in the chest"


def liver_on_left(anatomy: Anatomy) -> str | None:
    """Say where far more solid soft tissue lies on the left: a guess, since hearts and tumours do.

    The lowest slices must show no lungs, because the heart of a chest lies on the left.
    """
    if not anatomy.body.any() or _ends(anatomy.lung_shares)[0] >= LUNG_SHARE / 3:
        return None
    first, last, _, _ = anatomy.box
    smooth = ndimage.uniform_filter(anatomy.image.astype(np.float32), 3)
    organs = solid((smooth > -20) & (smooth < 220) & anatomy.body, max(2, (last - first) // 24))
    middle = (first + last) // 2
    left, right = np.count_nonzero(organs[:middle]), np.count_nonzero(organs[middle + 1 :])
    if left < LIVER_SIDE_RATIO * right or left < 0.02 * np.count_nonzero(anatomy.body):
        return None
    return f"{left / (left + right):.0%} of the solid organs lie on the left"


def labelled_on_left(anatomy: Anatomy, liver: np.ndarray) -> str | None:
    """Say where a labelled liver (X, Y, Z), on the same thinned grid, lies on the left."""
    if not anatomy.body.any() or not liver.any():
        return None
    first, last, _, _ = anatomy.box
    sizes = np.count_nonzero(liver, axis=(1, 2))
    middle = float(np.arange(len(sizes)) @ sizes / sizes.sum())
    return "the liver is on the left" if middle < (first + last) / 2 else None


def lungs_below(anatomy: Anatomy, liver: np.ndarray) -> str | None:
    """Say where the lungs lie below a liver (X, Y, Z) on the same thinned grid."""
    if not anatomy.body.any() or not liver.any() or anatomy.lung_shares.max() < LUNG_SHARE:
        return None
    height = np.arange(liver.shape[2])
    lungs = float(height @ anatomy.lung_shares / anatomy.lung_shares.sum())
    sizes = np.count_nonzero(liver, axis=(0, 1))
    return "the lungs are below the liver" if lungs < height @ sizes / sizes.sum() else None


def _enclosed_by_bone(anatomy: Anatomy) -> np.ndarray:
    bone = ndimage.binary_dilation((anatomy.image > BONE_HU) & anatomy.body, WITHIN_SLICES)
    return _by_slice(fill_slices(bone) & ~bone, anatomy.body)


def _ends(shares: np.ndarray) -> tuple[float, float]:
    """Return the mean of the lowest and of the highest twentieth of the slices."""
    few = max(1, len(shares) // 20)
    return float(shares[:few].mean()), float(shares[-few:].mean())


def _by_slice(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    parts, wholes = (np.count_nonzero(each, axis=(0, 1)) for each in (part, whole))
    return parts / np.maximum(wholes, 1)
