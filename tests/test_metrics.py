"""Scores against answers worked out by hand and against other packages."""

import importlib
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from liverutils.errors import BadInput
from liverutils.scans import LIVER, TUMOR
from liverutils.scoring import (
    PatientCounts,
    bootstrap_auc,
    bootstrap_roc,
    calibration_bins,
    expected_calibration_error,
    label_lesions,
    lesion_summary,
    mean_interval,
    nearest_look_alike,
    score_auc,
    score_classes,
    score_lesions,
    score_patient,
    score_volume,
    summarise,
)
from liverutils.scoring.names import SCORES
from liverutils.sources import find_cases
from tests.benchmarks import interval_coverage

MM = (1.0, 1.0, 1.0)


def cube(start, size, shape=(20, 20, 20)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + size) for s in start)] = True
    return mask


def sphere(centre, radius, shape, spacing):
    grid = np.indices(shape).reshape(3, -1).T * spacing - centre
    return (np.linalg.norm(grid, axis=1) <= radius).reshape(shape)


# Known answers: volumes


def test_scores_have_the_documented_names_in_order():
    assert tuple(score_volume(cube((5, 5, 5), 4), cube((5, 5, 5), 4), MM)) == SCORES


def test_a_perfect_mask():
    scores = score_volume(cube((5, 5, 5), 4), cube((5, 5, 5), 4), MM)
    assert [scores[name] for name in SCORES] == [1, 1, 1, 1, 1, 0, 0, 0, 1]


def test_a_cube_shifted_by_one_voxel():
    scores = score_volume(cube((6, 5, 5), 4), cube((5, 5, 5), 4), MM)
    assert scores["dice"] == scores["precision"] == scores["recall"] == 48 / 64
    assert scores["iou"] == 48 / 80
    assert scores["pixel_accuracy"] == 1 - 32 / 8000
    assert scores["rvd"] == 0
    # 56 surface voxels each. Those of one cube that are off the other's surface are its outer face
    # (16) and, one layer in, the 2 × 2 centre of what was a face: both 1 mm away. Every other
    # surface voxel lies on the other's surface.
    assert scores["assd_mm"] == pytest.approx((16 + 4) / 56)
    assert scores["hd95_mm"] == 1
    assert scores["surface_dice_2mm"] == 1


def test_a_cube_shifted_far_along_a_long_axis():
    true, predicted = cube((2, 2, 2), 1), cube((2, 2, 5), 1)
    scores = score_volume(predicted, true, (1.0, 1.0, 4.0))
    assert scores["dice"] == 0
    assert scores["assd_mm"] == scores["hd95_mm"] == 12
    assert score_volume(predicted, true, MM)["assd_mm"] == 3


def test_one_voxel_is_its_own_surface():
    scores = score_volume(cube((3, 3, 3), 1), cube((3, 4, 3), 1), (1.0, 1.5, 1.0))
    assert (scores["dice"], scores["assd_mm"], scores["hd95_mm"]) == (0, 1.5, 1.5)


def test_two_concentric_spheres():
    shape, spacing = (64, 64, 32), np.array([1.0, 1.0, 2.0])
    centre = np.array([32.0, 32.0, 32.0])
    inner = sphere(centre, 20, shape, spacing)
    outer = sphere(centre, 25, shape, spacing)
    scores = score_volume(outer, inner, spacing)
    assert scores["recall"] == 1
    assert scores["dice"] == pytest.approx(2 * 20**3 / (20**3 + 25**3), abs=0.01)
    assert scores["rvd"] == pytest.approx((25 / 20) ** 3 - 1, abs=0.02)
    assert scores["assd_mm"] == pytest.approx(5, abs=0.3)
    assert scores["surface_dice_2mm"] == 0


def test_surface_dice_counts_what_is_within_two_millimetres():
    true = cube((5, 5, 5), 8)
    two_planes_off = cube((7, 5, 5), 8)
    assert score_volume(two_planes_off, true, MM)["surface_dice_2mm"] == 1
    assert score_volume(two_planes_off, true, (1.5, 1.0, 1.0))["surface_dice_2mm"] < 1


def test_where_the_edge_of_the_volume_cuts_a_mask_off_is_no_surface():
    true, predicted = np.zeros((2, 7, 7, 8), bool)
    true[2:5, 2:5, :4] = True
    predicted[2:5, 2:5, :6] = True
    # Each is a column of 3 x 3 that begins at the volume's first slice. Its surface are the 8 outer
    # voxels of every slice and the middle of the last one: 4 x 8 + 1 and 6 x 8 + 1. The middle of
    # the shorter one's end lies 1 mm inside the longer one's side; of the longer one two rings lie
    # 1 and 2 mm beyond, and the middle of its end 2.
    scores = score_volume(predicted, true, MM)
    assert scores["assd_mm"] == pytest.approx((1 + 8 * 1 + 8 * 2 + 2) / (33 + 49))
    # In the middle of a larger volume the columns' beginnings are surface too, 1 voxel more each,
    # and those lie on each other.
    scores = score_volume(np.pad(predicted, 1), np.pad(true, 1), MM)
    assert scores["assd_mm"] == pytest.approx((1 + 8 * 1 + 8 * 2 + 2) / (34 + 50))


