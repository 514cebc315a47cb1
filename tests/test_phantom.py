import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from doubles import read_nifti
from scipy import ndimage

from liverutils.errors import BadInput
from liverutils.phantom import COHORTS, make_cohort, make_patient, write
from liverutils.phantom.lesion_table import lesion_rows
from liverutils.phantom.lesions import has_tumors, sample_diameters
from liverutils.phantom.patients import draw_patient
from liverutils.phantom.render import acquire
from liverutils.phantom.scanner import Scan, sample_scan
from liverutils.phantom.shapes import Grid, upsample
from liverutils.scans import LIVER, TUMOR, read_nifti_mask
from liverutils.sources import find_cases

SMOKE = COHORTS["phantom-smoke"]
# The default cohort on half the matrix: every shape is there, in a quarter of the time.
QUICK = replace(COHORTS["phantom"], matrix=128, slice_mm=(5.0,), subslice_mm=2.5)

# Mean over patients in HU, and how far the mean of a few patients may lie from it.
SPECIFIED_HU = {
    "liver": (105, 15),
    "spleen": (118, 15),
    "kidneys": (165, 25),
    "aorta": (145, 20),
    "psoas": (58, 8),
    "gallbladder": (10, 10),
}


def grid_of(case):
    axes = [
        case.affine[i, 3] + np.arange(n) * case.affine[i, i] for i, n in enumerate(case.image.shape)
    ]
    return Grid(axes[2], axes[0], axes[1])


def deep_inside(case, drawn, organ, depth=5.0):
    anatomy = drawn.anatomy
    grid = grid_of(case)
    if organ in anatomy.tubes:
        distance = anatomy.tubes[organ].distance(grid, 2.0)
    else:
        distance = upsample(anatomy.fields[organ], anatomy.grid, grid)
    return distance.transpose(1, 2, 0) < -depth


@pytest.fixture(scope="module")
def patients():
    return [(make_patient(QUICK, n), draw_patient(QUICK, n)) for n in range(3)]


