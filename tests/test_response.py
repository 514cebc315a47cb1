"""Diameters with an answer by hand, RECIST's categories, lesions followed, and `measure`."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from liverutils import figures
from liverutils.cli import main
from liverutils.errors import BadInput
from liverutils.phantom import CHANGES, COHORTS, make_follow_up, make_patient
from liverutils.scans import (
    TUMOR,
    read_dicom_seg_alone,
    take_plane,
    write_dicom_seg,
    write_dicom_series,
    write_nifti,
)
from liverutils.scoring import (
    assess_response,
    choose_targets,
    follow_lesions,
    measure_labels,
    measure_lesions,
    measure_mask,
    outline_points,
    response_category,
)

SMOKE = COHORTS["phantom-smoke"]
UNIT = np.eye(4)


def ellipsoid(shape, centre, radii, spacing=(1, 1, 1)):
    grid = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    scaled = grid * np.reshape(spacing, (3, 1, 1, 1)) / np.reshape(radii, (3, 1, 1, 1))
    return (scaled**2).sum(0) <= 1


# --- Diameters --------------------------------------------------------------------------------


def test_a_row_of_pixels_is_as_long_as_its_pixels():
    mask = np.zeros((9, 9, 3), bool)
    mask[2:6, 4, 1] = True
    row = measure_lesions(mask, np.diag([1.5, 1.0, 4.0, 1])).iloc[0]
    assert (row.long_mm, row.short_mm, row.slice) == (6, 1, 1)
    assert row.volume_ml == pytest.approx(4 * 1.5 * 4 / 1000)
    assert sorted(x for x, _ in row.long_ends) == [1.5, 5.5]
    assert sorted(y for _, y in row.short_ends) == [3.5, 4.5]


def test_an_ellipse_has_its_two_axes():
    mask = ellipsoid((80, 80, 5), (40, 40, 2), (30, 12, 2))
    row = measure_lesions(mask, UNIT).iloc[0]
    assert row.long_mm == pytest.approx(60, abs=1.1)
    assert row.short_mm == pytest.approx(24, abs=1.1)
    assert row[["x_mm", "y_mm", "z_mm"]].tolist() == pytest.approx([40, 40, 2])


def test_a_disc_is_less_than_a_pixel_too_long():
    long = [
        measure_lesions(ellipsoid((50, 50, 2), (24.5 + d, 24.1, 0), (r, r, 1)), UNIT).long_mm[0]
        - 2 * r
        for r in (6.3, 9.8, 14.1, 20.4)
        for d in (0, 0.3, 0.5)
    ]
    assert min(long) > 0.4 and max(long) < 1


def test_pixels_count_in_millimetres():
    mask = ellipsoid((60, 60, 3), (30, 30, 1), (10, 20, 2), (0.5, 2, 1))
    row = measure_lesions(mask, np.diag([0.5, 2.0, 1.0, 1])).iloc[0]
    assert row.long_mm == pytest.approx(40, abs=2) and row.short_mm == pytest.approx(20, abs=2)


def test_the_longest_slice_counts_and_growth_along_z_goes_unseen():
    flat = ellipsoid((40, 40, 40), (20, 20, 20), (8, 8, 8))
    tall = ellipsoid((40, 40, 40), (20, 20, 20), (8, 8, 16))
    one, two = (measure_lesions(mask, UNIT).iloc[0] for mask in (flat, tall))
    assert one.long_mm == two.long_mm and two.volume_ml > 1.9 * one.volume_ml
    assert one.slice == 20


def test_parts_of_a_lesion_in_one_slice_are_measured_apart():
    """A horseshoe standing on its feet: one lesion, two spots in the lower slices."""
    mask = np.zeros((30, 10, 6), bool)
    mask[2:6, 4:6, :5] = mask[24:28, 4:6, :5] = True
    assert measure_lesions(mask, UNIT).long_mm.tolist() == pytest.approx([4.12, 4.12], abs=0.3)
    mask[2:28, 4:6, 5] = True
    assert measure_lesions(mask, UNIT).long_mm.tolist() == pytest.approx([26], abs=0.5)


def test_a_lesion_at_the_edge_of_the_scan_is_measured_to_the_edge():
    mask = np.zeros((6, 6, 2), bool)
    mask[0:3, 0, 0] = True
    assert measure_lesions(mask, UNIT).long_mm[0] == 3
    assert len(outline_points(mask[..., 0])) == 8


def test_no_lesion_is_an_empty_table():
    table = measure_lesions(np.zeros((4, 4, 4), bool), UNIT)
    assert len(table) == 0 and "long_mm" in table


def test_the_diameter_is_drawn_on_the_lesion(tiny_case):
    lesion = measure_lesions(tiny_case.labels == TUMOR, tiny_case.affine).iloc[0]
    figure, (left, right) = plt.subplots(1, 2)
    figures.show_lesion(left, tiny_case, lesion)
    seen = take_plane(tiny_case.labels == TUMOR, "axial", lesion.slice)
    for line in left.lines:
        column, row = np.mean(line.get_xydata(), axis=0)
        assert seen[round(row), round(column)]
    place = lesion[["x_mm", "y_mm", "z_mm"]]
    for view in ("axial", "coronal", "sagittal"):
        figures.show_place(right, tiny_case, place, view=view, reach_mm=10)
        middle = np.mean(right.get_xlim()), np.mean(right.get_ylim())
        shown = right.get_images()[-2].get_array()  # the picture, below the labels
        assert 0 <= middle[1] < shown.shape[0] and 0 <= middle[0] < shown.shape[1]
        right.clear()
    plt.close(figure)


# --- Categories -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "now", "more", "category"),
    [
        (50, 0, {}, "CR"),
        (50, 35, {}, "PR"),
        (50, 35.1, {}, "SD"),
        (50, 60, {}, "PD"),
        (50, 59.9, {}, "SD"),
        (20, 24, {}, "SD"),  # 20 %, and only 4 mm
        (20, 25, {}, "PD"),
        (100, 48, {"nadir": 40}, "PD"),  # below the first sum by half, and growing again
        (100, 47, {"nadir": 40}, "PR"),
        (50, 0, {"new_lesion": True}, "PD"),
        (0, 0, {}, "CR"),
        (10, 17.27, {"power": 3}, "SD"),
        (10, 17.28, {"power": 3}, "PD"),
        (10, 3.43, {"power": 3}, "PR"),
    ],
)
def test_categories(baseline, now, more, category):
    assert response_category(baseline, now, **more) == category


def test_targets_are_two_and_long_enough_for_the_slices():
    lesions = pd.DataFrame({"long_mm": [31.0, 12.0, 11.0, 9.9]})
    assert choose_targets(lesions, 3).long_mm.tolist() == [31, 12]
    assert choose_targets(lesions, 8).long_mm.tolist() == [31]
    assert len(choose_targets(lesions.tail(1), 3)) == 0


# --- Follow-up --------------------------------------------------------------------------------


def lesions_at(*rows):
    names = ["x_mm", "y_mm", "z_mm", "long_mm", "volume_ml"]
    return pd.DataFrame(rows, columns=names).astype(float)


def test_lesions_are_followed_by_their_places():
    before = lesions_at((0, 0, 0, 20, 4), (50, 0, 0, 30, 14), (0, 80, 0, 12, 1))
    after = lesions_at((4, 0, 0, 26, 9), (48, 8, 0, 10, 1), (53, -8, 0, 9, 0.5), (90, 0, 0, 8, 0.3))
    table, new = follow_lesions(before, after)
    assert table.now_mm.tolist() == [26, 19, 0]  # grown, fallen in two, gone
    assert table.now_ml.tolist() == [9, 1.5, 0]
    assert new.x_mm.tolist() == [90]


def test_following_into_or_from_nothing():
    nothing, some = lesions_at(), lesions_at((0, 0, 0, 20, 4))
    table, new = follow_lesions(some, nothing)
    assert table.now_mm.tolist() == [0] and len(new) == 0
    table, new = follow_lesions(nothing, some)
    assert len(table) == 0 and len(new) == 1


def tumor_ml(case):
    return float((case.labels == TUMOR).sum() * np.prod(case.spacing) / 1000)


def ill(cohort):
    return next(n for n in range(9) if tumor_ml(make_patient(cohort, n)) > 5)


@pytest.fixture(scope="module")
def first():
    number = ill(SMOKE)
    return number, make_patient(SMOKE, number)


@pytest.fixture(scope="module")
def seconds(first):
    return {change: make_follow_up(SMOKE, first[0], change) for change in CHANGES}


def test_a_second_scan_is_the_same_patient_on_another_day(first, seconds):
    number, case = first
    same = seconds["none"]
    assert same.patient == case.patient and same.volume != case.volume
    assert not np.array_equal(same.image, case.image)
    assert tumor_ml(same) == pytest.approx(tumor_ml(case), rel=0.25)
    liver = [measure_labels(each.labels, each.affine).liver_ml for each in (case, same)]
    assert liver[1] == pytest.approx(liver[0], rel=0.05)
    again = make_follow_up(SMOKE, number, "none")
    assert np.array_equal(again.image, same.image)
    other = make_follow_up(SMOKE, number, "none", seed=1)
    assert not np.array_equal(other.image, same.image)


def test_changes_change_what_they_say(first, seconds):
    number, case = first
    ml = {change: tumor_ml(second) for change, second in seconds.items()}
    assert ml["growth"] > ml["none"] > ml["shrinkage"]
    assert ml["new lesion"] > 0.9 * ml["none"]
    assert ml["necrosis"] == pytest.approx(ml["none"], rel=0.3)

    def hu(second):
        return second.image[second.labels == TUMOR].mean()

    assert hu(seconds["necrosis"]) < hu(seconds["none"]) - 5
    assert tumor_ml(make_follow_up(SMOKE, number, "shrinkage", factor=0)) == 0
    assert seconds["growth"].provenance["change"] == "growth"


def test_a_second_scan_may_have_other_slices(first):
    other = make_follow_up(SMOKE, first[0], "none", slice_mm=6)
    assert other.spacing[2] == 6


def test_a_change_that_is_none_is_refused():
    for cohort, change in ((SMOKE, "healed"), (replace(SMOKE, randomised=True), "growth")):
        with pytest.raises(BadInput, match="No second scan") as caught:
            make_follow_up(cohort, 0, change)
        assert caught.value.fault == "unknown_change"


def test_a_response_is_assessed_by_diameter_and_by_volume(first, seconds):
    def assess(case):
        return assess_response(*(measure_labels(c.labels, c.affine) for c in (first[1], case)))

    gone = assess(make_follow_up(SMOKE, first[0], "shrinkage", factor=0))
    assert (gone["diameter"], gone["volume"], gone["now_mm"]) == ("CR", "CR", 0)
    small = assess(make_follow_up(SMOKE, first[0], "shrinkage", factor=0.5))
    assert small["diameter"] == small["volume"] == "PR"
    assert small["now_ml"] < 0.343 * small["sum_ml"]
    new = assess(seconds["new lesion"])
    assert new["new_lesions"] > 0 and new["diameter"] == new["volume"] == "PD"


# --- The command ------------------------------------------------------------------------------


def run(capsys, *arguments):
    status = main(["measure", *map(str, arguments)])
    return status, capsys.readouterr()


def test_measure_prints_a_table_or_json(tiny_case, tmp_path, capsys):
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, tiny_case.mask, tiny_case.affine)
    status, said = run(capsys, mask)
    assert status == 0 and "RECIST sum" in said.out
    status, said = run(capsys, mask, "--json")
    found = json.loads(said.out)
    assert status == 0 and found["liver_ml"] > found["tumor_ml"] > 0
    (lesion,) = found["lesions"]
    assert lesion["volume_ml"] == pytest.approx(found["tumor_ml"])
    assert found["recist_sum_mm"] == (lesion["long_mm"] if lesion["target"] else 0)
    assert isinstance(lesion["lesion"], int) and isinstance(lesion["target"], bool)


def test_a_liver_without_tumours_is_measured_too(tiny_case, tmp_path, capsys):
    write_nifti(tmp_path / "mask.nii", np.minimum(tiny_case.mask, 1), tiny_case.affine)
    status, said = run(capsys, tmp_path / "mask.nii", "--json")
    assert status == 0 and json.loads(said.out)["lesions"] == []
    status, said = run(capsys, tmp_path / "mask.nii")
    assert "RECIST sum 0.0 mm" in said.out


def test_a_dicom_seg_measures_as_the_mask_it_was_made_from(tiny_case, tmp_path):
    write_dicom_series(tmp_path / "series", tiny_case)
    write_dicom_seg(tmp_path / "seg.dcm", tiny_case.mask, tmp_path / "series", "test")
    labels, _ = read_dicom_seg_alone(tmp_path / "seg.dcm")
    assert (
        np.bincount(labels.ravel())[1:].tolist() == np.bincount(tiny_case.mask.ravel())[1:].tolist()
    )
    write_nifti(tmp_path / "mask.nii", tiny_case.mask, tiny_case.affine)
    seg, nifti = (measure_mask(tmp_path / name) for name in ("seg.dcm", "mask.nii"))
    assert seg.liver_ml == pytest.approx(nifti.liver_ml)
    columns = ["long_mm", "short_mm", "volume_ml", "x_mm", "y_mm", "z_mm"]
    assert np.allclose(seg.lesions[columns], nifti.lesions[columns], atol=0.01)


def test_measure_says_what_cannot_be_used(tiny_case, tmp_path, capsys):
    said = {
        "nowhere.nii": "exist",
        "text.dcm": "DICOM SEG",
        "empty.nii": "labels nothing",
        "many.nii": "unknown",
        "sizeless.nii": "voxel size",
    }
    (tmp_path / "text.dcm").write_text("no mask")
    write_nifti(tmp_path / "empty.nii", 0 * tiny_case.mask, tiny_case.affine)
    write_nifti(tmp_path / "many.nii", 3 * tiny_case.mask, tiny_case.affine)
    write_nifti(tmp_path / "sizeless.nii", tiny_case.mask, np.eye(4))
    said["many.nii"] = "labels of"
    for name, word in said.items():
        status, printed = run(capsys, tmp_path / name)
        assert status == 1 and word in printed.err and printed.out == "", name
        assert printed.err.count("\n") == 1
    with pytest.raises(SystemExit) as stop:
        main(["measure"])
    assert stop.value.code == 2