def challenge_assd(predicted: np.ndarray, true: np.ndarray, spacing: tuple) -> float:
    """ASSD as the CHAOS challenge's own code has it, by nearest neighbours of surface voxels.

    https://github.com/emrekavur/CHAOS-evaluation, Python/CHAOSmetrics.py.
    """
    cross = ndimage.generate_binary_structure(3, 1)
    surfaces = [
        np.argwhere(mask & ~ndimage.binary_erosion(mask, cross, border_value=1)) * spacing
        for mask in (predicted, true)
    ]
    there = cKDTree(surfaces[1]).query(surfaces[0])[0]
    back = cKDTree(surfaces[0]).query(surfaces[1])[0]
    return float(np.concatenate([there, back]).mean())


@pytest.mark.parametrize("seed", range(3))
def test_the_surface_distance_is_that_of_the_chaos_challenge(seed):
    """Blobs that the volume's edges cut off, on voxels of three sizes."""
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=(24, 20, 16)), 3) for _ in range(2)]
    true, predicted = smooth[0] > 0, smooth[0] + 0.5 * smooth[1] > 0
    assert true[0].any() and true[..., -1].any()
    spacing = (0.7, 0.8, 3.0)
    expected = challenge_assd(predicted, true, spacing)
    assert score_volume(predicted, true, spacing)["assd_mm"] == pytest.approx(expected)


def test_the_published_example_of_the_chaos_challenge():
    """A submission with its reference: DICE=0.978 RAVD=0.665 ASSD=0.734, says the README."""
    place = os.environ.get("CHAOS_EVALUATION")
    if not place:
        pytest.skip(
            "no example here: set CHAOS_EVALUATION to a clone of emrekavur/CHAOS-evaluation"
        )
    data = Path(place) / "Data_3D"
    true, predicted = (
        np.stack(
            [np.asarray(Image.open(path)) != 0 for path in sorted((data / name).glob("*.png"))]
        )
        for name in ("Ground", "Segmentation")
    )
    slices = [pydicom.dcmread(path) for path in sorted((data / "DICOM_anon").glob("*.dcm"))]
    ends = [np.array(each.ImagePositionPatient, float) for each in (slices[0], slices[-1])]
    between = np.linalg.norm(ends[1] - ends[0]) / (len(slices) - 1)
    scores = score_volume(predicted, true, (between, *map(float, slices[0].PixelSpacing)))
    assert scores["dice"] == pytest.approx(0.978, abs=5e-4)
    assert 100 * abs(scores["rvd"]) == pytest.approx(0.665, abs=5e-3)
    assert scores["assd_mm"] == pytest.approx(0.734, abs=5e-4)


def test_a_mask_that_fills_the_volume_has_no_surface_to_measure_from():
    scores = score_volume(np.ones((6, 6, 6), bool), cube((1, 1, 1), 4, (6, 6, 6)), MM)
    assert np.isnan([scores["assd_mm"], scores["hd95_mm"]]).all()
    assert scores["surface_dice_2mm"] == pytest.approx(1)


def test_a_picture_is_scored_like_a_volume():
    true, predicted = cube((5, 5), 4, (20, 20)), cube((5, 6), 4, (20, 20))
    scores = score_volume(predicted, true, (1.0, 2.0))
    assert scores["dice"] == 12 / 16
    assert scores["hd95_mm"] == 2


def test_axes_may_be_swapped_together_with_their_spacing():
    rng = np.random.default_rng(0)
    true = ndimage.binary_opening(rng.random((12, 14, 16)) < 0.8)
    predicted = np.roll(true, (1, 2, 0), (0, 1, 2))
    scores = score_volume(predicted, true, (0.7, 0.8, 2.5))
    swapped = score_volume(predicted.transpose(2, 0, 1), true.transpose(2, 0, 1), (2.5, 0.7, 0.8))
    assert swapped == pytest.approx(scores)


# Empty masks


