"""Scores of masks and classes: per volume, per patient, per lesion, per slice.

Scores are taken per patient and then averaged over patients; background is never part of a mean.
What happens where a mask is empty is decided in one place, `empty_mask_rule`.

MONAI is imported where it is used: it takes longer to import than everything else together, and
training begins without it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from scipy.spatial import KDTree
from scipy.stats import bootstrap
from sklearn.metrics import (
    accuracy_score,
    auc,
    confusion_matrix,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from liverutils.datasets.volumes import LIVER, TUMOR
from liverutils.errors import BadInput

STRUCTURES = ("liver", "tumor")
SLICE_CLASSES = ("no liver", "liver", "liver with lesion")
SCORES = (
    "dice",
    "iou",
    "precision",
    "recall",
    "pixel_accuracy",
    "rvd",
    "assd_mm",
    "hd95_mm",
    "surface_dice_2mm",
)

# MONAI's names for the scores that follow from voxel counts.
_MONAI_NAMES = {
    "dice": "f1 score",
    "iou": "threat score",
    "precision": "precision",
    "recall": "recall",
    "pixel_accuracy": "accuracy",
}
_DISTANCES = ("assd_mm", "hd95_mm")
_OVERLAPS = ("dice", "iou", "precision", "recall", "surface_dice_2mm")
_LESION_SIZES_MM = {"<10 mm": (0, 10), "10-20 mm": (10, 20), ">=20 mm": (20, np.inf)}
_EXPECTED_LABELS = {
    1: "0 and 1: pass one structure, such as labels > 0 for the liver or labels == 2 for tumour",
    2: "0 background, 1 liver, 2 tumour",
}

Spacing = Sequence[float] | None


def empty_mask_rule(
    name: str, score: torch.Tensor, predicted_voxels: torch.Tensor, true_voxels: torch.Tensor
) -> torch.Tensor:
    """Replace a score where a mask is empty: the project's only rule for empty masks.

    | empty | Dice, IoU, precision, recall, surface Dice | ASSD, HD95 |
    |---|---|---|
    | neither mask | as computed | as computed |
    | both masks: rightly nothing found | 1 | 0 mm |
    | one mask: all missed, or all invented | 0 | infinite |

    Pixel accuracy and relative volume difference need no rule and are left alone. No patient is
    dropped; how many scores the rule decided is counted beside them (`empty` in `score_patient`,
    `both_empty`, `one_empty` and `infinite` in `summarise`), since a cohort of tumour-free
    patients would otherwise look like a solved task.

    Args:
        name: One of `SCORES`.
        score: Any shape; its values where a mask is empty do not matter.
        predicted_voxels: Voxels in the predicted mask, same shape as `score`.
        true_voxels: Voxels in the true mask, same shape.
    """
    if name not in _OVERLAPS + _DISTANCES:
        return score
    both, one = (1.0, 0.0) if name in _OVERLAPS else (0.0, float("inf"))
    predicted_empty, true_empty = predicted_voxels == 0, true_voxels == 0
    score = torch.where(predicted_empty ^ true_empty, one, score)
    return torch.where(predicted_empty & true_empty, both, score)


def overlap_scores(counts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Turn voxel counts into Dice, IoU, precision, recall and pixel accuracy, with MONAI.

    Args:
        counts: float (N, 4): true positives, false positives, true negatives, false negatives.

    Returns:
        Score name → (N,), with `empty_mask_rule`. The pixel accuracy of an empty mask is what it
        is, near 1 for a small structure: that is its weakness.
    """
    from monai.metrics import compute_confusion_matrix_metric

    voxels = _voxels(counts)
    return {
        name: empty_mask_rule(name, compute_confusion_matrix_metric(monai_name, counts), *voxels)
        for name, monai_name in _MONAI_NAMES.items()
    }


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
          erosion (4-connected in 2D), the volume's border counted as surface; the mean over the
          distances from every surface voxel of either mask to the nearest one of the other.
        - `hd95_mm`: on the same surfaces, the 95th percentile of the distances in each direction,
          the greater of the two, as MONAI defines it.
        - `surface_dice_2mm`: the share of both surfaces' area within 2 mm of the other surface, on
          the area-weighted surface elements of Nikolov et al. 2021 (doi:10.2196/26151).

        The last three are NaN where the spacing is not known, empty masks or not.

    Raises:
        BadInput: Shapes differ, a mask is not binary, or the spacing does not fit the shape.
    """
    predicted, true = _as_binary_pair(predicted, true, spacing)
    counts = _count_voxels(predicted, true)
    voxels = _voxels(counts)
    scores = overlap_scores(counts) | {"rvd": _relative_difference(*voxels)}
    for name, score in _surface_scores(predicted, true, spacing).items():
        scores[name] = score if spacing is None else empty_mask_rule(name, score, *voxels)
    return {name: float(scores[name]) for name in SCORES}


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
    _check_pair(predicted_labels, true_labels, spacing, highest_label=TUMOR)
    row = {}
    for structure, lowest_label in zip(STRUCTURES, (LIVER, TUMOR), strict=True):
        predicted, true = predicted_labels >= lowest_label, true_labels >= lowest_label
        scores = score_volume(predicted, true, spacing) | _sizes(predicted, true, spacing)
        row |= {f"{structure}_{name}": score for name, score in scores.items()}
    return row


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
    predicted, true = _as_binary_pair(predicted, true, spacing)
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


class PatientCounts:
    """Confusion counts per patient, gathered batch by batch on the device without waiting for it.

    Batches may hold slices of several patients, and a patient's slices may come in any batch.
    """

    def __init__(self, n_patients: int, classes: int = 3, device: torch.device | str = "cpu"):
        """Start at zero for `n_patients` patients and labels 0 … `classes` − 1."""
        self.classes = classes
        self._counts = torch.zeros(n_patients, classes**2, dtype=torch.int64, device=device)

    def add(self, predicted: torch.Tensor, true: torch.Tensor, patient: torch.Tensor) -> None:
        """Count a batch.

        Args:
            predicted: Predicted labels, integers (B, H, W).
            true: True labels, uint8 (B, H, W).
            patient: Number of the patient of each slice, integers (B,).

        Raises:
            BadInput: Shapes differ, or `predicted` holds logits instead of labels.
        """
        if predicted.shape != true.shape or patient.shape != true.shape[:1]:
            raise BadInput(
                f"Predicted labels {tuple(predicted.shape)}, true labels {tuple(true.shape)} and "
                f"patients {tuple(patient.shape)} must be (B, H, W), (B, H, W) and (B,): shapes "
                "that merely broadcast would compare every slice with every other.",
                fault="wrong_shape",
            )
        if predicted.is_floating_point():
            raise BadInput(
                f"Predicted labels are {predicted.dtype}: take the argmax over classes first.",
                fault="not_labels",
            )
        # Not torch.bincount: on a GPU it waits for the largest value to reach the host.
        cells = (true * self.classes + predicted).flatten(1).long()
        one = self._counts.new_ones(()).expand_as(cells)
        slices = self._counts.new_zeros(len(cells), self.classes**2).scatter_add_(1, cells, one)
        self._counts.index_add_(0, patient.long(), slices)

    @property
    def confusion(self) -> torch.Tensor:
        """Pixels by patient, true and predicted label, int64 (patients, classes, classes)."""
        return self._counts.view(-1, self.classes, self.classes)

    def overlaps(self, label: int) -> dict[str, torch.Tensor]:
        """Return `overlap_scores` of each patient (patients,) for `label` and the labels above."""
        return overlap_scores(_counts_of_class(self.confusion.double(), label))

    def scores(self) -> dict[str, float]:
        """Scores averaged over the patients seen, with `empty_mask_rule`.

        Returns:
            `{dice,iou,precision,recall}_avg_class_{c}`, where class 1 is the liver, tumour
            included, class 2 the tumour, class 0 what is not liver; and `pixel_accuracy`, the
            share of pixels with the right label.

        Raises:
            BadInput: Nothing was counted.
        """
        confusion = self.confusion[self.confusion.sum((1, 2)) > 0].cpu().double()
        if len(confusion) == 0:
            raise BadInput("No slice was scored: the data to score are empty.", fault="no_slices")
        total = confusion.sum((1, 2))
        right = confusion.diagonal(dim1=1, dim2=2).sum(1)
        averages = {
            f"{name}_avg_class_{label}": float(score.mean())
            for label in range(self.classes)
            for name, score in overlap_scores(_counts_of_class(confusion, label)).items()
            if name != "pixel_accuracy"
        }
        return averages | {"pixel_accuracy": float((right / total).mean())}


def score_images(logits: torch.Tensor, masks: torch.Tensor) -> dict[str, torch.Tensor]:
    """Score each picture of a batch by itself, on the device.

    Args:
        logits: (B, 3, H, W).
        masks: True labels (B, H, W).

    Returns:
        `liver_iou` and `tumor_iou` (B,), with `empty_mask_rule`; `confidence` (B,), the mean
        probability of the predicted label over the pixels predicted as liver or tumour, or over
        the whole picture where there are none; `tumor_peak` (B,), the highest probability of
        tumour at any pixel.
    """
    probabilities = logits.float().softmax(1)
    top, labels = probabilities.max(1)
    counts = PatientCounts(len(masks), device=masks.device)
    counts.add(labels, masks, torch.arange(len(masks), device=masks.device))
    looked_at = labels >= LIVER
    looked_at |= ~looked_at.any(2, keepdim=True).any(1, keepdim=True)
    return {
        "liver_iou": counts.overlaps(LIVER)["iou"],
        "tumor_iou": counts.overlaps(TUMOR)["iou"],
        "confidence": (top * looked_at).sum((1, 2)) / looked_at.sum((1, 2)),
        "tumor_peak": probabilities[:, TUMOR].amax((1, 2)),
    }


class Interval(NamedTuple):
    """A mean and its bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    n: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Mean over patients with its percentile bootstrap interval, patients drawn with replacement.

    Args:
        values: One score per patient.
        weights: One weight per patient, such as the number of the patient's slices where `values`
            are means over slices; patients of weight 0 are left out.
        n: Bootstrap samples.
        seed: Of the draw.
        level: Coverage of the interval.

    Returns:
        Mean, low, high. Low and high are NaN for fewer than two patients, who have no spread.

    Raises:
        BadInput: No value, or one that is infinite or NaN.
    """
    values = np.asarray(values, float)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, float)
    values, weights = values[weights > 0], weights[weights > 0]
    if len(values) == 0 or not np.isfinite(values).all():
        raise BadInput(
            f"No interval: {len(values)} values, {np.sum(~np.isfinite(values))} of them infinite "
            "or undefined; average over finite ones and count the others beside.",
            fault="not_finite",
        )
    mean = np.average(values, weights=weights)
    if len(values) < 2:
        return Interval(float(mean), np.nan, np.nan)
    interval = bootstrap(
        (values, weights),
        lambda v, w, axis: (v * w).sum(axis) / w.sum(axis),
        paired=True,
        n_resamples=n,
        batch=max(1, 1_000_000 // len(values)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(mean), float(interval.low), float(interval.high))


def roc_area(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve of (N,) scores; NaN where all are positive or none is."""
    return float(roc_auc_score(positive, score)) if len(np.unique(positive)) == 2 else np.nan


