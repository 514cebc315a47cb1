"""Lesion by lesion: found, missed, invented."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial.distance import cdist

from liverutils.errors import BadInput
from liverutils.scoring.pairs import Spacing, as_binary_pair, voxel_mm3

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
        `diameter_mm` (of the sphere of that volume), `found`, `iou`, `dice`, and its centre in
        voxels: `x_voxel`, `y_voxel`, `z_voxel`. Volumes and diameter are NaN where the spacing is
        not known.

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
    box = _box_around(predicted | true)
    predicted_lesions, true_lesions = (label_lesions(mask[box])[0] for mask in (predicted, true))
    shared = _shared_voxels(predicted_lesions, true_lesions)
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
    centres = np.r_[_centres(true_lesions), _centres(predicted_lesions)[false]]
    centres += [part.start for part in box]
    rows |= {f"{axis}_voxel": places for axis, places in zip("xyz", centres.T, strict=True)}
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


def nearest_look_alike(
    lesions: pd.DataFrame,
    look_alikes: pd.DataFrame,
    spacing: Sequence[float],
    *,
    slack_mm: float = 3.0,
) -> pd.Series:
    """Say for each lesion of a patient on which look-alike it lies, if on any.

    A lesion lies on a look-alike where its centre does: no further from the look-alike's centre
    than the radius and `slack_mm`. Of several it is the one whose surface reaches furthest beyond.

    Args:
        lesions: Rows of `score_lesions` of one patient, for example its false positives.
        look_alikes: What the patient's liver holds that is no tumour: `kind`, `diameter_mm`,
            `x_voxel`, `y_voxel`, `z_voxel`, as in a phantom cohort's `lesions.csv`.
        spacing: Voxel size per axis in mm.
        slack_mm: About a slice: look-alikes are no exact balls, and borders are blurred.

    Returns:
        The `kind`, indexed like `lesions`; "" where it lies on none.
    """
    axes = ["x_voxel", "y_voxel", "z_voxel"]
    kinds = pd.Series("", index=lesions.index, dtype=object)
    if len(lesions) == 0 or len(look_alikes) == 0:
        return kinds
    mm = np.asarray(spacing)
    apart = cdist(lesions[axes].to_numpy() * mm, look_alikes[axes].to_numpy() * mm)
    outside = apart - look_alikes["diameter_mm"].to_numpy() / 2
    nearest = outside.argmin(axis=1)
    names = look_alikes["kind"].to_numpy()[nearest]
    return kinds.where(outside.min(axis=1) > slack_mm, names)


def _box_around(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds a mask; a single voxel where it is empty."""
    boxes = ndimage.find_objects(mask.view(np.uint8))
    return boxes[0] if boxes else (slice(0, 1),) * mask.ndim


def _shared_voxels(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Count the voxels that true lesion i and predicted lesion j share, (true + 1, predicted + 1).

    Row and column 0 are background.
    """
    shape = (int(true.max()) + 1, int(predicted.max()) + 1)
    pairs = true.astype(np.int64) * shape[1] + predicted
    return np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape)


def _centres(lesions: np.ndarray) -> np.ndarray:
    """The centre of each numbered lesion in voxels, (lesions, 3)."""
    at = np.nonzero(lesions)
    number = lesions[at]
    sums = [np.bincount(number, weights=axis, minlength=2)[1:] for axis in at]
    voxels = np.maximum(np.bincount(number, minlength=2)[1:], 1)
    return (np.transpose(sums) / voxels[:, None])[: lesions.max()]


def _belongs(shared: np.ndarray) -> np.ndarray:
    """Say which predicted lesion belongs to which true one: bool (true, predicted)."""
    overlap = shared[:, 1:].copy()
    overlap[0] = 0
    return overlap.argmax(0) == np.arange(1, len(shared))[:, None]


def _with_sizes(lesions: pd.DataFrame, spacing: Spacing) -> pd.DataFrame:
    volume = lesions["voxels"] * voxel_mm3(spacing)
    position = list(lesions.columns).index("voxels") + 1
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