def test_both_masks_empty_is_right():
    nothing = np.zeros((4, 4, 4), bool)
    scores = score_volume(nothing, nothing, MM)
    assert [scores[name] for name in SCORES] == [1, 1, 1, 1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("missed", [True, False])
def test_one_mask_empty_is_as_wrong_as_can_be(missed):
    nothing, something = np.zeros((10, 10, 10), bool), cube((0, 0, 0), 1, (10, 10, 10))
    scores = score_volume(*((nothing, something) if missed else (something, nothing)), MM)
    assert [scores[name] for name in ("dice", "iou", "precision", "recall")] == [0, 0, 0, 0]
    assert scores["surface_dice_2mm"] == 0
    assert scores["assd_mm"] == scores["hd95_mm"] == np.inf
    assert scores["pixel_accuracy"] == 0.999
    assert scores["rvd"] == (-1 if missed else np.inf)


@pytest.mark.parametrize("empty", [True, False])
def test_unknown_spacing_has_no_millimetres(empty):
    mask = np.zeros((8, 8), bool) if empty else cube((2, 2), 3, (8, 8))
    scores = score_volume(mask, mask, None)
    assert scores["dice"] == 1
    assert np.isnan([scores[name] for name in ("assd_mm", "hd95_mm", "surface_dice_2mm")]).all()


# Bad input


@pytest.mark.parametrize(
    ("predicted", "true", "spacing", "fault"),
    [
        (np.zeros((4, 8, 8), bool), np.zeros((4, 1, 8, 8), bool), MM, "wrong_shape"),
        (np.zeros((1, 8, 8), bool), np.zeros((4, 8, 8), bool), MM, "wrong_shape"),
        (np.zeros((0, 8, 8), bool), np.zeros((0, 8, 8), bool), MM, "wrong_shape"),
        (np.full((4, 4, 4), 2, np.uint8), np.ones((4, 4, 4), np.uint8), MM, "unknown_labels"),
        (np.full((4, 4, 4), 0.4), np.ones((4, 4, 4), np.uint8), MM, "unknown_labels"),
        (np.ones((4, 4, 4), bool), np.ones((4, 4, 4), bool), (1.0, 1.0), "wrong_spacing"),
        (np.ones((4, 4, 4), bool), np.ones((4, 4, 4), bool), (1.0, 1.0, 0.0), "wrong_spacing"),
    ],
)
def test_masks_that_cannot_be_scored(predicted, true, spacing, fault):
    with pytest.raises(BadInput) as error:
        score_volume(predicted, true, spacing)
    assert error.value.fault == fault


# Other packages


def blobs(seed, shape=(40, 36, 30)):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    true = smooth > np.quantile(smooth, 0.7)
    moved = ndimage.gaussian_filter(smooth + 0.02 * rng.normal(size=shape), 1)
    return np.roll(moved > np.quantile(moved, 0.65), 1, 0), true


@pytest.mark.parametrize("shape", [(40, 36, 30), (60, 50)])
def test_agrees_with_monai(shape):
    # Away from the edge, which for MONAI is surface.
    predicted, true = (np.pad(mask, 1) for mask in blobs(0, shape))
    spacing = (0.8, 0.7, 2.5)[: len(shape)]
    scores = score_volume(predicted, true, spacing)
    batch = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, true)]
    surfaces = {"include_background": True, "spacing": spacing}
    assert scores["dice"] == pytest.approx(compute_dice(*batch).item(), abs=1e-6)
    assert scores["iou"] == pytest.approx(compute_iou(*batch).item(), abs=1e-6)
    assert scores["assd_mm"] == pytest.approx(
        compute_average_surface_distance(*batch, symmetric=True, **surfaces).item(), abs=1e-5
    )
    assert scores["hd95_mm"] == pytest.approx(
        compute_hausdorff_distance(*batch, percentile=95, **surfaces).item(), abs=1e-5
    )
    assert scores["surface_dice_2mm"] == pytest.approx(
        compute_surface_dice(*batch, [2.0], use_subvoxels=True, **surfaces).item(), abs=1e-5
    )


def check_against_other_packages(predicted, true, spacing):
    scores = score_volume(predicted, true, spacing)
    check_against_surface_distance(scores, predicted, true, spacing)
    check_overlap_against_simpleitk(scores, predicted, true)
    check_surfaces_against_simpleitk(scores, predicted, true, spacing)


def check_against_surface_distance(scores, predicted, true, spacing):
    surface_distance = pytest.importorskip("surface_distance")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package's own, of SciPy's names
        distances = surface_distance.compute_surface_distances(true, predicted, spacing)
    assert scores["surface_dice_2mm"] == pytest.approx(
        surface_distance.compute_surface_dice_at_tolerance(distances, 2), abs=1e-6
    )
    assert scores["dice"] == pytest.approx(
        surface_distance.compute_dice_coefficient(true, predicted), abs=1e-6
    )
    # Its other distances run between other points (corners, weighted by area), so they come close
    # without being equal; SimpleITK checks ours exactly.
    diagonal = np.linalg.norm(spacing)
    assert scores["assd_mm"] == pytest.approx(
        np.mean(surface_distance.compute_average_surface_distance(distances)), abs=diagonal
    )
    assert scores["hd95_mm"] == pytest.approx(
        surface_distance.compute_robust_hausdorff(distances, 95), abs=diagonal
    )


def check_overlap_against_simpleitk(scores, predicted, true):
    sitk = pytest.importorskip("SimpleITK")
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (predicted, true)))
    assert scores["dice"] == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-6)
    assert scores["iou"] == pytest.approx(overlap.GetJaccardCoefficient(), abs=1e-6)
    assert scores["precision"] == pytest.approx(1 - overlap.GetFalseDiscoveryRate(), abs=1e-6)
    assert scores["recall"] == pytest.approx(1 - overlap.GetFalseNegativeError(), abs=1e-6)