def summarise(patients: pd.DataFrame, *, n: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Average the scores of a run over its patients.

    Args:
        patients: One row per patient with the columns of `score_patient`, of one structure or both.
        n: Bootstrap samples.
        seed: Of the draw.

    Returns:
        One row per `structure` and `score` with `mean`, `low`, `high` (bootstrap interval over
        patients), `patients`, and how many of these are `both_empty`, `one_empty`, `infinite` or
        `unknown` (no spacing). The mean is over finite scores; the infinite ones stand beside it.
        The score `pooled_dice` ("global" Dice) takes all patients' voxels as one volume.

    Raises:
        BadInput: No patient, or no column of scores.
    """
    structures = [name for name in STRUCTURES if f"{name}_dice" in patients]
    if not structures or len(patients) == 0:
        raise BadInput(
            f"Nothing to summarise: {len(patients)} patients with the columns {list(patients)}; "
            "expected the columns of score_patient, such as liver_dice.",
            fault="no_scores",
        )
    return pd.DataFrame(
        _summary_row(patients, structure, score, n, seed)
        for structure in structures
        for score in (*SCORES, "pooled_dice")
    )


def score_classes(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float | np.ndarray]:
    """Score the classification of slices.

    Args:
        true: (N,) class of each slice: 0 no liver, 1 liver, 2 liver with lesion.
        probabilities: (N, C) after softmax.

    Returns:
        `accuracy`; `per_class_accuracy` (C,), NaN for a class without slices; `confusion` (C, C),
        rows true, columns predicted; `ece`, see `expected_calibration_error`.

    Raises:
        BadInput: Shapes do not fit, a class is out of range, or rows do not sum to 1.
    """
    true, probabilities = _as_class_pair(true, probabilities)
    labels = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(1)
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "per_class_accuracy": recall_score(
            true, predicted, labels=labels, average=None, zero_division=np.nan
        ),
        "confusion": confusion_matrix(true, predicted, labels=labels),
        "ece": expected_calibration_error(true, probabilities),
    }


def score_auc(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float | np.ndarray]:
    """Areas under the ROC curve of the classification of slices.

    Args:
        true: (N,) class of each slice: 0 no liver, 1 liver, 2 liver with lesion.
        probabilities: (N, 3) after softmax.

    Returns:
        `auc` (3,), each class against the rest, so `auc[2]` is lesion against none, NaN for a
        class without slices; `auc_mean` over the classes that have one; `auc_lesion_in_liver`,
        lesion against none among the slices that show liver, NaN where these are all of one kind.

    Raises:
        BadInput: As `score_classes`; all slices of one class; not three classes.
    """
    true, probabilities = _as_class_pair(true, probabilities)
    if probabilities.shape[1] != len(SLICE_CLASSES):
        raise BadInput(
            f"Probabilities for {probabilities.shape[1]} classes: expected the "
            f"{len(SLICE_CLASSES)} classes {', '.join(SLICE_CLASSES)}.",
            fault="wrong_shape",
        )
    present = np.unique(true)
    if len(present) < 2:
        raise BadInput(
            f"No ROC curve: all {len(true)} slices are of class '{SLICE_CLASSES[present[0]]}'; "
            "score patients with slices of at least two classes.",
            fault="one_class",
        )
    auc = np.array([roc_area(true == c, probabilities[:, c]) for c in range(len(SLICE_CLASSES))])
    liver, lesion = probabilities[:, 1], probabilities[:, 2]
    share = np.divide(lesion, liver + lesion, out=np.zeros_like(lesion), where=liver + lesion > 0)
    shows_liver = true > 0
    return {
        "auc": auc,
        "auc_mean": float(np.nanmean(auc)),
        "auc_lesion_in_liver": roc_area(true[shows_liver] == 2, share[shows_liver]),
    }


class Roc(NamedTuple):
    """A ROC curve with a band, and the area under it with an interval.

    Attributes:
        false_positive_rate: (101,) from 0 to 1.
        sensitivity, low, high: (101,) true positive rate there, and its bootstrap interval.
        auc: The area and its interval; the limits are NaN where all slices are of one group.
    """

    false_positive_rate: np.ndarray
    sensitivity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    auc: Interval


def bootstrap_roc(
    positive: np.ndarray,
    score: np.ndarray,
    groups: Sequence[str],
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Roc:
    """ROC curve of slices, with intervals that know which slices belong together.

    Whole groups are drawn with replacement: slices of one patient are alike, so that drawing single
    slices would count the same evidence many times over (cluster bootstrap; Field and Welsh 2007,
    https://doi.org/10.1111/j.1467-9868.2007.00593.x).

    Args:
        positive: (N,) bool, slices to be found.
        score: (N,) the higher, the more likely positive.
        groups: (N,) the patient of each slice.
        n: Bootstrap samples; one without positives or without negatives has no curve and is left
            out.
        seed: Of the draw.
        level: Coverage of the intervals.

    Raises:
        BadInput: All slices are positive, or none is.
    """
    positive, score = np.asarray(positive, bool), np.asarray(score, float)
    if positive.all() or not positive.any():
        raise BadInput(
            f"No ROC curve: {positive.sum()} of {len(positive)} slices are positive; score "
            "patients with slices of both kinds.",
            fault="one_class",
        )
    rates = np.linspace(0, 1, 101)
    codes, names = pd.factorize(np.asarray(groups))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)[:, codes]
    both = draws[:, positive].any(1) & draws[:, ~positive].any(1)
    curves = [_weighted_roc(positive, score, weights, rates) for weights in draws[both]]
    tails = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    if len(names) < 2:
        tails = np.full_like(tails, np.nan)
    *sensitivity, area = _weighted_roc(positive, score, np.ones(len(score)), rates)
    interval = Interval(area, *map(float, tails[:, -1]))
    return Roc(rates, np.array(sensitivity), tails[0, :-1], tails[1, :-1], interval)


def _weighted_roc(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray, rates: np.ndarray
) -> np.ndarray:
    """Sensitivity at each of the false positive rates; behind these, the area under the curve."""
    false_rate, true_rate, _ = roc_curve(positive, score, sample_weight=weights)
    return np.append(np.interp(rates, false_rate, true_rate), auc(false_rate, true_rate))


def calibration_bins(true: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Sort slices by the probability of the predicted class into bins of equal width.

    Args:
        true: (N,) class of each slice.
        probabilities: (N, C) after softmax.
        bins: Number of bins; those without slices are left out.

    Returns:
        Per bin the mean `confidence`, the `accuracy`, and the number of `slices`.
    """
    true, probabilities = _as_class_pair(true, probabilities)
    confidence = probabilities.max(1)
    table = pd.DataFrame({"confidence": confidence, "right": probabilities.argmax(1) == true})
    groups = table.groupby(np.minimum((confidence * bins).astype(int), bins - 1))
    return groups.agg(
        confidence=("confidence", "mean"), accuracy=("right", "mean"), slices=("right", "size")
    )


def expected_calibration_error(
    true: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> float:
    """How far confidence is from accuracy, on average over slices.

    The differences between mean probability and accuracy of `calibration_bins` are averaged,
    weighted by slices per bin (Guo et al. 2017, arXiv:1706.04599).
    """
    table = calibration_bins(true, probabilities, bins)
    return float(np.average((table.confidence - table.accuracy).abs(), weights=table.slices))


def _as_binary_pair(
    predicted: np.ndarray, true: np.ndarray, spacing: Spacing
) -> tuple[np.ndarray, np.ndarray]:
    predicted, true = np.asarray(predicted), np.asarray(true)
    _check_pair(predicted, true, spacing, highest_label=1)
    return predicted.astype(bool, copy=False), true.astype(bool, copy=False)


def _check_pair(
    predicted: np.ndarray, true: np.ndarray, spacing: Spacing, highest_label: int
) -> None:
    if predicted.shape != true.shape or true.ndim not in (2, 3) or true.size == 0:
        raise BadInput(
            f"The predicted mask has shape {predicted.shape}, the true one {true.shape}: both "
            "must have the same 2 or 3 dimensions; nothing is resampled or broadcast.",
            fault="wrong_shape",
        )
    if spacing is not None and (len(spacing) != true.ndim or not min(spacing) > 0):
        raise BadInput(
            f"Spacing {tuple(spacing)} does not fit masks of shape {true.shape}: give one size in "
            "mm per axis, or None where it is not known.",
            fault="wrong_spacing",
        )
    for name, mask in (("predicted", predicted), ("true", true)):
        if mask.dtype.kind not in "bui" or mask.min() < 0 or mask.max() > highest_label:
            raise BadInput(
                f"The {name} mask has {mask.dtype} values from {mask.min()} to {mask.max()}; "
                f"expected the integers {_EXPECTED_LABELS[highest_label]}.",
                fault="unknown_labels",
            )


def _count_voxels(predicted: np.ndarray, true: np.ndarray) -> torch.Tensor:
    """Return (1, 4) true positives, false positives, true negatives, false negatives."""
    hits = np.count_nonzero(predicted & true)
    false_alarms = np.count_nonzero(predicted) - hits
    misses = np.count_nonzero(true) - hits
    rest = true.size - hits - false_alarms - misses
    return torch.tensor([[hits, false_alarms, rest, misses]], dtype=torch.float64)


def _voxels(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the voxels of the predicted and of the true mask, (N,) each, of counts (N, 4)."""
    return counts[:, 0] + counts[:, 1], counts[:, 0] + counts[:, 3]


def _relative_difference(predicted_voxels: torch.Tensor, true_voxels: torch.Tensor) -> torch.Tensor:
    difference = predicted_voxels - true_voxels
    return torch.where(difference == 0, 0.0, difference / true_voxels)


def _surface_scores(
    predicted: np.ndarray, true: np.ndarray, spacing: Spacing
) -> dict[str, torch.Tensor]:
    """Return the scores of two surfaces; NaN where there is no surface or no spacing."""
    from monai.metrics.utils import get_mask_edges

    if spacing is None or not (predicted.any() and true.any()):
        return dict.fromkeys((*_DISTANCES, "surface_dice_2mm"), torch.tensor(np.nan))
    predicted, true = _crop_to_union(predicted, true)
    edges = get_mask_edges(predicted, true, crop=False)
    distances = _surface_distances(*edges, spacing)
    return {
        "assd_mm": torch.tensor(np.concatenate(distances).mean(dtype=np.float64)),
        "hd95_mm": torch.tensor(max(np.percentile(d, 95) for d in distances)),
        "surface_dice_2mm": torch.tensor(_surface_dice(predicted, true, spacing, 2.0)),
    }


def _crop_to_union(predicted: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crop both masks to the box around them and add a background voxel on every side.

    That voxel makes the volume's border a surface where a mask touches it.
    """
    boxes = ndimage.find_objects((predicted | true).view(np.uint8))
    box = boxes[0] if boxes else (slice(0, 0),) * true.ndim
    return np.pad(predicted[box], 1), np.pad(true[box], 1)


def _surface_distances(
    predicted_edges: np.ndarray, true_edges: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances in mm from each surface voxel to the other surface, both ways."""
    from monai.metrics.utils import get_surface_distance

    return (
        get_surface_distance(predicted_edges, true_edges, spacing=spacing),
        get_surface_distance(true_edges, predicted_edges, spacing=spacing),
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


def _sizes(predicted: np.ndarray, true: np.ndarray, spacing: Spacing) -> dict[str, float | str]:
    voxels = {"predicted": int(predicted.sum()), "true": int(true.sum())}
    ml = _voxel_mm3(spacing) / 1000
    return {
        "empty": ("neither", "one", "both")[list(voxels.values()).count(0)],
        **{f"{name}_voxels": count for name, count in voxels.items()},
        **{f"{name}_ml": count * ml for name, count in voxels.items()},
    }


def _voxel_mm3(spacing: Spacing) -> float:
    return float("nan") if spacing is None else float(np.prod(spacing))


def _shared_voxels(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Count the voxels that true lesion i and predicted lesion j share, (true + 1, predicted + 1).

    Row and column 0 are background.
    """
    predicted, true = _crop_to_union(predicted, true)
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
    volume = lesions["voxels"] * _voxel_mm3(spacing)
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


def _counts_of_class(confusion: torch.Tensor, label: int) -> torch.Tensor:
    """Reduce confusion (N, C, C) to counts (N, 4) of `label` and above; of 0 against the rest."""
    if label == 0:
        return _counts_of_class(confusion, 1)[:, [2, 3, 0, 1]]
    below, above = slice(None, label), slice(label, None)
    cells = ((above, above), (below, above), (below, below), (above, below))
    return torch.stack([confusion[:, true, pred].sum((1, 2)) for true, pred in cells], dim=1)


def _summary_row(
    patients: pd.DataFrame, structure: str, score: str, n: int, seed: int
) -> dict[str, float | str]:
    values = patients[f"{structure}_{score.removeprefix('pooled_')}"].to_numpy(float)
    empty = patients[f"{structure}_empty"]
    weights = np.ones(len(values))
    if score == "pooled_dice":
        voxels = patients[[f"{structure}_predicted_voxels", f"{structure}_true_voxels"]]
        weights = voxels.sum(axis=1).to_numpy(float)
    usable = np.isfinite(values) & (weights > 0)
    interval = Interval(np.nan, np.nan, np.nan)
    if usable.any():
        interval = bootstrap_interval(values[usable], weights[usable], n=n, seed=seed)
    return {
        "structure": structure,
        "score": score,
        **interval._asdict(),
        "patients": len(values),
        "both_empty": int((empty == "both").sum()),
        "one_empty": int((empty == "one").sum()),
        "infinite": int(np.isinf(values).sum()),
        "unknown": int(np.isnan(values).sum()),
    }


def _as_class_pair(true: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    true, probabilities = np.asarray(true), np.asarray(probabilities, float)
    if probabilities.ndim != 2 or true.shape != probabilities.shape[:1] or true.size == 0:
        raise BadInput(
            f"Classes of shape {true.shape} and probabilities of shape {probabilities.shape} must "
            "be (N,) and (N, classes), N at least 1.",
            fault="wrong_shape",
        )
    if true.min() < 0 or true.max() >= probabilities.shape[1]:
        raise BadInput(
            f"Classes from {true.min()} to {true.max()} do not fit probabilities for "
            f"{probabilities.shape[1]} classes.",
            fault="unknown_labels",
        )
    if not np.allclose(probabilities.sum(1), 1, atol=1e-3) or probabilities.min() < 0:
        raise BadInput(
            "Probabilities do not sum to 1 in each row: apply softmax to the logits first.",
            fault="not_probabilities",
        )
    return true, probabilities
