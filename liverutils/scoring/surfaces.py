"""Distances between the surfaces of two masks."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import KDTree

from liverutils.scoring.names import DISTANCES
from liverutils.scoring.pairs import Spacing, crop_to_union


def surface_scores(
    predicted: np.ndarray, true: np.ndarray, spacing: Spacing
) -> dict[str, torch.Tensor]:
    """Return the scores of two surfaces; NaN where there is no surface or no spacing."""
    if spacing is None or not (predicted.any() and true.any()):
        return dict.fromkeys((*DISTANCES, "surface_dice_2mm"), torch.tensor(np.nan))
    return {
        **_distance_scores(predicted, true, spacing),
        "surface_dice_2mm": torch.tensor(
            _surface_dice(*crop_to_union(predicted, true), spacing, 2.0)
        ),
    }


def _distance_scores(
    predicted: np.ndarray, true: np.ndarray, spacing: Sequence[float]
) -> dict[str, torch.Tensor]:
    box = _box_around(predicted | true)
    found, truth = (_surface(mask[box]) for mask in (predicted, true))
    if not (found.any() and truth.any()):  # A mask that fills the volume has none.
        return dict.fromkeys(DISTANCES, torch.tensor(np.nan))
    distances = _surface_distances(found, truth, spacing)
    return {
        "assd_mm": torch.tensor(np.concatenate(distances).mean(dtype=np.float64)),
        "hd95_mm": torch.tensor(max(np.percentile(d, 95) for d in distances)),
    }


def _box_around(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the box around a mask and, where the volume has it, one voxel more on every side."""
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)


def _surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask that its erosion takes away.

    As in the CHAOS challenge's evaluation, what lies beyond the volume's edge counts as inside.
    """
    return mask ^ ndimage.binary_erosion(mask, border_value=1)


def _surface_distances(
    predicted_edges: np.ndarray, true_edges: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances in mm from each surface voxel to the other surface, both ways."""
    from monai.metrics.utils import get_surface_distance

    return (
        np.asarray(get_surface_distance(predicted_edges, true_edges, spacing=spacing)),
        np.asarray(get_surface_distance(true_edges, predicted_edges, spacing=spacing)),
    )


def _surface_dice(
    predicted: np.ndarray, true: np.ndarray, spacing: Sequence[float], tolerance_mm: float
) -> float:
    predicted_points, predicted_areas = _surface_elements(predicted, spacing)
    true_points, true_areas = _surface_elements(true, spacing)
    near = (
        predicted_areas[_are_near(predicted_points, true_points, tolerance_mm)].sum()
        + true_areas[_are_near(true_points, predicted_points, tolerance_mm)].sum()
    )
    return near / (predicted_areas.sum() + true_areas.sum())


def _surface_elements(mask: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Find the elements of a mask's surface: between voxel centres, where neighbours differ.

    MONAI has the table of areas; its own search through a convolution takes 50 times as long.

    Returns:
        (elements, axes) positions in mm; (elements,) areas in mm² (lengths in mm in 2D).
    """
    from monai.metrics.utils import get_code_to_measure_table

    areas, kernel = get_code_to_measure_table(spacing)
    neighbours = np.zeros([size - 1 for size in mask.shape], np.uint8)
    for corner, weight in zip(np.ndindex(*kernel.shape[2:]), kernel.flatten(), strict=True):
        shifted = tuple(slice(c, c + size - 1) for c, size in zip(corner, mask.shape, strict=True))
        neighbours += mask[shifted] * np.uint8(weight)
    edges = (neighbours != 0) & (neighbours != len(areas) - 1)
    return np.argwhere(edges) * np.asarray(spacing), areas.double().numpy()[neighbours[edges]]


def _are_near(points: np.ndarray, others: np.ndarray, tolerance_mm: float) -> np.ndarray:
    """Say which points have one of the others within the tolerance, the tolerance included."""
    # A bounded search passes over far points, which are most of a poor mask's.
    bound = np.nextafter(tolerance_mm, np.inf)
    return np.isfinite(KDTree(others).query(points, distance_upper_bound=bound)[0])
