"""A network away from home: grey values, doubt, scores of scans that no store holds."""

from dataclasses import replace

import numpy as np
import pytest

from liverutils.phantom import COHORTS, make_patient
from liverutils.prediction import elsewhere
from liverutils.scans import grey_to_hu


@pytest.fixture(scope="module")
def case():
    return make_patient(COHORTS["phantom-smoke"], 1)


def as_grey(image: np.ndarray, slope: float) -> np.ndarray:
    """HU as somebody exports them: linear, 8 bits, slope and offset forgotten."""
    return np.clip(np.rint((image.astype(float) + 1024) / slope), 0, 255).astype(np.int16)


@pytest.mark.parametrize("slope", (7.0, 8.2, 9.5))
def test_grey_values_come_back_near_their_hu_whatever_the_slope(slope):
    image = make_patient(COHORTS["phantom"], 2).image
    guessed = grey_to_hu(as_grey(image, slope))
    soft = (image > 0) & (image < 150)
    assert abs(np.median(guessed[soft]) - np.median(image[soft])) < 40
    assert abs(np.median(guessed[image < -900]) + 1000) < 60


def test_a_scan_in_hu_is_left_as_it_is(case):
    network = type("Network", (), {"data": {"intensity": "HU"}})
    assert elsewhere.as_trained_on(network, case) is case
    grey = replace(case, image=as_grey(case.image, 8.2), intensity="grey")
    assert elsewhere.as_trained_on(network, grey).intensity == "HU"


def answers(monkeypatch, plain: np.ndarray, changed: np.ndarray) -> None:
    """Have the network answer `plain` and, with test-time changes, `changed`."""

    def segment(network, case, augment=False):
        return type("Answer", (), {"labels": (changed if augment else plain).copy()})

    monkeypatch.setattr(elsewhere, "segment", segment)


def test_agreement_is_the_dice_of_the_two_answers(monkeypatch, case):
    plain, changed = (np.zeros((8, 8, 8), np.uint8) for _ in range(2))
    plain[:4], changed[2:6] = 1, 1
    answers(monkeypatch, plain, changed)
    labels, agreement = elsewhere.segment_with_agreement(None, case)
    assert agreement == 0.5
    assert np.array_equal(labels, changed)


def test_two_empty_answers_agree_on_nothing(monkeypatch, case):
    empty = np.zeros((8, 8, 8), np.uint8)
    answers(monkeypatch, empty, empty)
    assert elsewhere.segment_with_agreement(None, case)[1] == 0


def test_scans_elsewhere_are_scored_one_by_one(monkeypatch, case):
    answers(monkeypatch, case.labels, case.labels)
    network = type("Network", (), {"data": {"intensity": "HU"}})
    files = [type("Files", (), {"load": lambda self: case})()]
    (row,) = elsewhere.score_elsewhere(network, files).to_dict("records")
    assert row["agreement"] == 1 and row["liver_dice"] == 1 and row["patient"] == case.patient
