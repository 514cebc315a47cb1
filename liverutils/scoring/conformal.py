"""Intervals that hold for a promised share of new patients, whatever the errors look like.

Split conformal prediction: errors are measured on patients who had no part in the training, and
the interval reaches as far as all but a share `alpha` of them did. Vovk et al. 2005; Lei et al.
2018, https://doi.org/10.1080/01621459.2017.1307116. The promise holds on average over patients that
are exchangeable with those of the calibration.
"""

from collections.abc import Sequence

import numpy as np

from liverutils.errors import BadInput

Numbers = Sequence[float] | np.ndarray


def conformal_quantile(
    errors: Numbers,
    alpha: float = 0.1,
    weights: Numbers | None = None,
    own_weight: float = 1.0,
) -> float:
    """How far the interval of a new patient must reach to hold the truth with chance 1 − `alpha`.

    Without weights the ⌈(n + 1)(1 − alpha)⌉-th smallest of n errors: the new patient counts as one
    more, whose error may be anything. With weights, for patients unlike those of the calibration
    (Tibshirani et al. 2019, arXiv:1904.06019): the smallest error up to which the weights sum to
    1 − `alpha` of all, the new patient's own weight among them.

    Args:
        errors: (n,) of the calibration's patients, such as `|predicted − true|` volume.
        alpha: Share of new patients whose interval may miss the truth.
        weights: (n,) how many times likelier a patient like this one is among the new patients than
            among the calibration's, up to a factor.
        own_weight: The same of the new patient, up to the same factor.

    Returns:
        The quantile; infinite where the calibration is too small to promise anything, as below
        1 / `alpha` − 1 patients.

    Raises:
        BadInput: bad_share, wrong_shape, not_finite.
    """
    if not 0 < alpha < 1:
        raise BadInput(f"alpha is {alpha}: it must lie between 0 and 1.", fault="bad_share")
    known = np.asarray(errors, float)
    given = np.ones(len(known)) if weights is None else np.asarray(weights, float)
    if known.ndim != 1 or known.shape != given.shape:
        raise BadInput(
            f"{known.shape} errors and {given.shape} weights: give one weight for each error.",
            fault="wrong_shape",
        )
    if np.isnan(known).any() or not np.isfinite([*given, own_weight]).all() or (given < 0).any():
        raise BadInput(
            "An error is undefined, or a weight is negative, infinite or undefined.",
            fault="not_finite",
        )
    order = np.argsort(known, kind="stable")
    reached = given[order].cumsum() / (given.sum() + own_weight)
    enough = reached >= 1 - alpha - 1e-12
    return float(known[order][enough.argmax()]) if enough.any() else float("inf")


def effective_size(weights: Numbers) -> float:
    """How many patients of equal weight would be worth as much as these: Kish's (Σw)² / Σw²."""
    given = np.asarray(weights, float)
    return float(given.sum() ** 2 / (given**2).sum())


def likelihood_ratio(known: np.ndarray, new: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How many times likelier patients are among the new ones than among the known, without truth.

    A logistic regression tells the two cohorts apart, and the odds it gives are the ratio of their
    densities up to a factor (Tibshirani et al. 2019, section 2.3). Lambert et al. 2024,
    arXiv:2407.19938, do so for volumes.

    Args:
        known: (n, features) of the calibration's patients: what is known without the truth.
        new: (m, features) of patients from elsewhere.
        of: (k, features) of those whose ratio is asked.

    Returns:
        (k,) ratios, all up to one factor.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    told = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    told.fit(np.concatenate([known, new]), np.repeat([0, 1], [len(known), len(new)]))
    return np.exp(told.decision_function(of))
