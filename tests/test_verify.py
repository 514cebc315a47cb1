"""Every fault, planted one by one in a clean scan, is named; a clean scan has no finding."""

import gzip
import re
import shutil
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

import liverutils
from liverutils.phantom import COHORTS, make_patient
from liverutils.scans import (
    LIVER,
    TUMOR,
    case_from_dicom,
    case_from_nifti,
    list_files,
    verify_case,
    verify_cases,
    write_dicom_series,
    write_nifti,
)
from liverutils.scans.faults import FAULTS
from liverutils.sources import CaseFiles, find_cases


def nifti_files(image, mask, mask_fits=False) -> CaseFiles:
    def read(files):
        return case_from_nifti(
            files.image, files.mask, patient="a", volume="scan-1", mask_fits=mask_fits
        )

    return CaseFiles("folder", "a", "scan-1", Path(image), Path(mask), read)


def dicom_files(place, mask) -> CaseFiles:
    def read(files):
        case = case_from_dicom(files.image, patient="a", volume="scan-1")
        return replace(case, mask=mask)

    return CaseFiles("folder", "a", "scan-1", place, None, read)


def with_image(change):
    """Plant a fault in the voxels."""

    def plant(case, folder):
        image, mask = case.image.astype(np.float32), case.mask.copy()
        image = change(image, mask)
        return replace(case, image=np.rint(image).clip(-32768, 32767).astype(np.int16), mask=mask)

    return plant


def stored(change):
    """Plant a fault in the NIfTI files of a case."""

    def plant(case, folder, **kwargs):
        image, mask = folder / "volume-0.nii.gz", folder / "segmentation-0.nii.gz"
        write_nifti(image, case.image, case.affine)
        write_nifti(mask, case.mask, case.affine)
        change(image, mask, case)
        return nifti_files(image, mask, **kwargs)

    return plant


def in_dicom(change):
    """Plant a fault in the DICOM series of a case."""

    def plant(case, folder):
        write_dicom_series(folder / "series", case)
        change(folder / "series", case)
        return dicom_files(folder / "series", case.mask)

    return plant


def edit(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def edit_all(folder, change):
    for path in list_files(folder):
        edit(path, change)


def cut(image, mask, case):
    image.write_bytes(image.read_bytes()[:-200])


def break_checksum(image, mask, case):
    content = bytearray(image.read_bytes())
    content[-7] ^= 1
    image.write_bytes(content)


def not_compressed(image, mask, case):
    image.write_bytes(gzip.decompress(image.read_bytes()))


def put_nan(image, mask, case):
    voxels = case.image.astype(np.float32)
    voxels[5, 5, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, case.affine), image)


def identity(image, mask, case):
    write_nifti(image, case.image, np.eye(4))
    write_nifti(mask, case.mask, np.eye(4))


def two_geometries(image, mask, case):
    nifti = nib.Nifti1Image(case.image, case.affine)
    nifti.set_qform(case.affine @ np.diag([-1, 1, 1, 1]), code=1)
    nifti.set_sform(case.affine, code=1)
    nib.save(nifti, image)


def store_turned(image, mask, case):
    turned = nib.Nifti1Image(case.mask, case.affine).as_reoriented(
        nib.orientations.axcodes2ornt("LPS")
    )
    nib.save(turned, mask)


def move_labels(image, mask, case):
    affine = case.affine.copy()
    affine[2, 3] += 8
    write_nifti(mask, case.mask, affine)


def label_three(image, mask, case):
    labels = case.mask.copy()
    labels[0, 0, 0] = 3
    write_nifti(mask, labels, case.affine)


def far_tumor(image, mask):
    mask[2, 15, 3] = TUMOR
    return image


def pad(image, mask):
    image[:1] = -2000
    return image


def moved(mask, steps, axis=2):
    """Return a mask moved by so many voxels; what leaves the volume is lost."""
    result = np.zeros_like(mask)
    size = mask.shape[axis]
    kept = mask.take(range(max(0, -steps), size - max(0, steps)), axis)
    result[(slice(None),) * axis + (slice(max(0, steps), size - max(0, -steps)),)] = kept
    return result


def shift_mask(slices, image, mask):
    mask[:] = moved(mask, slices)
    return image


def erase_mask(image, mask):
    mask[:] = 0
    return image


