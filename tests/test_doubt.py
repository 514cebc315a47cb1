"""Doubt without the truth: agreement, risk against coverage, mishaps, answers that are kept."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from liverutils.errors import BadInput
from liverutils.phantom import COHORTS, MISHAPS, make_patient, spoil
from liverutils.prediction import rows_of_scans
from liverutils.scans import LIVER, slices_apart
from liverutils.scoring import dice, pairwise_dice, risk_coverage, score_volume
from liverutils.sources import CaseFiles


@pytest.fixture(scope="module")
def case():
    return make_patient(COHORTS["phantom-smoke"], 1)


def square(first: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[first : first + 4] = True
    return mask


def test_dice_alone_is_that_of_all_scores():
    for masks in ((square(0), square(2)), (square(0), square(4)), (square(0) & False,) * 2):
        assert dice(*masks) == score_volume(*masks, None)["dice"]


def test_agreement_is_the_mean_over_pairs():
    assert pairwise_dice([square(0), square(0), square(4)]) == pytest.approx(1 / 3)
    assert pairwise_dice([square(0), square(2)]) == 0.5
    assert pairwise_dice([square(0) & False] * 3) == 1
    with pytest.raises(BadInput, match="1 answer") as caught:
        pairwise_dice([square(0)])
    assert caught.value.fault == "too_few_answers"


def test_risk_falls_as_the_doubtful_are_left_out():
    coverage, risk, area = risk_coverage([0.0, 0.4, 0.8, 0.2], [0.9, 0.3, 0.1, 0.8])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk == pytest.approx([0, 0.1, 0.2, 0.35])
    assert area == pytest.approx(0.1625)


def test_a_confidence_that_says_nothing_has_the_mean_risk():
    risk = np.random.default_rng(0).random(50)
    assert risk_coverage(risk, np.ones(50)).area == pytest.approx(risk.mean())
    areas = [risk_coverage(risk, c).area for c in np.random.default_rng(1).random((200, 50))]
    assert np.mean(areas) == pytest.approx(risk.mean(), abs=0.01)
    assert risk_coverage(risk, -risk).area < min(areas)


@pytest.mark.parametrize(
    ("risk", "confidence", "fault"),
    [([], [], "wrong_shape"), ([1], [1, 2], "wrong_shape"), ([1, 2], [np.nan, 1], "not_finite")],
)
def test_cases_that_have_no_curve(risk, confidence, fault):
    with pytest.raises(BadInput) as caught:
        risk_coverage(risk, confidence)
    assert caught.value.fault == fault


@pytest.mark.parametrize("apart_mm", (0, 13, 26, 39, 1000))
def test_some_slices_stand_where_they_stood(case, apart_mm):
    few = slices_apart(case, apart_mm)
    step = max(1, min(round(apart_mm / 13), case.image.shape[2] - 1))
    assert few.spacing[:2] == case.spacing[:2]
    assert few.spacing[2] == pytest.approx(step * 13)
    assert few.image.shape == few.labels.shape and few.image.shape[2] >= 2
    for index in range(few.image.shape[2]):
        z = (few.affine @ [0, 0, index, 1])[2]
        old = round(np.linalg.solve(case.affine, [*case.affine[:2, 3], z, 1])[2])
        assert np.array_equal(few.image[..., index], case.image[..., old])
        assert np.array_equal(few.labels[..., index], case.labels[..., old])


def test_a_mishap_is_seeded_and_moves_labels_with_the_picture(case):
    for name, mishap in MISHAPS.items():
        first, again = (mishap(case, np.random.default_rng(3)) for _ in range(2))
        assert np.array_equal(first.image, again.image), name
        assert first.image.shape == first.labels.shape == case.image.shape
        assert not np.array_equal(first.image, case.image)
        assert (first.labels >= LIVER).sum() == (case.labels >= LIVER).sum()
    turned = MISHAPS["mirrored"](case, np.random.default_rng(0))
    assert np.array_equal(turned.image[::-1], case.image)
    assert np.array_equal(turned.labels[::-1], case.labels)


def test_without_contrast_medium_liver_and_spleen_are_near(case):
    grey = MISHAPS["unenhanced"](case, np.random.default_rng(0))
    liver = case.labels == LIVER
    assert 25 < np.median(grey.image[liver]) < 60
    assert grey.image[liver].std() < case.image[liver].std()


def test_about_the_share_asked_for_is_spoilt(case):
    tiny = replace(case, image=case.image[:8, :8, :2], mask=case.labels[:8, :8, :2])
    names = [spoil(replace(tiny, volume=f"{n:03d}"), 0.5)[1] for n in range(200)]
    assert 70 < sum(name != "" for name in names) < 130
    assert set(names) == {"", *MISHAPS}
    assert spoil(case, 0)[0] is case
    assert names == [spoil(replace(tiny, volume=f"{n:03d}"), 0.5)[1] for n in range(200)]


def test_what_was_asked_is_not_asked_again(case, tmp_path):
    files = [
        CaseFiles("a", f"p{n}", f"{n:03d}", tmp_path, None, lambda files: case) for n in range(3)
    ]
    asked = []

    def row(case):
        asked.append(case)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"value": len(asked)}

    table = tmp_path / "logs" / "answers.csv"
    with pytest.raises(KeyboardInterrupt):
        rows_of_scans(files, row, table, "one")
    assert len(pd.read_csv(table)) == 1
    rows = rows_of_scans(files, row, table, "one")
    assert rows.volume.tolist() == ["000", "001", "002"] and rows.value.tolist() == [1, 3, 4]
    assert rows_of_scans(files, row, table, "one").equals(rows) and len(asked) == 4
    assert rows_of_scans(files[:1], row, table, "another").value.tolist() == [5]
