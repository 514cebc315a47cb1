"""Splits are by patient, balanced by tumour load, and the same under the same seed."""

import numpy as np
import pandas as pd
import pytest

from liverutils.errors import BadInput
from liverutils.slices import nnunet_folds, split_patients


def slices_of(n_patients: int, slices_each: int = 10) -> pd.DataFrame:
    """A table in which patient k has k tumour pixels a slice."""
    number = np.repeat(np.arange(n_patients), slices_each)
    return pd.DataFrame(
        {
            "patient": [f"p{k:03d}" for k in number],
            "liver_px": 1000,
            "tumor_px": number,
        }
    )


@pytest.mark.parametrize("n_patients", [3, 4, 5, 8, 20, 131])
def test_each_patient_is_in_exactly_one_part(n_patients):
    split = split_patients(slices_of(n_patients), seed=1)
    everyone = [*split.train, *split.valid, *split.test]
    assert len(everyone) == len(set(everyone)) == n_patients
    assert split.train and split.valid and split.test


@pytest.mark.parametrize(
    ("n_patients", "parts"),
    [(88, (43, 13, 32)), (131, (78, 20, 33)), (79, (47, 12, 20)), (5, (3, 1, 1))],
)
def test_so_many_are_held_out_by_default(n_patients, parts):
    split = split_patients(slices_of(n_patients))
    assert tuple(map(len, (split.train, split.valid, split.test))) == parts


def test_same_seed_same_split_whatever_the_order_of_the_rows():
    slices = slices_of(20)
    shuffled = slices.sample(frac=1, random_state=3)
    assert split_patients(slices, seed=5) == split_patients(shuffled, seed=5)
    assert split_patients(slices, seed=5) != split_patients(slices, seed=6)


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_about_the_same_tumour_load(seed):
    slices = slices_of(60)
    split = split_patients(slices, seed=seed)
    load = slices.groupby("patient").tumor_px.mean()
    means = [load[list(part)].mean() for part in (split.train, split.valid, split.test)]
    assert np.ptp(means) < 12  # of 0…59; split at random, a part's mean varies by about 17/√n


def test_fraction_keeps_validation_and_test_and_nests():
    slices = slices_of(40)
    whole, half, quarter = (
        split_patients(slices, seed=2, fraction=fraction) for fraction in (1.0, 0.5, 0.25)
    )
    assert half.test == whole.test and quarter.valid == whole.valid
    assert set(quarter.train) < set(half.train) < set(whole.train)
    assert len(half.train) == round(len(whole.train) / 2)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5])
def test_impossible_fraction_is_refused(fraction):
    with pytest.raises(BadInput, match="fraction"):
        split_patients(slices_of(10), fraction=fraction)


@pytest.mark.parametrize("n_patients", [1, 2])
def test_too_few_patients_are_refused(n_patients):
    with pytest.raises(BadInput, match="too few"):
        split_patients(slices_of(n_patients))


def msd_slices(patients: dict[int, str]) -> pd.DataFrame:
    """A table of the 131 volumes of Task03, of which some are of the same patient."""
    table = slices_of(131)
    number = table.patient.str[1:].astype(int)
    table["volume"] = "liver_" + number.astype(str)
    table["patient"] = [patients.get(n, f"p{n:03d}") for n in number]
    return table


def test_the_folds_of_nnunet():
    """Sorted as text, shuffled with nnU-Net's seed: every volume is tested in one fold."""
    folds = nnunet_folds(msd_slices({}))
    assert [len(fold.test) for fold in folds] == [27, 26, 26, 26, 26]
    assert len({patient for fold in folds for patient in fold.test}) == 131
    for fold in folds:
        everyone = [*fold.train, *fold.valid, *fold.test]
        assert len(everyone) == len(set(everyone)) == 131
    names = np.array(sorted(f"liver_{n}" for n in range(131)))
    shuffled = np.random.RandomState(12345).permutation(131)
    first = {int(name.removeprefix("liver_")) for name in names[np.sort(shuffled[:27])]}
    assert set(folds[0].test) == {f"p{n:03d}" for n in first}
    again = nnunet_folds(msd_slices({}).sample(frac=1, random_state=0))
    assert again == folds


def test_no_patient_is_in_two_folds():
    shared = dict.fromkeys(range(40, 60), "ircadb-20")
    folds = nnunet_folds(msd_slices(shared))
    assert sum("ircadb-20" in fold.test for fold in folds) == 1
    assert all("ircadb-20" in {*fold.train, *fold.valid, *fold.test} for fold in folds)


def test_too_few_patients_for_folds_are_refused():
    with pytest.raises(BadInput, match="too few"):
        nnunet_folds(msd_slices({})[:90])