def mask_on_lung(image, mask):
    mask[:] = np.where(image < -500, LIVER, 0)
    mask[..., :12] = 0
    return image


def turn(*axes):
    def change(image, mask):
        mask[:] = np.flip(mask, axes)
        return np.flip(image, axes)

    return change


def store_padding(dataset):
    pixels = dataset.pixel_array.astype(np.int16) - 1024
    pixels[:1] = -2000
    dataset.PixelData, dataset.PixelRepresentation = pixels.tobytes(), 1
    dataset.RescaleIntercept = 0


def compress(dataset):
    dataset.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False)


def tilt(dataset):
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y + z * np.tan(np.radians(12)), z]


def push_slice(dataset):
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + 2]


def localizer(dataset):
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


# What is wrong, the fault's name, and how it is planted in the clean case.
PLANTED = {
    "identity affine": ("identity_affine", stored(identity)),
    "sform against qform": ("contradicting_affine", stored(two_geometries)),
    "label with another affine, known to fit (LiTS 53)": (
        "contradicting_affine",
        partial(stored(move_labels), mask_fits=True),
    ),
    "image and label stored turned": ("mixed_orientations", stored(store_turned)),
    "image and label on different grids": ("different_grids", stored(move_labels)),
    "mask shifted up (LiTS 54)": ("shifted_mask", with_image(partial(shift_mask, 2))),
    "mask shifted down": ("shifted_mask", with_image(partial(shift_mask, -2))),
    "truncated gzip": ("truncated_gzip", stored(cut)),
    "gzip with a wrong checksum": ("truncated_gzip", stored(break_checksum)),
    "uncompressed data named .gz": ("not_gzip", stored(not_compressed)),
    "NaN": ("nan_voxels", stored(put_nan)),
    "unknown labels": ("unknown_labels", stored(label_three)),
    "tumour outside the liver": ("tumor_outside_liver", with_image(far_tumor)),
    "empty mask": ("empty_mask", with_image(erase_mask)),
    "no mask": ("no_labels", lambda case, folder: replace(case, mask=None)),
    "mask on the lung": ("mask_off_liver", with_image(mask_on_lung)),
    "intercept applied twice": ("twice_rescaled", with_image(lambda image, _: image - 1024)),
    "intercept never applied": ("not_rescaled", with_image(lambda image, _: image + 1024)),
    "values that are no HU": ("no_soft_tissue", with_image(lambda image, _: image * 0 + 5000)),
    "left and right swapped": ("turned_patient", with_image(turn(0))),
    "front and back swapped": ("turned_patient", with_image(turn(1))),
    "padding of -2000": ("padding", in_dicom(lambda f, _: edit_all(f, store_padding))),
    "missing slice": ("missing_slices", in_dicom(lambda f, _: (f / "image_6").unlink())),
    "uneven slices": ("uneven_slices", in_dicom(lambda f, _: edit(f / "image_6", push_slice))),
    "gantry tilt": ("gantry_tilt", in_dicom(lambda f, _: edit_all(f, tilt))),
    "two series": (
        "two_series",
        in_dicom(lambda f, case: write_dicom_series(f / "b", replace(case, volume="scan-2"))),
    ),
    "localizer": ("localizer", in_dicom(lambda f, _: edit(f / "image_0", localizer))),
    "missing RescaleIntercept": (
        "missing_rescale",
        in_dicom(lambda f, _: edit_all(f, lambda d: delattr(d, "RescaleIntercept"))),
    ),
    "JPEG 2000": ("jpeg2000", in_dicom(lambda f, _: edit_all(f, compress))),
    "same slice twice": (
        "duplicate_slices",
        in_dicom(lambda f, _: shutil.copy(f / "image_3", f / "copy")),
    ),
}


@pytest.fixture(scope="module")
def phantom():
    """One patient of the noisiest cohort."""
    return make_patient(COHORTS["phantom-shifted"], 1)


def test_clean_case_has_no_finding(tiny_case, tmp_path):
    assert verify_case(tiny_case) == []
    assert verify_case(stored(lambda *_: None)(tiny_case, tmp_path)) == []
    assert verify_case(in_dicom(lambda *_: None)(tiny_case, tmp_path)) == []


