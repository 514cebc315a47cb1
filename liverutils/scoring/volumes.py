"""Scores of one scan, on its own voxel grid, in mm."""

import numpy as np
import torch

from liverutils.scans import LIVER, TUMOR
from liverutils.scoring.names import SCORES, STRUCTURES
from liverutils.scoring.overlaps import (
    empty_mask_rule,
    mask_voxels,
    overlap_scores,
    relative_difference,
)
from liverutils.scoring.pairs import Spacing, as_binary_pair, check_pair, voxel_mm3
from liverutils.scoring.surfaces import surface_scores


def score_volume(predicted: np.ndarray, true: np.ndarray, spacing: Spacing) -> dict[str, float]:
    """Score one binary structure of one volume (or picture) against its true mask.

    Args:
        predicted: Mask (X, Y) or (X, Y, Z), bool or 0/1.
        true: Mask of the same shape.
        spacing: Voxel size per axis in mm; None where it is not known.

    Returns:
        The scores of `SCORES`, in that order, with `empty_mask_rule`:

        - `dice`, `iou`, `precision`, `recall`, `pixel_accuracy`.
        - `rvd`: relative volume difference (predicted − true) / true, signed; −1 where nothing is
          predicted, infinite where only the true mask is empty, 0 where both are.
        - `assd_mm`: average symmetric surface distance as in the CHAOS challenge (Kavur et al.
          2021, doi:10.1016/j.media.2020.101950). The surface is the mask minus its 6-connected
          erosion (4-connected in 2D); where the volume's edge cuts the mask off is no surface. The
          mean over the distances from every surface voxel of either mask to the nearest one of
          the other.
        - `hd95_mm`: on the same surfaces, the 95th percentile of the distances in each direction,
          the greater of the two, as MONAI defines it.
        - `surface_dice_2mm`: the share of both surfaces' area within 2 mm of the other surface, on
          the area-weighted surface elements of Nikolov et al. 2021 (doi:10.2196/26151).

        The last three are NaN where the spacing is not known, empty masks or not, and the two
        distances where a mask fills the volume, so that it has no surface.

    Raises:
        BadInput: Shapes differ, a mask is not binary, or the spacing does not fit the shape.
    """
    predicted, true = as_binary_pair(predicted, true, spacing)
    counts = _count_voxels(predicted, true)
    voxels = mask_voxels(counts)
    scores = overlap_scores(counts) | {"rvd": relative_difference(*voxels)}
    for name, score in surface_scores(predicted, true, spacing).items():
        scores[name] = score if spacing is None else empty_mask_rule(name, score, *voxels)
    return {name: float(scores[name]) for name in SCORES}


def dice(predicted: np.ndarray, true: np.ndarray) -> float:
    """Dice of two masks alone, by `empty_mask_rule`: sooner than all that `score_volume` says.

    Raises:
        BadInput: As `score_volume`.
    """
    counts = _count_voxels(*as_binary_pair(predicted, true, None))
    return float(overlap_scores(counts)["dice"])


def score_patient(
    predicted_labels: np.ndarray, true_labels: np.ndarray, spacing: Spacing
) -> dict[str, float | int | str]:
    """Score liver and tumour of one patient: one row of `<run>_patients.csv`.

    The liver is every label above 0, tumour included; the tumour is label 2.

    Args:
        predicted_labels: (X, Y, Z) with 0 background, 1 liver, 2 tumour, on the original grid.
        true_labels: Same shape and labels.
        spacing: Voxel size per axis in mm; None where it is not known.

    Returns:
        For `liver_` and `tumor_` each: the scores of `score_volume`; `empty`, which of the masks
        is ("neither", "one" or "both"); `predicted_voxels`, `true_voxels`; `predicted_ml`,
        `true_ml`, NaN where the spacing is not known.

    Raises:
        BadInput: As `score_volume`; a label above 2.
    """
    predicted_labels, true_labels = np.asarray(predicted_labels), np.asarray(true_labels)
    check_pair(predicted_labels, true_labels, spacing, highest_label=TUMOR)
    row: dict[str, float | int | str] = {}
    for structure, lowest_label in zip(STRUCTURES, (LIVER, TUMOR), strict=True):
        predicted, true = predicted_labels >= lowest_label, true_labels >= lowest_label
        scores = score_volume(predicted, true, spacing) | _sizes(predicted, true, spacing)
        row |= {f"{structure}_{name}": score for name, score in scores.items()}
    return row


def _count_voxels(predicted: np.ndarray, true: np.ndarray) -> torch.Tensor:
    """Return (1, 4) true positives, false positives, true negatives, false negatives."""
    hits = np.count_nonzero(predicted & true)
    false_alarms = np.count_nonzero(predicted) - hits
    misses = np.count_nonzero(true) - hits
    rest = true.size - hits - false_alarms - misses
    return torch.tensor([[hits, false_alarms, rest, misses]], dtype=torch.float64)


def _sizes(predicted: np.ndarray, true: np.ndarray, spacing: Spacing) -> dict[str, float | str]:
    voxels = {"predicted": int(predicted.sum()), "true": int(true.sum())}
    ml = voxel_mm3(spacing) / 1000
    return {
        "empty": ("neither", "one", "both")[list(voxels.values()).count(0)],
        **{f"{name}_voxels": count for name, count in voxels.items()},
        **{f"{name}_ml": count * ml for name, count in voxels.items()},
    }