def test_same_seed_same_bytes_for_any_number_of_workers(tmp_path):
    one = make_cohort("phantom-smoke", tmp_path / "one", workers=1, progress=False, patients=2)
    two = make_cohort("phantom-smoke", tmp_path / "two", workers=2, progress=False, patients=2)
    names = sorted(p.name for p in one.iterdir())
    assert len(names) == 2 * 2 + 2
    assert names == sorted(p.name for p in two.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_another_seed_makes_another_patient():
    other = make_patient(replace(SMOKE, seed=99), 0)
    assert not np.array_equal(other.mask, make_patient(SMOKE, 0).mask)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return make_cohort("phantom-smoke", tmp_path_factory.mktemp("smoke") / "cohort", progress=False)


def test_files_hold_the_case(smoke):
    table = pd.read_csv(smoke / "patients.csv", dtype={"volume": str})
    assert list(table.patient) == [f"phantom-smoke-{n:03d}" for n in range(SMOKE.patients)]
    case = make_patient(SMOKE, 1)
    image, affine = read_nifti(smoke / "volume-001.nii.gz")
    mask, mask_affine = read_nifti_mask(smoke / "segmentation-001.nii.gz")
    np.testing.assert_array_equal(image, case.image)
    np.testing.assert_array_equal(mask, case.mask)
    np.testing.assert_allclose(affine, case.affine, atol=1e-4)
    np.testing.assert_allclose(mask_affine, case.affine, atol=1e-4)
    row = table.iloc[1]
    assert row.liver_ml == pytest.approx((mask >= LIVER).sum() * np.prod(case.spacing) / 1000, 0.01)
    assert row.n_tumors == ndimage.label(mask == TUMOR)[1]


def test_smoke_cohort_is_small_and_mostly_has_tumours(smoke):
    table = pd.read_csv(smoke / "patients.csv")
    assert (table.n_tumors > 0).sum() >= 4
    assert table.slices.between(12, 20).all()


def test_second_call_does_nothing(tmp_path):
    folder = make_cohort("phantom-smoke", tmp_path / "cohort", progress=False, patients=1)
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    make_cohort("phantom-smoke", folder, progress=False, patients=1)
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_cohort_of_an_earlier_version_is_named_and_left_alone(tmp_path):
    folder = make_cohort("phantom-smoke", tmp_path / "raw", progress=False, patients=2)
    (folder / "lesions.csv").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for use in (make_cohort, find_cases):
        with pytest.raises(BadInput, match="2 of the 5 patients of phantom-smoke") as error:
            use("phantom-smoke", folder)
        assert error.value.fault == "earlier_cohort"
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_whole_cohort_of_an_earlier_version_is_used(tmp_path):
    folder = make_cohort("phantom-smoke", tmp_path / "raw", progress=False)
    (folder / "lesions.csv").unlink()
    assert make_cohort("phantom-smoke", folder, progress=False) == folder


# Of the first patients as they were when the cohort had 24.
FORMER = {"phantom": "4f9c28420aceb4c1", "phantom-shifted": "0d637f168b085958"}


@pytest.mark.parametrize("name", FORMER)
def test_more_patients_do_not_change_the_first_ones(name):
    case = make_patient(COHORTS[name], 3)
    assert (
        hashlib.sha256(case.image.tobytes() + case.mask.tobytes()).hexdigest()[:16] == FORMER[name]
    )


def test_lesions_are_listed_where_they_are(smoke):
    table = pd.read_csv(smoke / "lesions.csv")
    patients = pd.read_csv(smoke / "patients.csv", dtype={"volume": str}).set_index("patient")
    assert set(table.patient) <= set(patients.index)
    for patient, rows in table.groupby("patient"):
        assert rows.number.tolist() == list(range(1, len(rows) + 1))
        counts = rows.kind.value_counts()
        assert counts.get("cyst", 0) == patients.n_cysts[patient]
        assert counts.get("focal fat", 0) == patients.n_focal_fat[patient]
        mask, affine = read_nifti_mask(smoke / f"segmentation-{patients.volume[patient]}.nii.gz")
        for row in rows[rows.is_tumor & (rows.diameter_mm > 25)].itertuples():
            voxel = (row.x_voxel, row.y_voxel, row.z_voxel)
            np.testing.assert_allclose(
                affine @ [*voxel, 1], [row.x_mm, row.y_mm, row.z_mm, 1], atol=0.1
            )
            assert mask[tuple(np.round(voxel).astype(int))] == TUMOR
            assert row.volume_ml == pytest.approx(np.pi / 6 * row.diameter_mm**3 / 1000, rel=0.3)


def test_unenhanced_veins_are_listed_as_look_alikes(patients):
    found = [lesion_rows(drawn, case.patient, case.affine) for case, drawn in patients]
    veins = [pd.DataFrame(rows).query("kind == 'unenhanced vein'") for rows in found]
    dark = [drawn.scan.hu["hepatic"] < drawn.scan.hu["liver"] for _, drawn in patients]
    assert [len(rows) > 0 for rows in veins] == dark
    assert set(dark) == {True, False}
    for (case, drawn), rows in zip(patients, veins, strict=True):
        at = tuple(rows[["x_voxel", "y_voxel", "z_voxel"]].to_numpy().round().astype(int).T)
        assert (case.mask[at] >= LIVER).mean() > 0.9 if len(rows) else True
        assert not rows.is_tumor.any()
        thick = rows.diameter_mm > 8
        seen = case.image[tuple(axis[thick] for axis in at)]
        if len(seen):
            contrast = drawn.scan.hu["hepatic"] - drawn.scan.hu["liver"]
            assert rows.contrast_hu.iloc[0] == pytest.approx(contrast, abs=0.1)
            assert seen.mean() - drawn.scan.hu["liver"] == pytest.approx(contrast, abs=12)


def test_partial_cohort_is_taken_as_it_is_unless_asked_otherwise(tmp_path):
    folder = make_cohort("phantom-smoke", tmp_path / "cohort", progress=False, patients=1)
    assert make_cohort("phantom-smoke", folder, progress=False) == folder
    assert len(pd.read_csv(folder / "patients.csv")) == 1
    for name, count in [("phantom-smoke", 2), ("phantom", None)]:
        with pytest.raises(BadInput, match="something else") as error:
            make_cohort(name, folder, progress=False, patients=count)
        assert error.value.fault == "folder_in_use"


def test_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BadInput, match="something else"):
        make_cohort("phantom-smoke", tmp_path, progress=False)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def interrupt(layout, cohort, folder, number):
    (folder / "volume-000.nii.gz").write_bytes(b"half")
    raise KeyboardInterrupt


def test_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_write_patient", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_cohort("phantom-smoke", tmp_path / "cohort", workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_killed_build_leaves_no_cohort(tmp_path):
    code = (
        "from liverutils.phantom.write import make_cohort\n"
        f"make_cohort('phantom', {str(tmp_path / 'cohort')!r}, workers=1, progress=False)"
    )
    build = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while not list(tmp_path.glob(".cohort.*.partial")):
        time.sleep(0.05)
        assert build.poll() is None
    os.killpg(build.pid, 9)
    build.wait()
    assert not (tmp_path / "cohort").exists()
    make_cohort("phantom-smoke", tmp_path / "cohort", progress=False, patients=1)
    assert [p.name for p in tmp_path.iterdir()] == ["cohort"]


