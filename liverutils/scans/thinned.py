"""A volume thinned to what a check needs, and the shapes that slices leave in it."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from liverutils.scans.case import Case

# A thinned volume tells scale, side and position as well as the whole one, in a hundredth of the
# time.
THINNED_SHAPE = (128, 128, 96)


WITHIN_SLICES = np.zeros((3, 3, 3), bool)
WITHIN_SLICES[..., 1] = ndimage.generate_binary_structure(2, 1)


def thin_steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return every how many-th voxel along each axis `thinned` keeps."""
    pairs = zip(shape, THINNED_SHAPE, strict=True)
    return tuple(max(1, -(-size // wanted)) for size, wanted in pairs)


def thinned(volume: np.ndarray) -> np.ndarray:
    """Return a view with at most `THINNED_SHAPE` voxels of a volume (X, Y, Z)."""
    return volume[tuple(slice(None, None, step) for step in thin_steps(volume.shape))]


def slices_apart(case: Case, apart_mm: float) -> Case:
    """Return the scan with every so many-th axial slice alone, about `apart_mm` from one another.

    A look at some slices in a part of the time. Volumes stay right on average, as each slice
    stands for those left out (Cavalieri's estimate); small lesions may lie between the slices. At
    least two slices are left, and a scan whose slices lie further apart is left as it is.
    """
    step = min(round(apart_mm / case.spacing[2]), case.image.shape[2] - 1)
    if step < 2:
        return case
    kept = slice(step // 2, None, step) if step < case.image.shape[2] // 2 else slice(0, None, step)
    affine = case.affine.copy()
    affine[:3, 3] += kept.start * affine[:3, 2]
    affine[:3, 2] *= step
    mask = None if case.mask is None else case.mask[..., kept]
    return replace(case, image=case.image[..., kept], mask=mask, affine=affine)


def solid(region: np.ndarray, erosions: int = 2) -> np.ndarray:
    """Return what is left of a region (X, Y, Z) after so many erosions of its slices."""
    return ndimage.binary_erosion(region, WITHIN_SLICES, erosions)


def largest_piece(region: np.ndarray) -> np.ndarray:
    """Return the largest connected piece of a region; an empty region stays empty."""
    pieces, n_pieces = ndimage.label(region)
    if n_pieces < 2:
        return region
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def fill_slices(region: np.ndarray) -> np.ndarray:
    """Fill the holes in every slice (X, Y) of a region (X, Y, Z)."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(region, 2, 0)], -1)


def share_between(values: np.ndarray, low: float, high: float) -> float:
    """Return the share of values between two limits."""
    return float(np.mean((values > low) & (values < high)))