def check_surfaces_against_simpleitk(scores, predicted, true, spacing):
    sitk = pytest.importorskip("SimpleITK")
    surfaces = []
    for mask in (predicted, true):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        surfaces.append(image - sitk.BinaryErode(image, [1] * 3, sitk.sitkCross, 0.0, 1.0, True))
    on_surface = [sitk.GetArrayFromImage(surface) > 0 for surface in surfaces]
    distance_to = [
        np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(surface, False, False, True)))
        for surface in surfaces
    ]
    distances = [distance_to[1][on_surface[0]], distance_to[0][on_surface[1]]]
    mean, hd95 = np.concatenate(distances).mean(), max(np.percentile(d, 95) for d in distances)
    assert scores["assd_mm"] == pytest.approx(mean, rel=1e-5)
    assert scores["hd95_mm"] == pytest.approx(hd95, rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_agrees_with_surface_distance_and_simpleitk(seed):
    check_against_other_packages(*blobs(seed), (0.8, 0.7, 2.5))


@pytest.fixture(scope="module")
def real_case(real_data):
    folder = real_data / "3Dircadb1.17"
    if not folder.exists():
        pytest.skip("3Dircadb1.17 is not among the real data")
    return find_cases("ircadb", folder)[0].load()


@pytest.mark.parametrize("label", [LIVER, TUMOR])
def test_agrees_with_other_packages_on_real_masks(real_case, label):
    true, spacing = real_case.mask >= label, real_case.spacing
    predicted = np.roll(ndimage.binary_dilation(true), (2, -1, 1), (0, 1, 2))
    check_against_other_packages(predicted, true, spacing)


# Patients


def labels(liver, tumor):
    return liver.astype(np.uint8) + tumor


def test_tumour_counts_as_liver():
    liver, tumor = cube((4, 4, 4), 10), cube((6, 6, 6), 2)
    row = score_patient(labels(liver, np.zeros_like(liver)), labels(liver, tumor), (1.0, 1.0, 5.0))
    assert row["liver_dice"] == 1
    assert row["tumor_dice"] == 0
    assert row["tumor_assd_mm"] == np.inf
    assert (row["liver_empty"], row["tumor_empty"]) == ("neither", "one")
    assert (row["liver_true_voxels"], row["liver_true_ml"]) == (1000, pytest.approx(5))
    assert (row["tumor_true_ml"], row["tumor_predicted_ml"]) == (pytest.approx(0.04), 0)


def test_a_patient_without_tumour_is_counted_apart():
    liver = cube((4, 4, 4), 10)
    row = score_patient(labels(liver, False), labels(liver, False), None)
    assert (row["tumor_dice"], row["tumor_empty"]) == (1, "both")
    assert np.isnan(row["liver_true_ml"])


def test_labels_above_two_are_refused():
    with pytest.raises(BadInput, match="0 background, 1 liver, 2 tumour"):
        score_patient(np.full((3, 3, 3), 3), np.zeros((3, 3, 3), np.uint8), MM)


def patients_table():
    liver, tumor, nothing = cube((4, 4, 4), 10), cube((6, 6, 6), 2), np.zeros((20, 20, 20), bool)
    rows = [
        score_patient(labels(liver, tumor), labels(liver, tumor), MM),
        score_patient(labels(liver, nothing), labels(liver, nothing), MM),
        score_patient(labels(liver, nothing), labels(liver, tumor), MM),
        score_patient(labels(liver, tumor), labels(liver, cube((6, 6, 6), 1)), MM),
    ]
    return pd.DataFrame(rows)


def test_summary_counts_what_the_rule_decided():
    table = summarise(patients_table()).set_index(["structure", "score"])
    dice = table.loc[("tumor", "dice")]
    assert dice["mean"] == pytest.approx((1 + 1 + 0 + 2 / 9) / 4)
    assert dice["low"] < dice["mean"] < dice["high"]
    assert (dice["patients"], dice["both_empty"], dice["one_empty"]) == (4, 1, 1)
    distance = table.loc[("tumor", "assd_mm")]
    assert distance["infinite"] == 1
    assert np.isfinite(distance["mean"])
    # All voxels as one volume: 8 + 1 hits, 16 + 8 + 9 voxels.
    assert table.loc[("tumor", "pooled_dice"), "mean"] == pytest.approx(2 * 9 / (16 + 8 + 9))
    assert table.loc[("liver", "pooled_dice"), "mean"] == 1


def test_summary_survives_a_round_through_csv(tmp_path):
    patients_table().to_csv(tmp_path / "patients.csv", index=False)
    read = summarise(pd.read_csv(tmp_path / "patients.csv"))
    pd.testing.assert_frame_equal(read, summarise(patients_table()))


def test_a_table_without_scores_is_refused():
    with pytest.raises(BadInput, match="Nothing to summarise"):
        summarise(pd.DataFrame({"patient": ["a"]}))


# Intervals


def test_the_interval_is_that_of_the_normal_distribution_for_many_patients():
    values = np.random.default_rng(1).normal(0.6, 0.1, 400)
    half = 1.96 * values.std() / np.sqrt(400)
    for scale in ("share", "length", "difference"):
        mean, low, high = mean_interval(values, scale=scale)
        assert mean == pytest.approx(values.mean())
        assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02 * half)


