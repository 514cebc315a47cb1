"""Lesion by lesion: found, missed, invented."""

import numpy as np
import pandas as pd
from scipy import ndimage

from liverutils.errors import BadInput
from liverutils.scoring.pairs import Spacing, as_binary_pair, crop_to_union, voxel_mm3

_LESION_SIZES_MM = {"<10 mm": (0, 10), "10-20 mm": (10, 20), ">=20 mm": (20, np.inf)}


def label_lesions(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the lesions of a 3D mask: voxels that touch by face, edge or corner are one lesion.

    Returns:
        (X, Y, Z) with 0 background, 1 … n the lesions; n. 26-connected, as in the LiTS challenge.
    """
    return ndimage.label(mask, ndimage.generate_binary_structure(3, 3))


def score_lesions(
    predicted: np.ndarray, true: np.ndarray, spacing: Spacing, *, min_iou: float = 0.5
) -> pd.DataFrame:
    """Score a tumour mask lesion by lesion, in the manner of the LiTS challenge.

    Every predicted lesion belongs to the true lesion it shares most voxels with, if any. A true
    lesion is found where its IoU with the predicted lesions that belong to it exceeds `min_iou`.
    Predicted lesions that belong to no found lesion are false positives, so neither one blob over
    the whole liver nor a single voxel in each lesion counts as finding them. After Bilic et al.
    2023, doi:10.1016/j.media.2022.102680.

    Args:
        predicted: Mask (X, Y, Z), bool or 0/1.
        true: Mask of the same shape.
        spacing: Voxel size per axis in mm; None where it is not known.
        min_iou: The challenge's 0.5; 0 asks for any overlap.

    Returns:
        One row per true lesion, then one per false positive: `lesion` (its number in
        `label_lesions` of its own mask), `false_positive`, `voxels`, `volume_mm3`, `volume_ml`,
        `diameter_mm` (of the sphere of that volume), `found`, `iou`, `dice`. Volumes and diameter
        are NaN where the spacing is not known.

    Raises:
        BadInput: As `score_volume`; masks that are not 3D.
    """
    predicted, true = as_binary_pair(predicted, true, spacing)
    if true.ndim != 3:
        raise BadInput(
            f"Lesions are counted in 3D, but the masks have shape {true.shape}: stack the slices "
            "of a patient first.",
            fault="wrong_shape",
        )
    shared = _shared_voxels(predicted, true)
    belongs = _belongs(shared)
    true_voxels, predicted_voxels = shared[1:].sum(1), shared[:, 1:].sum(0)
    overlap = (shared[1:, 1:] * belongs).sum(1)
    both = true_voxels + belongs @ predicted_voxels
    iou = overlap / (both - overlap)
    false = np.flatnonzero(~belongs[iou > min_iou].any(0))
    add_false = (0, len(false))
    rows = {
        "lesion": np.r_[np.arange(len(iou)), false] + 1,
        "false_positive": np.repeat([False, True], [len(iou), len(false)]),
        "voxels": np.r_[true_voxels, predicted_voxels[false]],
        "found": np.pad(iou > min_iou, add_false),
        "iou": np.pad(iou, add_false),
        "dice": np.pad(2 * overlap / both, add_false),
    }
    return _with_sizes(pd.DataFrame(rows), spacing)


def lesion_summary(lesions: pd.DataFrame) -> pd.DataFrame:
    """Recall, precision and F1 of lesion detection by diameter.

    Args:
        lesions: The rows of `score_lesions`, of one patient or of many put together.

    Returns:
        Rows `<10 mm`, `10-20 mm`, `>=20 mm`, `all` with `lesions`, `found`, `false_positives`,
        `recall`, `precision`, `f1`. A true lesion counts under its true diameter, a false positive
        under its own. A rate is NaN where there is nothing to take it of; lesions of unknown
        spacing count in `all` only.
    """
    diameter = lesions["diameter_mm"]
    groups = {
        size: lesions[(diameter >= low) & (diameter < high)]
        for size, (low, high) in _LESION_SIZES_MM.items()
    }
    rows = {size: _detection_rates(group) for size, group in (groups | {"all": lesions}).items()}
    return pd.DataFrame(rows).T.astype({"lesions": int, "found": int, "false_positives": int})


def _shared_voxels(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Count the voxels that true lesion i and predicted lesion j share, (true + 1, predicted + 1).

    Row and column 0 are background.
    """
    predicted, true = crop_to_union(predicted, true)
    predicted_lesions, n_predicted = label_lesions(predicted)
    true_lesions, n_true = label_lesions(true)
    pairs = true_lesions.astype(np.int64) * (n_predicted + 1) + predicted_lesions
    shape = (n_true + 1, n_predicted + 1)
    return np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape)


def _belongs(shared: np.ndarray) -> np.ndarray:
    """Say which predicted lesion belongs to which true one: bool (true, predicted)."""
    overlap = shared[:, 1:].copy()
    overlap[0] = 0
    return overlap.argmax(0) == np.arange(1, len(shared))[:, None]


def _with_sizes(lesions: pd.DataFrame, spacing: Spacing) -> pd.DataFrame:
    volume = lesions["voxels"] * voxel_mm3(spacing)
    position = lesions.columns.get_loc("voxels") + 1
    lesions.insert(position, "volume_mm3", volume)
    lesions.insert(position + 1, "volume_ml", volume / 1000)
    lesions.insert(position + 2, "diameter_mm", np.cbrt(6 * volume / np.pi))
    return lesions


def _detection_rates(lesions: pd.DataFrame) -> dict[str, float]:
    false_positives = int(lesions["false_positive"].sum())
    found = int(lesions["found"].sum())
    true = len(lesions) - false_positives
    return {
        "lesions": true,
        "found": found,
        "false_positives": false_positives,
        "recall": found / true if true else np.nan,
        "precision": found / (found + false_positives) if found + false_positives else np.nan,
        "f1": 2 * found / (true + found + false_positives) if len(lesions) else np.nan,
    }
