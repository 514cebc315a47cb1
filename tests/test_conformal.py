"""Intervals that hold: the quantile by hand, what is promised, and what weights do."""

import numpy as np
import pytest

from liverutils.errors import BadInput
from liverutils.scoring import conformal_quantile, effective_size, likelihood_ratio


@pytest.mark.parametrize(
    ("n", "alpha", "rank"),
    [(9, 0.1, 9), (10, 0.1, 10), (19, 0.1, 18), (60, 0.1, 55), (19, 0.05, 19)],
)
def test_the_quantile_is_the_error_of_that_rank(n, alpha, rank):
    assert rank == np.ceil((n + 1) * (1 - alpha) - 1e-9)
    errors = np.random.default_rng(n).permutation(np.arange(1, n + 1))
    assert conformal_quantile(errors, alpha) == rank


@pytest.mark.parametrize(("n", "alpha"), [(0, 0.1), (8, 0.1), (18, 0.05)])
def test_too_few_patients_promise_nothing(n, alpha):
    assert conformal_quantile(np.arange(n), alpha) == np.inf


def test_equal_weights_change_nothing_and_their_factor_does_not_count():
    errors = np.random.default_rng(0).random(40)
    plain = conformal_quantile(errors, 0.2)
    assert conformal_quantile(errors, 0.2, np.full(40, 7.0), 7.0) == plain


def test_weights_by_hand():
    # Of all weight, 1 + 1 + 6 and the new patient's 2, 0.8 is reached with the third error.
    assert conformal_quantile([1, 2, 3], 0.2, [1, 1, 6], 2) == 3
    assert conformal_quantile([1, 2, 3], 0.2, [6, 1, 1], 2) == 3
    assert conformal_quantile([1, 2, 3], 0.4, [6, 1, 1], 2) == 1
    assert conformal_quantile([1, 2, 3], 0.2, [1, 1, 1], 2) == np.inf


def test_the_promise_is_kept():
    rng = np.random.default_rng(1)
    errors = rng.lognormal(size=(4000, 31))
    holds = [new <= conformal_quantile(known, 0.1) for new, *known in errors.tolist()]
    assert 0.9 - 0.015 < np.mean(holds) < 0.9 + 1 / 31 + 0.015


def test_weights_repair_a_shift_that_is_known():
    rng = np.random.default_rng(2)

    def covers(weighted):
        known, new = rng.normal(0, 1, 200), rng.normal(1.0, 1)
        ratio = np.exp(known - 0.5) if weighted else np.ones(200)  # of N(1, 1) to N(0, 1)
        own = np.exp(new - 0.5) if weighted else 1.0
        spread = np.exp(known) * np.abs(rng.normal(size=200))
        return np.exp(new) * abs(rng.normal()) <= conformal_quantile(spread, 0.1, ratio, own)

    assert np.mean([covers(False) for _ in range(1500)]) < 0.8
    assert np.mean([covers(True) for _ in range(1500)]) > 0.88


def test_the_ratio_of_two_cohorts_is_found():
    rng = np.random.default_rng(3)
    known, new = rng.normal(0, 1, (4000, 1)), rng.normal(0.8, 1, (3000, 1))
    at = np.array([[-1.0], [0.0], [1.0]])
    found = np.log(likelihood_ratio(known, new, at))
    assert np.diff(found) == pytest.approx([0.8, 0.8], abs=0.1)


def test_effective_patients():
    assert effective_size([3, 3, 3, 3]) == pytest.approx(4)
    assert effective_size([1, 0, 0]) == 1
    assert effective_size([2, 1]) == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (([1, 2], 0), "bad_share"),
        (([1, 2], 0.1, [1]), "wrong_shape"),
        (([1, np.nan], 0.1), "not_finite"),
        (([1, 2], 0.1, [1, -1]), "not_finite"),
    ],
)
def test_what_gives_no_quantile(given, fault):
    with pytest.raises(BadInput) as caught:
        conformal_quantile(*given)
    assert caught.value.fault == fault