def test_the_interval_of_a_difference_is_students():
    # By hand: mean 0.04, standard deviation 0.0361, t of two degrees of freedom 4.303.
    mean, low, high = mean_interval([0.01, 0.03, 0.08], scale="difference")
    assert (mean, low, high) == pytest.approx((0.04, 0.04 - 0.0896, 0.04 + 0.0896), abs=1e-4)


def test_the_interval_of_a_share_is_students_on_the_logit():
    # Mean 0.5, standard error 0.3 / sqrt(3): on the logit 4 times that, for 1 / (0.5 × 0.5) = 4.
    mean, low, high = mean_interval([0.2, 0.5, 0.8])
    half = 4.3027 * 4 * 0.3 / np.sqrt(3)
    assert (mean, low, high) == pytest.approx(
        (0.5, 1 / (1 + np.exp(half)), 1 / (1 + np.exp(-half))), rel=1e-4
    )


def test_the_interval_of_a_length_is_students_on_the_logarithm():
    mean, low, high = mean_interval([2.0, 4.0, 6.0], scale="length")
    factor = np.exp(4.3027 * 2 / np.sqrt(3) / 4)
    assert (mean, low, high) == pytest.approx((4, 4 / factor, 4 * factor), rel=1e-4)


def test_a_share_never_leaves_its_bounds():
    for values in ([0, 1], [1, 1, 1, 0], [0.99, 1.0, 1.0, 1.0]):
        mean, low, high = mean_interval(values)
        assert 0 <= low < mean < high <= 1


def test_weights_are_slices_of_a_patient():
    interval = mean_interval([1.0, 0.0, np.nan], weights=[3, 1, 0])
    assert interval.mean == 0.75
    assert (interval.low, interval.high) == pytest.approx((0, 1), abs=0.001)


def test_patients_count_with_their_weights():
    interval = mean_interval([1.0] * 50 + [0.0] * 50, weights=[9] * 50 + [1] * 50)
    # The standard error of a ratio: the root of the sum of (weight × residual)² over the weights'.
    half = 1.96 * np.sqrt(100 * 0.9**2) / 500
    assert interval == pytest.approx((0.9, 0.9 - half, 0.9 + half), abs=0.3 * half)


def test_a_patient_who_outweighs_all_others_leaves_the_mean_open():
    values = np.linspace(0.1, 0.9, 20)
    equal, heavy = mean_interval(values), mean_interval(values, [1000] + [1] * 19)
    assert heavy.high - heavy.low > 0.9 > 3 * (equal.high - equal.low)


def test_patients_who_all_score_the_same_have_that_interval():
    for value in (0.0, 0.3, 1.0):
        assert mean_interval([value] * 5, [1, 2, 3, 4, 5]) == (value, value, value)


def test_one_patient_has_no_interval():
    interval = mean_interval([0.5])
    assert interval.mean == 0.5
    assert np.isnan([interval.low, interval.high]).all()


@pytest.mark.parametrize("values", [[], [1.0, np.inf], [1.0, np.nan]])
def test_an_interval_never_drops_a_value(values):
    with pytest.raises(BadInput) as error:
        mean_interval(values)
    assert error.value.fault == "not_finite"


@pytest.mark.parametrize(
    ("values", "scale"), [([0.2, -0.1], "share"), ([0.5, 1.1], "share"), ([3, -1], "length")]
)
def test_values_off_the_scale_are_refused(values, scale):
    with pytest.raises(BadInput, match="name their scale") as error:
        mean_interval(values, scale=scale)
    assert error.value.fault == "wrong_scale"


def test_an_unknown_scale_is_refused():
    with pytest.raises(BadInput, match="'dice': it must be one of share, length, difference"):
        mean_interval([0.5, 0.6], scale="dice")


# The seed is the benchmark's, `interval_coverage.SEED`, which holds each to 0.92 in 4000 tests; of
# 500 tests the share has a standard deviation of 0.01. The bootstrap of few patients does not pass.
@pytest.mark.parametrize("patients", interval_coverage.PATIENTS)
@pytest.mark.parametrize("score", interval_coverage.SCORES)
def test_95_of_100_intervals_hold_the_truth(score, patients):
    found = interval_coverage.coverage(score, patients, tests=500)
    assert 0.9 <= found["covered"] <= 0.99


def test_area_alone_has_the_interval_of_the_curve():
    rng = np.random.default_rng(3)
    positive, patients = rng.random(200) < 0.4, rng.integers(0, 12, 200)
    score = np.round(rng.random(200) + 0.5 * positive, 1)  # with ties
    roc = bootstrap_roc(positive, score, patients, n=100)
    assert bootstrap_auc(positive, score, patients, n=100) == pytest.approx(roc.auc)


