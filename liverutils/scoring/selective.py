"""What is gained by leaving the doubtful cases to people: agreement, and risk against coverage."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from liverutils.errors import BadInput
from liverutils.scoring.volumes import dice


def pairwise_dice(masks: Sequence[np.ndarray]) -> float:
    """Mean Dice over all pairs of masks: how far several answers to one scan agree.

    The best simple sign of a failed segmentation in the comparison of Zenk et al. 2025,
    https://doi.org/10.1016/j.media.2024.103392. No truth is needed.

    Args:
        masks: At least two of one shape, bool or 0/1. Two empty masks agree: 1. For an organ that
            everybody has, an empty answer is a failure however many agree on it.

    Raises:
        BadInput: too_few_answers; what `score_volume` raises.
    """
    if len(masks) < 2:
        raise BadInput(
            f"No agreement: {len(masks)} answer where at least two are compared.",
            fault="too_few_answers",
        )
    return float(np.mean([dice(*pair) for pair in combinations(masks, 2)]))


class RiskCoverage(NamedTuple):
    """Risk against coverage.

    Attributes:
        coverage: (N,) share of the cases that are answered, from 1/N to 1.
        risk: (N,) mean risk of those, the most trusted ones.
        area: Mean of `risk`, the area under the curve (AURC); the lower, the better.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float


def risk_coverage(
    risk: Sequence[float] | np.ndarray, confidence: Sequence[float] | np.ndarray
) -> RiskCoverage:
    """Answer the most trusted cases only: how much risk is left?

    Geifman and El-Yaniv 2017, arXiv:1705.08500; for segmentation Zenk et al. 2025. Where several
    cases are trusted alike, each counts with their mean risk, as if they came in any order.
    A confidence that knows nothing has, on average, the mean risk as its area; no confidence has a
    lower area than one that sorts by the risk itself.

    Args:
        risk: (N,) what an answer costs where it is used, such as 1 − Dice.
        confidence: (N,) the higher, the more trusted.

    Raises:
        BadInput: wrong_shape, not_finite.
    """
    cases = pd.DataFrame({"risk": np.asarray(risk, float)})
    if cases.empty or len(cases) != len(confidence):
        raise BadInput(
            f"{len(cases)} risks and {len(confidence)} confidences: give one of each per case.",
            fault="wrong_shape",
        )
    cases["confidence"] = np.asarray(confidence, float)
    if not np.isfinite(cases.to_numpy()).all():
        raise BadInput(
            "A risk or confidence is infinite or undefined: leave such cases out and count them.",
            fault="not_finite",
        )
    expected = cases.groupby("confidence").risk.transform("mean")
    ordered = expected[cases.confidence.sort_values(ascending=False, kind="stable").index]
    answered = np.arange(1, len(cases) + 1)
    left = ordered.to_numpy().cumsum() / answered
    return RiskCoverage(answered / len(cases), left, float(left.mean()))