@pytest.mark.parametrize(
    ("name", "patients", "fault"),
    [("phantom-xxl", None, "unknown_cohort"), ("phantom-smoke", 0, "bad_count")],
)
def test_bad_request_is_refused(tmp_path, name, patients, fault):
    with pytest.raises(BadInput) as error:
        make_cohort(name, tmp_path / "cohort", patients=patients)
    assert error.value.fault == fault
    assert list(tmp_path.iterdir()) == []


def test_organs_have_the_specified_hu(patients):
    for organ, (mean, tolerance) in SPECIFIED_HU.items():
        found = [np.median(case.image[deep_inside(case, drawn, organ)]) for case, drawn in patients]
        assert abs(np.mean(found) - mean) < tolerance, (organ, found)


def test_hu_spread_between_patients():
    rng = np.random.default_rng(0)
    drawn = pd.DataFrame([sample_scan(rng, QUICK, 350).hu for _ in range(2000)])
    for organ, mean, sd in [
        ("liver", 105, 15),
        ("spleen", 118, 15),
        ("aorta", 145, 20),
        ("muscle", 58, 8),
        ("fat", -100, 12),
    ]:
        assert drawn[organ].mean() == pytest.approx(mean, abs=5), organ
        assert 0.6 * sd < drawn[organ].std() < 1.25 * sd, organ
    assert (drawn.portal - drawn.liver).between(30, 60).all()


def test_tumour_sizes():
    diameters = sample_diameters(np.random.default_rng(0), 5000)
    assert diameters.min() >= 4 and diameters.max() <= 80
    assert 10.5 < np.median(diameters) < 13.5
    assert 0.45 < np.log(diameters).std() < 0.75


@pytest.mark.parametrize("name", ["phantom", "phantom-gpu", "phantom-shifted", "phantom-clinics"])
def test_share_of_patients_without_tumour(name):
    cohort = COHORTS[name]
    free = sum(not has_tumors(cohort, n) for n in range(cohort.patients))
    assert 0.15 * cohort.patients - 1 < free < 0.20 * cohort.patients + 1


def test_labels_follow_the_lesions(patients):
    seen = set()
    for case, drawn in patients:
        is_tumor = [lesion.is_tumor for lesion in drawn.lesions]
        assert bool((case.mask == TUMOR).any()) == any(is_tumor)
        for lesion in drawn.lesions:
            seen.add(lesion.is_tumor)
            at = np.linalg.solve(case.affine, [*lesion.centre, 1])[:3].round().astype(int)
            if lesion.diameter > 10:
                assert case.mask[tuple(at)] == (TUMOR if lesion.is_tumor else LIVER)
    assert seen == {True, False}


def test_tumours_lie_in_the_liver(patients):
    for case, drawn in patients:
        outside = ~deep_inside(case, drawn, "liver", depth=-4)
        assert not (case.mask[outside] == TUMOR).any()


def test_liver_volume_and_orientation(patients):
    for case, drawn in patients:
        voxel_ml = np.prod(case.spacing) / 1000
        assert 900 < (case.mask >= LIVER).sum() * voxel_ml < 2300
        x, y, z = (axis.mean() for axis in np.nonzero(case.mask >= LIVER))
        bone_y = np.median(np.nonzero(case.image > 350)[1])
        air = (case.image < -700) & deep_inside(case, drawn, "body", depth=15)
        assert x > case.image.shape[0] / 2 + 5
        assert bone_y < y
        assert air[..., -2].sum() > 5 * air[..., 1].sum()


def test_noise_has_the_drawn_strength_and_colour(patients):
    for case, drawn in patients:
        deep = deep_inside(case, drawn, "spleen", depth=6)
        noise = case.image[deep].std()
        assert 0.6 < noise / case.provenance["noise_sd"] < 1.6


def test_noise_power_peaks_between_a_fifth_and_a_third_per_mm():
    rng = np.random.default_rng(0)
    for kernel in ("soft", "standard", "sharp"):
        scan = Scan("portal venous", kernel, 15.0, 3.0, 192.0, False, {})
        flat = np.full((24, 256, 256), 50, np.float32)
        noise = acquire(rng, flat, scan, 0, 0.75) - 50.0
        power = (np.abs(np.fft.rfft2(noise)) ** 2).mean(axis=0)
        radius = np.hypot(np.fft.fftfreq(256, 0.75)[:, None], np.fft.rfftfreq(256, 0.75))
        rings = (radius / 0.02).astype(int).ravel()
        profile = np.bincount(rings, power.ravel()) / np.bincount(rings)
        assert 0.17 <= (profile[:20].argmax() + 0.5) * 0.02 <= 0.33
        assert profile[1] < 0.5 * profile.max()
