"""Scores of classification: accuracy, ROC, calibration."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    auc,
    confusion_matrix,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from liverutils.errors import BadInput
from liverutils.scoring.intervals import Interval
from liverutils.scoring.names import SLICE_CLASSES


def roc_area(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve of (N,) scores; NaN where all are positive or none is."""
    return float(roc_auc_score(positive, score)) if len(np.unique(positive)) == 2 else np.nan


def score_classes(true: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
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


def score_auc(true: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
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
    positive, score = _as_two_groups(positive, score)
    rates = np.linspace(0, 1, 101)
    codes, names = pd.factorize(np.asarray(groups))
    draws = _draw_patients(len(names), n, seed)[:, codes]
    both = draws[:, positive].any(1) & draws[:, ~positive].any(1)
    curves = [_weighted_roc(positive, score, weights, rates) for weights in draws[both]]
    tails = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    if len(names) < 2:
        tails = np.full_like(tails, np.nan)
    *sensitivity, area = _weighted_roc(positive, score, np.ones(len(score)), rates)
    interval = Interval(area, *map(float, tails[:, -1]))
    return Roc(rates, np.array(sensitivity), tails[0, :-1], tails[1, :-1], interval)


def bootstrap_auc(
    positive: np.ndarray,
    score: np.ndarray,
    groups: Sequence[str],
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The area and the interval of `bootstrap_roc` without the curve, and much sooner.

    The area is the share of pairs in which the positive slice has the higher score, ties counting
    half (Mann and Whitney). Pairs are counted once for each two patients; a draw only weighs them.
    """
    positive, score = _as_two_groups(positive, score)
    codes, names = pd.factorize(np.asarray(groups))
    higher = np.sign(score[positive][:, None] - score[~positive][None]) / 2 + 0.5
    wins, of = np.zeros((2, len(names), len(names)))
    pairs = np.ix_(codes[positive], codes[~positive])
    np.add.at(wins, pairs, higher)
    np.add.at(of, pairs, 1)
    draws = _draw_patients(len(names), n, seed).astype(float)
    won, all_pairs = (np.einsum("ni,ij,nj->n", draws, table, draws) for table in (wins, of))
    area = float(wins.sum() / of.sum())
    if len(names) < 2:
        return Interval(area, np.nan, np.nan)
    areas = won[all_pairs > 0] / all_pairs[all_pairs > 0]
    return Interval(area, *map(float, np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])))


def _as_two_groups(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    positive, score = np.asarray(positive, bool), np.asarray(score, float)
    if positive.all() or not positive.any():
        raise BadInput(
            f"No ROC curve: {positive.sum()} of {len(positive)} slices are positive; score "
            "patients with slices of both kinds.",
            fault="one_class",
        )
    return positive, score


def _draw_patients(patients: int, n: int, seed: int) -> np.ndarray:
    """How often each patient is drawn in each of `n` samples: (n, patients)."""
    chances = np.full(patients, 1 / patients)
    return np.random.default_rng(seed).multinomial(patients, chances, size=n)


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