@pytest.mark.parametrize("what", PLANTED)
def test_planted_fault_is_named(tiny_case, tmp_path, what):
    fault, plant = PLANTED[what]
    findings = verify_case(plant(tiny_case, tmp_path))
    assert {finding.fault for finding in findings} == {fault}
    assert [finding.severity for finding in findings] == [FAULTS[fault][0]]
    sentence = findings[0].sentence
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) > 30


def test_phantom_is_clean(phantom):
    smoke = [make_patient(COHORTS["phantom-smoke"], number) for number in range(3)]
    table = verify_cases([phantom, *smoke], workers=1)
    assert (table.severity == "ok").all(), table.findings.tolist()


@pytest.mark.parametrize("slices", [-4, -2, 2, 4])
def test_shift_is_found_in_the_phantom_and_measured(phantom, slices):
    shifted = replace(phantom, mask=moved(phantom.mask, slices))
    findings = verify_case(shifted)
    assert [finding.fault for finding in findings] == ["shifted_mask"]
    assert f"moved by {-slices * phantom.spacing[2]:+.0f} mm along z" in findings[0].sentence


def test_grey_pictures_are_not_judged_as_hu(tiny_case):
    grey = replace(tiny_case, image=tiny_case.image // 10 + 110, intensity="grey")
    assert verify_case(grey) == []


def test_table_has_one_row_per_case(tiny_case, tmp_path):
    broken = stored(cut)(tiny_case, tmp_path)
    warned = with_image(far_tumor)(tiny_case, tmp_path)
    table = verify_cases([tiny_case, broken, warned], workers=1)
    assert table.severity.tolist() == ["ok", "error", "warning"]
    assert table.faults.tolist() == ["", "truncated_gzip", "tumor_outside_liver"]
    assert table["shape"][0] == tiny_case.image.shape and pd.isna(table["shape"][1])
    assert [len(sentences) for sentences in table.findings] == [0, 1, 1]
    assert "volume-0.nii.gz" in table.findings[1][0]


def raise_type_error(files):
    raise TypeError("ufunc 'add' did not contain a loop\nwith signature")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scan_that_breaks_its_reader_does_not_end_the_cohort(tiny_case, workers):
    """In this process and in others: any exception is a finding that names its type."""
    breaking = CaseFiles("folder", "b", "scan-2", Path("b"), None, raise_type_error)
    table = verify_cases([breaking, tiny_case], workers=workers)
    assert table.faults.tolist() == ["unreadable_scan", ""]
    (sentence,) = table.findings[0]
    assert sentence.startswith("scan-2: ") and "TypeError" in sentence and "\n" not in sentence


def test_no_scan_is_an_empty_table():
    assert len(verify_cases([])) == 0


def test_every_fault_that_is_raised_or_checked_is_explained():
    package = Path(liverutils.__file__).parent
    files = [*(package / "scans").glob("*.py"), *(package / "sources").glob("*.py")]
    files = [file for file in files if file.stem not in ("dicom_seg", "download")]
    code = "".join(file.read_text() for file in files)
    raised = set(re.findall(r'fault="(\w+)"', code)) | set(re.findall(r'repairs\["(\w+)"\]', code))
    assert len(raised) > 25
    assert raised <= set(FAULTS)


def test_verify_holds_a_large_scan_little_more_than_once(tiny_case, tmp_path):
    large = replace(
        tiny_case,
        image=tiny_case.image.repeat(16, 0).repeat(16, 1).repeat(6, 2),
        mask=tiny_case.mask.repeat(16, 0).repeat(16, 1).repeat(6, 2),
        affine=tiny_case.affine @ np.diag([1 / 16, 1 / 16, 1 / 6, 1]),
    )
    files = stored(lambda *_: None)(large, tmp_path)
    tracemalloc.start()
    findings = verify_case(files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert findings == []
    assert peak < 2.5 * large.image.nbytes


def test_real_scan_is_clean(real_data):
    table = verify_cases(find_cases("ircadb", real_data / "3Dircadb1.17"))
    assert table.severity.tolist() == ["ok"], table.findings.tolist()


@pytest.mark.parametrize("slices", [-5, 5])
def test_shift_is_found_in_a_real_scan(real_data, slices):
    case = find_cases("ircadb", real_data / "3Dircadb1.17")[0].load()
    findings = verify_case(replace(case, mask=moved(case.mask, slices)))
    assert [finding.fault for finding in findings] == ["shifted_mask"]
