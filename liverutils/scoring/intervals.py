"""Intervals over patients, by the bootstrap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from liverutils.errors import BadInput


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
    scores = np.asarray(values, float)
    shares = np.ones_like(scores) if weights is None else np.asarray(weights, float)
    scores, shares = scores[shares > 0], shares[shares > 0]
    if len(scores) == 0 or not np.isfinite(scores).all():
        raise BadInput(
            f"No interval: {len(scores)} values, {np.sum(~np.isfinite(scores))} of them infinite "
            "or undefined; average over finite ones and count the others beside.",
            fault="not_finite",
        )
    mean = np.average(scores, weights=shares)
    if len(scores) < 2:
        return Interval(float(mean), np.nan, np.nan)
    interval = bootstrap(
        (scores, shares),
        lambda v, w, axis: (v * w).sum(axis) / w.sum(axis),
        paired=True,
        n_resamples=n,
        batch=max(1, 1_000_000 // len(values)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(mean), float(interval.low), float(interval.high))