def test_the_simulation_finds_out_who_promises_too_much():
    bootstrap = interval_coverage.percentile
    found = interval_coverage.coverage("liver Dice", 6, bootstrap, tests=200)
    assert found["covered"] < 0.9


# Lesions


def test_lesions_are_found_missed_and_invented():
    true = cube((2, 2, 2), 4) | cube((12, 12, 12), 2)
    predicted = cube((2, 2, 3), 4) | cube((2, 15, 2), 1)
    lesions = score_lesions(predicted, true, (1.0, 1.0, 2.0))
    assert lesions["false_positive"].tolist() == [False, False, True]
    assert lesions["found"].tolist() == [True, False, False]
    assert lesions["dice"].tolist() == [pytest.approx(48 / 64), 0, 0]
    assert lesions["volume_mm3"].tolist() == [128, 16, 2]
    assert lesions["diameter_mm"][0] == pytest.approx(2 * (128 * 3 / (4 * np.pi)) ** (1 / 3))
    numbered, n = label_lesions(predicted)
    assert n == 2
    assert (numbered == lesions["lesion"][2]).sum() == 1


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    true = cube((2, 2, 2), 2) | cube((4, 4, 4), 2)
    assert len(score_lesions(true, true, MM)) == 1


def test_one_blob_over_everything_finds_nothing():
    true = cube((2, 2, 2), 3) | cube((12, 12, 12), 3)
    lesions = score_lesions(np.ones_like(true), true, MM)
    assert not lesions["found"].any()
    assert lesions["false_positive"].sum() == 1


def test_pieces_of_a_lesion_count_together():
    true = cube((2, 2, 2), 6)
    pieces = true.copy()
    pieces[4] = False
    lesions = score_lesions(pieces, true, MM)
    assert lesions["found"].tolist() == [True]
    assert lesions["dice"].tolist() == [pytest.approx(2 * 180 / (216 + 180))]


def test_a_looser_rule_for_finding():
    true, predicted = cube((2, 2, 2), 4), cube((5, 2, 2), 4)
    assert not score_lesions(predicted, true, MM)["found"].any()
    assert score_lesions(predicted, true, MM, min_iou=0)["found"].tolist() == [True]


def test_lesions_by_size():
    true = cube((0, 0, 0), 4) | cube((6, 6, 6), 11)
    predicted = cube((6, 6, 6), 11) | cube((18, 0, 18), 2)
    table = lesion_summary(score_lesions(predicted, true, MM))
    assert table.index.tolist() == ["<10 mm", "10-20 mm", ">=20 mm", "all"]
    assert table["lesions"].tolist() == [1, 1, 0, 2]
    assert table["found"].tolist() == [0, 1, 0, 1]
    assert table["false_positives"].tolist() == [1, 0, 0, 1]
    assert table.loc["all", ["recall", "precision", "f1"]].tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(table.loc[">=20 mm", "recall"])


def test_no_lesions_at_all():
    nothing = np.zeros((5, 5, 5), bool)
    lesions = score_lesions(nothing, nothing, MM)
    assert len(lesions) == 0
    assert lesion_summary(lesions).loc["all", "lesions"] == 0


def test_lesions_have_their_centres_in_voxels_of_the_scan():
    true, predicted = cube((2, 4, 6), 3), cube((12, 10, 8), 1)
    lesions = score_lesions(predicted, true, MM)
    assert lesions[["x_voxel", "y_voxel", "z_voxel"]].to_numpy().tolist() == [
        [3, 5, 7],
        [12, 10, 8],
    ]


def look_alikes(*rows):
    names = ["kind", "diameter_mm", "x_voxel", "y_voxel", "z_voxel"]
    return pd.DataFrame(rows, columns=names)


def test_invented_lesions_are_named_after_the_look_alike_they_lie_on():
    invented = cube((2, 2, 2), 3) | cube((13, 13, 10), 3) | cube((17, 3, 17), 1)
    lesions = score_lesions(invented, np.zeros_like(invented), (1, 1, 2))
    # The first lies 1.9 mm below the cyst's surface, and in the middle of the fat.
    there = look_alikes(
        ("cyst", 20.2, 3, 3, 9), ("focal fat", 8, 4, 3, 3), ("vein", 4, 14, 14, 13.4)
    )
    assert nearest_look_alike(lesions, there, (1, 1, 2)).tolist() == ["focal fat", "vein", ""]
    assert nearest_look_alike(lesions, there[:1], (1, 1, 2)).tolist() == ["cyst", "", ""]
    assert nearest_look_alike(lesions, there[2:], (1, 1, 2.3)).tolist() == ["", "", ""]


def test_nothing_invented_or_nothing_to_confuse():
    nothing = np.zeros((5, 5, 5), bool)
    assert nearest_look_alike(score_lesions(nothing, nothing, MM), look_alikes(), MM).tolist() == []
    one = score_lesions(~nothing, nothing, MM)
    assert nearest_look_alike(one, look_alikes(), MM).tolist() == [""]


