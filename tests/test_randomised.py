"""Randomised patients: whole trunks that vary, with organs that are where they belong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from liverutils.phantom import COHORTS, ORGANS
from liverutils.phantom.own_layout import write_own
from liverutils.phantom.patients import make_all
from liverutils.scans import LIVER, TUMOR, verify_case
from liverutils.slices import Augment, TransferAugment
from liverutils.sources import find_cases

# The cohort on a coarse grid: every shape is there, in a fifth of the time.
QUICK = replace(COHORTS["phantom-randomised"], matrix=96, slice_mm=(8.0,), subslice_mm=8.0)


@pytest.fixture(scope="module")
def made():
    return [make_all(QUICK, number) for number in range(6)]


def of_organ(made, name: str) -> np.ndarray:
    return made.organs == ORGANS.index(name)


def test_the_same_seed_gives_the_same_patient(made):
    again = make_all(QUICK, 3)
    assert np.array_equal(again.case.image, made[3].case.image)
    assert np.array_equal(again.organs, made[3].organs)
    assert again.lesions == made[3].lesions


def test_scans_reach_from_the_thighs_to_the_shoulders_in_some(made):
    lengths = [made.case.image.shape[2] * made.case.spacing[2] for made in made]
    assert min(lengths) < 350 and max(lengths) > 500


def test_livers_have_a_volume_that_people_have(made):
    for one in made:
        millilitres = (one.case.labels >= LIVER).sum() * np.prod(one.case.spacing) / 1000
        assert 200 < millilitres < 3500


def test_bodies_and_scanners_differ(made):
    facts = [one.case.provenance for one in made]
    for name in ("phase", "scale", "field_mm", "noise_sd", "liver_ml", "spleen"):
        assert len({fact[name] for fact in facts}) > 2, name


def test_the_organs_agree_with_the_mask_and_with_their_hu(made):
    for one in made:
        liver = one.case.labels >= LIVER
        assert (of_organ(one, "liver") & liver).sum() > 0.85 * liver.sum()
        lungs, bone = one.case.image[of_organ(one, "lungs")], one.case.image[of_organ(one, "bone")]
        assert len(bone) and np.median(bone) > 90
        assert not len(lungs) or np.median(lungs) < -500


def test_the_liver_lies_on_the_right_and_above_the_pelvis(made):
    for one in made:
        x, _, z = np.argwhere(one.case.labels >= LIVER).T
        body = np.argwhere(of_organ(one, "body"))
        assert np.median(x) > np.median(body[:, 0])
        if of_organ(one, "bladder").any():
            assert z.min() > np.argwhere(of_organ(one, "bladder"))[:, 2].max()


def test_lesions_are_told_in_the_patients_own_millimetres(made):
    for one in made:
        for lesion in one.lesions:
            place = [lesion[f"{axis}_voxel"] for axis in "xyz"]
            at = one.case.affine @ [*place, 1]
            told = [lesion[f"{axis}_mm"] for axis in "xyz"]
            assert np.allclose(at[:3], told, atol=0.3)
    tumors = [one for one in made if (one.case.labels == TUMOR).any()]
    assert all(any(lesion["is_tumor"] for lesion in one.lesions) for one in tumors)


def test_verify_has_nothing_against_a_randomised_patient(made):
    assert [finding.fault for finding in verify_case(made[1].case)] == []


def test_organs_on_disk_are_no_scans(made, tmp_path):
    for number in range(2):
        write_own(tmp_path, made[number], number)
    cases = find_cases("phantom-randomised", tmp_path)
    assert [case.volume for case in cases] == ["000", "001"]
    assert all((tmp_path / f"organs-{case.volume}.nii.gz").is_file() for case in cases)


def test_transfer_augmentation_keeps_range_shape_and_labels():
    torch.manual_seed(0)
    images, masks = torch.rand(5, 1, 64, 64) * 2 - 1, torch.randint(0, 3, (5, 64, 64)).byte()
    changed, moved = TransferAugment()(images, masks)
    assert changed.shape == images.shape and moved.dtype == masks.dtype
    assert changed.min() >= -1 and changed.max() <= 1
    assert set(moved.unique().tolist()) <= {0, 1, 2}


def test_transfer_augmentation_without_its_own_changes_is_the_plain_one():
    images, masks = torch.rand(5, 1, 64, 64) * 2 - 1, torch.randint(0, 3, (5, 64, 64)).byte()
    plain = {name: getattr(Augment(), name) for name in Augment.__dataclass_fields__}
    still = TransferAugment(**plain, gamma=0, sharpness=0, coarse=0, shading=0)
    assert np.isclose(still.reach, Augment().reach)
    silent = TransferAugment(
        rotate=0, scale=0, shift=0, brightness=0, contrast=0, noise=0,
        gamma=0, sharpness=0, coarse=0, shading=0,
    )  # fmt: skip
    changed, moved = silent(images, masks)
    assert torch.allclose(changed, images, atol=1e-5) and torch.equal(moved, masks)
