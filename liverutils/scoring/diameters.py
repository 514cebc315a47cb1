"""Diameters of lesions as a radiologist measures them: in one axial slice, from edge to edge."""

from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from liverutils.scoring.lesions import label_lesions

LESION_MEASURES = (
    *("lesion", "slice", "long_mm", "short_mm", "volume_ml", "x_mm", "y_mm", "z_mm"),
    *("long_ends", "short_ends"),
)


def measure_lesions(mask: np.ndarray, affine: np.ndarray) -> pd.DataFrame:
    """Measure every lesion of a mask: its longest axial diameter, the short axis, its volume.

    The longest diameter is looked for in all axial slices (RECIST 1.1, Eisenhauer et al. 2009,
    doi:10.1016/j.ejca.2008.10.026), between any two points of the outline, which runs midway
    between pixels inside and outside. The short axis is the longest chord at right angles to it, in
    the same slice, of the lesion's convex hull. Where a slice cuts a lesion into parts, each is
    measured by itself. The longest of many directions is the one in which the pixels' corners stand
    out: a disc comes out about 0.7 pixels too long, whatever its size.

    Args:
        mask: (X, Y, Z), RAS, true in lesions; they are numbered as `label_lesions` does.
        affine: (4, 4) from voxels to mm.

    Returns:
        One row per lesion, the longest first: `lesion` (its number), `slice` (index along z),
        `long_mm`, `short_mm`, `volume_ml`, the centre `x_mm`, `y_mm`, `z_mm`; and `long_ends`,
        `short_ends`, the ends of both lines in voxels, [[x, y], [x, y]].
    """
    numbers, _ = label_lesions(mask)
    spacing = nib.affines.voxel_sizes(affine)
    rows = []
    for number, box in enumerate(ndimage.find_objects(numbers), 1):
        inside = numbers[box] == number
        first = [side.start for side in box]
        at = np.argwhere(inside)
        centre = nib.affines.apply_affine(affine, at.mean(axis=0) + first)
        rows.append(
            {
                "lesion": number,
                **_longest(inside, first, spacing[:2]),
                "volume_ml": len(at) * float(np.prod(spacing)) / 1000,
                **dict(zip(("x_mm", "y_mm", "z_mm"), centre, strict=True)),
            }
        )
    other = {"lesion": int, "slice": int, "long_ends": object, "short_ends": object}
    kinds = {name: other.get(name, float) for name in LESION_MEASURES}
    table = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    return table.sort_values("long_mm", ascending=False, kind="stable", ignore_index=True)


def outline_points(plane: np.ndarray) -> np.ndarray:
    """Return the points (N, 2) midway between neighbouring pixels inside and outside, in pixels.

    A row of n pixels is n pixels long between them; the line that viewers draw runs through them.
    """
    padded = np.pad(plane, 1)
    along_x = np.argwhere(padded[1:] != padded[:-1]) + (-0.5, -1.0)
    along_y = np.argwhere(padded[:, 1:] != padded[:, :-1]) + (-1.0, -0.5)
    return np.concatenate([along_x, along_y])


def _longest(inside: np.ndarray, first: list[int], pixel: np.ndarray) -> dict[str, Any]:
    """The longest diameter over all slices of one lesion (X, Y, Z), with its short axis."""
    best: dict[str, Any] = {"long_mm": 0.0}
    for z in np.flatnonzero(inside.any(axis=(0, 1))):
        parts, _ = ndimage.label(inside[..., z], np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(parts), 1):
            # No diameter is longer than the diagonal of the box.
            if np.hypot(*(np.array([s.stop - s.start for s in box]) * pixel)) <= best["long_mm"]:
                continue
            lines = _diameters(outline_points(parts[box] == number) * pixel)
            long, short = (float(np.linalg.norm(end - start)) for start, end in lines)
            if long > best["long_mm"]:
                low = [side.start + start for side, start in zip(box, first, strict=False)]
                ends = [(line / pixel + low).tolist() for line in lines]
                best = {"slice": int(z + first[2]), "long_mm": long, "short_mm": short}
                best |= {"long_ends": ends[0], "short_ends": ends[1]}
    return best


def _diameters(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The longest diameter of points (N, 2) and the longest chord across it, each as two ends."""
    hull = points[ConvexHull(points).vertices]
    apart = squareform(pdist(hull))
    start, end = np.unravel_index(apart.argmax(), apart.shape)
    way = (hull[end] - hull[start]) / apart[start, end]
    normal = np.array([-way[1], way[0]])
    along, across = hull @ way, hull @ normal
    # Corners stand in order: from one end to the other on one side, and back on the other.
    turn = np.roll(np.arange(len(hull)), -start)
    split = int(np.flatnonzero(turn == end)[0])
    there, back = turn[: split + 1], np.r_[turn[split:], start][::-1]
    one, other = (np.interp(along, along[side], across[side]) for side in (there, back))
    widest = int(np.abs(one - other).argmax())
    chord = [along[widest] * way + side[widest] * normal for side in (one, other)]
    return hull[[start, end]], np.array(chord)