def test_lesions_of_a_single_picture_are_refused():
    with pytest.raises(BadInput, match="counted in 3D"):
        score_lesions(np.ones((5, 5), bool), np.ones((5, 5), bool), (1.0, 1.0))


# Counts during training


def slices(seed=0, shape=(12, 16, 16)):
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, 3, shape)
    return predicted, rng.integers(0, 3, shape).astype(np.uint8), rng.integers(0, 3, shape[0])


def counted(predicted, true, patient, **options):
    counts = PatientCounts(patient.max() + 1, **options)
    for batch in np.array_split(np.arange(len(patient)), 5):
        counts.add(*(torch.from_numpy(array[batch]) for array in (predicted, true, patient)))
    return counts


def test_counts_give_the_scores_of_whole_patients():
    predicted, true, patient = slices()
    scores = counted(predicted, true, patient).scores()
    rows = [
        score_patient(predicted[patient == p], true[patient == p], None) for p in np.unique(patient)
    ]
    for label, structure in ((1, "liver"), (2, "tumor")):
        for name in ("dice", "iou", "precision", "recall"):
            mean = np.mean([row[f"{structure}_{name}"] for row in rows])
            assert scores[f"{name}_avg_class_{label}"] == pytest.approx(mean)
    background = [
        score_volume(predicted[patient == p] == 0, true[patient == p] == 0, None)
        for p in np.unique(patient)
    ]
    for name in ("dice", "precision", "recall"):
        mean = np.mean([row[name] for row in background])
        assert scores[f"{name}_avg_class_0"] == pytest.approx(mean)
    right = [(predicted == true)[patient == p].mean() for p in np.unique(patient)]
    assert scores["pixel_accuracy"] == pytest.approx(np.mean(right))
    assert len(scores) == 13


def test_the_order_of_slices_does_not_matter():
    predicted, true, patient = slices()
    order = np.random.default_rng(1).permutation(len(patient))
    shuffled = counted(predicted[order], true[order], patient[order])
    assert shuffled.scores() == counted(predicted, true, patient).scores()


def test_patients_never_seen_do_not_count():
    predicted, true, patient = slices()
    assert (
        counted(predicted, true, patient * 5).scores() == counted(predicted, true, patient).scores()
    )


def test_a_patient_without_tumour_scores_one_or_nothing():
    nothing = np.zeros((2, 8, 8), np.uint8)
    liver = np.ones((2, 8, 8), np.uint8)
    tumor = np.full((2, 8, 8), 2, np.uint8)
    patient = np.array([0, 0])
    scores = counted(liver.astype(int), liver, patient).scores()
    assert scores["dice_avg_class_2"] == scores["dice_avg_class_0"] == 1
    scores = counted(tumor.astype(int), liver, patient).scores()
    assert scores["dice_avg_class_1"] == 1
    assert [scores[f"{name}_avg_class_2"] for name in ("dice", "precision", "recall")] == [0, 0, 0]
    scores = counted(nothing.astype(int), liver, patient).scores()
    assert scores["recall_avg_class_1"] == scores["precision_avg_class_1"] == 0


def test_the_iou_never_exceeds_dice_or_the_accuracy_of_its_class():
    for seed in range(20):
        predicted, true, _ = slices(seed)
        scores = score_volume(predicted > 0, true > 0, None)
        assert scores["iou"] <= min(scores["dice"], scores["pixel_accuracy"])


def test_a_channel_axis_is_not_broadcast():
    predicted, true, patient = (torch.from_numpy(array) for array in slices())
    with pytest.raises(BadInput, match="merely broadcast"):
        PatientCounts(3).add(predicted, true[:, None], patient)
    with pytest.raises(BadInput, match="merely broadcast"):
        PatientCounts(3).add(predicted, true, patient[:1])


def test_logits_are_not_labels():
    predicted, true, patient = (torch.from_numpy(array) for array in slices())
    with pytest.raises(BadInput, match="argmax"):
        PatientCounts(3).add(predicted.float(), true, patient)


def test_scores_of_nothing_are_refused():
    with pytest.raises(BadInput, match="No slice was scored"):
        PatientCounts(3).scores()


def test_liver_only_has_two_classes():
    predicted, true, patient = slices()
    scores = counted(predicted.clip(max=1), true.clip(max=1), patient, classes=2).scores()
    assert set(scores) == {
        *(f"{n}_avg_class_{c}" for n in ("dice", "iou", "precision", "recall") for c in (0, 1)),
        "pixel_accuracy",
    }


# Classification

CLASSES = np.array([0, 0, 1, 1, 2, 2])
PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.1, 0.7, 0.2],
        [0.2, 0.3, 0.5],
        [0.0, 0.4, 0.6],
        [0.1, 0.6, 0.3],
    ]
)


def test_classes_by_hand():
    scores = score_classes(CLASSES, PROBABILITIES)
    assert scores["accuracy"] == 4 / 6
    assert scores["per_class_accuracy"].tolist() == [1, 0.5, 0.5]
    assert scores["confusion"].tolist() == [[2, 0, 0], [0, 1, 1], [0, 1, 1]]


