"""How often a 95 % interval over patients holds the truth, on scores like those of the course.

In a simulation the truth is known. The bootstrap is SciPy's, of 999 samples; ours is
`scoring.mean_interval`.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit
from scipy.stats import bootstrap

from liverutils.scoring import Interval, mean_interval
from liverutils.scoring.intervals import Scale
from tests.benchmarks.common import report

PATIENTS = (4, 6, 13, 32, 40)
TESTS, BOOTSTRAP_TESTS, SEED = 4000, 400, 0

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def draw_tumour_dice(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A quarter missed, one in twelve healthy and left alone, the others anywhere."""
    scores = rng.beta(2.2, 1.5, n)
    fate = rng.random(n)
    return np.where(fate < 0.25, 0, np.where(fate > 0.92, 1, scores)), np.ones(n)


def draw_poor_tumour_dice(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearly half missed, the others low and skewed."""
    return np.where(rng.random(n) < 0.45, 0, rng.beta(1.2, 2.2, n)), np.ones(n)


def draw_liver_dice(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Around 0.96, with a tail towards the bad."""
    return 1 - 0.04 * np.minimum(rng.lognormal(0, 0.5, n), 25), np.ones(n)


def draw_accuracy(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of right slices, weighted by the patient's slices."""
    return rng.beta(6, 2.5, n), np.round(rng.uniform(15, 60, n))


def draw_lesions_found(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of lesions found, weighted by the patient's lesions, two to twelve."""
    lesions = np.minimum(rng.geometric(0.33, n) + 1, 12)
    return rng.binomial(lesions, rng.beta(2, 2, n)) / lesions, lesions.astype(float)


def draw_pooled_dice(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Tumour Dice weighted by voxels: few patients have most, and large ones are drawn better."""
    voxels = rng.lognormal(0, 1.5, n)
    dice = expit(-0.3 + 0.8 * np.log(voxels) + rng.normal(0, 1, n))
    return np.where(rng.random(n) < 0.15, 0, dice), voxels


def draw_hd95(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """In mm, skewed."""
    return rng.lognormal(np.log(4), 0.6, n), np.ones(n)


def draw_liver_difference(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of two networks on the same livers: small, and larger on hard ones."""
    return rng.normal(0.002, 0.006, n) * rng.lognormal(0, 0.5, n), np.ones(n)


def draw_tumour_difference(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of two networks on the same tumours; now and then one of them misses all."""
    difficulty, fate = rng.normal(0, 1.2, n), rng.random(n)
    first = expit(difficulty + rng.normal(0.2, 0.4, n)) * (fate > 0.06)
    second = expit(difficulty + rng.normal(0, 0.4, n)) * ((fate < 0.04) | (fate > 0.12))
    return first - second, np.ones(n)


@dataclass(frozen=True)
class Score:
    """A kind of score: how patients' values and weights are drawn, and its scale."""

    draw: Draw
    scale: Scale = "share"


SCORES = {
    "tumour Dice": Score(draw_tumour_dice),
    "tumour Dice, poor": Score(draw_poor_tumour_dice),
    "liver Dice": Score(draw_liver_dice),
    "accuracy by slices": Score(draw_accuracy),
    "lesions found": Score(draw_lesions_found),
    "pooled tumour Dice": Score(draw_pooled_dice),
    "HD95": Score(draw_hd95, "length"),
    "liver difference": Score(draw_liver_difference, "difference"),
    "tumour difference": Score(draw_tumour_difference, "difference"),
}


def coverage(
    name: str, patients: int, interval: Callable[..., Interval] = mean_interval, tests: int = TESTS
) -> dict:
    """Simulate tests of so many patients: how many intervals hold the truth, and their width."""
    score, truth = SCORES[name], _truth(name)
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode()), patients])
    found = [interval(*score.draw(rng, patients), scale=score.scale) for _ in range(tests)]
    low, high = np.array([(one.low, one.high) for one in found]).T
    return {
        "covered": float(np.mean((low <= truth) & (truth <= high))),
        "width": float(np.mean(high - low)),
    }


@cache
def _truth(name: str) -> float:
    """The mean over very many patients."""
    values, weights = SCORES[name].draw(np.random.default_rng(SEED), 1_000_000)
    return float(np.average(values, weights=weights))


def percentile(values: np.ndarray, weights: np.ndarray, scale: Scale) -> Interval:
    """SciPy's percentile bootstrap of the weighted mean."""
    return _bootstrap(values, weights, "percentile")


def bca(values: np.ndarray, weights: np.ndarray, scale: Scale) -> Interval:
    """SciPy's bias-corrected and accelerated bootstrap of the weighted mean."""
    return _bootstrap(values, weights, "BCa")


def _bootstrap(values: np.ndarray, weights: np.ndarray, method: str) -> Interval:
    mean = float(np.average(values, weights=weights))
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    low, high = bootstrap(
        (values, weights),
        lambda v, w, axis: (v * w).sum(axis) / w.sum(axis),
        paired=True,
        n_resamples=999,
        method=method,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(mean, float(low), float(high))


def main() -> None:
    """Simulate every score with every number of patients, ours and the bootstrap's two kinds."""
    ways = {"ours": (mean_interval, TESTS)}
    ways |= {way.__name__: (way, BOOTSTRAP_TESTS) for way in (percentile, bca)}
    rows = [
        {"score": name, "patients": patients, "interval": way, "tests": tests}
        | coverage(name, patients, interval, tests)
        for name in SCORES
        for patients in PATIENTS
        for way, (interval, tests) in ways.items()
    ]
    report("interval_coverage", rows)


if __name__ == "__main__":
    main()