def test_auc_by_hand():
    scores = score_auc(CLASSES, PROBABILITIES)
    # Lesion 0.6 and 0.3 against 0.1, 0.1, 0.2, 0.5: seven of eight pairs in order.
    assert scores["auc"][2] == 7 / 8
    # Share of lesion in liver: 0.6 and 1/3 against 2/9 and 5/8.
    assert scores["auc_lesion_in_liver"] == 2 / 4
    assert scores["auc_mean"] == pytest.approx(scores["auc"].mean())


def test_one_class_only_has_no_curve_but_a_sentence():
    with pytest.raises(BadInput, match="all 6 slices are of class 'liver'"):
        score_auc(np.ones(6, int), PROBABILITIES)


def test_a_missing_class_is_undefined_not_zero():
    scores = score_auc(CLASSES[:4], PROBABILITIES[:4])
    assert np.isnan(scores["auc"][2])
    assert scores["auc_mean"] == pytest.approx(np.mean(scores["auc"][:2]))
    assert np.isnan(score_classes(CLASSES[:4], PROBABILITIES[:4])["per_class_accuracy"][2])


def test_calibration_by_hand():
    sure_and_wrong = np.array([[1.0, 0, 0]] * 4)
    assert expected_calibration_error(np.array([0, 0, 0, 1]), sure_and_wrong) == 0.25
    # Two bins, both off: 0.9 where all are right, 0.6 where none is.
    two = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0]])
    assert expected_calibration_error(np.array([0, 1]), two) == pytest.approx((0.1 + 0.6) / 2)


@pytest.mark.parametrize(
    ("true", "probabilities", "fault"),
    [
        (CLASSES[:3], PROBABILITIES, "wrong_shape"),
        (CLASSES + 1, PROBABILITIES, "unknown_labels"),
        (CLASSES, PROBABILITIES * 4, "not_probabilities"),
    ],
)
def test_classes_that_cannot_be_scored(true, probabilities, fault):
    with pytest.raises(BadInput) as error:
        score_classes(true, probabilities)
    assert error.value.fault == fault


def test_scoring_does_not_need_fastai(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastai", None)
    for name in [name for name in sys.modules if name.startswith("liverutils.scoring")]:
        monkeypatch.delitem(sys.modules, name)
    for module in ("classes", "counts", "folders", "lesions", "summary", "surfaces", "volumes"):
        importlib.import_module(f"liverutils.scoring.{module}")


@pytest.fixture
def scored_slices():
    """Twelve patients of ten slices, of which a third is positive and scores higher."""
    rng = np.random.default_rng(0)
    positive = rng.random(120) < 1 / 3
    return positive, rng.normal(size=120) + positive, np.repeat(np.arange(12), 10)


def test_roc_is_that_of_all_slices(scored_slices):
    positive, score, patients = scored_slices
    roc = bootstrap_roc(positive, score, patients, n=200)
    probabilities = np.stack([1 - positive, 0 * score, positive], 1).astype(float)
    probabilities[:, 2] = 1 / (1 + np.exp(-score))
    probabilities[:, 0] = 1 - probabilities[:, 2]
    assert roc.auc.mean == pytest.approx(score_auc(2 * positive, probabilities)["auc"][2])
    assert roc.auc.low < roc.auc.mean < roc.auc.high
    assert (np.diff(roc.sensitivity) >= 0).all() and roc.sensitivity[-1] == 1
    assert (roc.low <= roc.high).all()


def test_repeating_each_slice_of_a_patient_adds_no_certainty(scored_slices):
    positive, score, patients = scored_slices
    five_times = [np.repeat(values, 5) for values in scored_slices]
    once, repeated = bootstrap_roc(*scored_slices, n=300), bootstrap_roc(*five_times, n=300)
    assert repeated.auc == pytest.approx(once.auc)
    slices_drawn = bootstrap_roc(*five_times[:2], np.arange(600), n=300)
    assert slices_drawn.auc.high - slices_drawn.auc.low < 0.7 * (once.auc.high - once.auc.low)


def test_roc_of_one_patient_has_no_interval_and_of_one_class_no_curve(scored_slices):
    positive, score, patients = scored_slices
    roc = bootstrap_roc(positive, score, np.zeros(120), n=20)
    assert np.isfinite(roc.auc.mean) and np.isnan(roc.auc.low) and np.isnan(roc.high).all()
    with pytest.raises(BadInput, match="0 of 120 slices are positive"):
        bootstrap_roc(np.zeros(120, bool), score, patients)


def test_calibration_bins_by_hand():
    true = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.81, 0.19], [0.4, 0.6]])
    table = calibration_bins(true, probabilities, bins=5)
    assert table.slices.tolist() == [1, 3]
    assert table.accuracy.tolist() == pytest.approx([1, 2 / 3])
    assert table.confidence.tolist() == pytest.approx([0.6, (0.9 + 0.8 + 0.81) / 3])
