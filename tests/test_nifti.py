"""NIfTI files as they come: odd headers, other units, masks that are no labels yet."""

import zipfile

import nibabel as nib
import numpy as np
import pytest
from doubles import read_nifti
from isal import igzip

from liverutils.errors import BadInput
from liverutils.scans import (
    case_from_nifti,
    read_nifti_mask,
    write_dicom_series,
    write_nifti,
    write_nifti_like,
)
from liverutils.scans.nifti import MOST_PADDING
from liverutils.sources import find_cases, read_scan

SHAPE = (32, 32, 16)
# Where the fields of a NIfTI-1 header lie.
FIELDS = {
    **{"dim": (40, "<i2"), "datatype": (70, "<i2"), "pixdim": (76, "<f4")},
    **{"vox_offset": (108, "<f4"), "qform_code": (252, "<i2"), "sform_code": (254, "<i2")},
    **{"quatern": (256, "<f4"), "srow": (280, "<f4"), "magic": (344, "S4")},
    **{"scl_slope": (112, "<f4"), "xyzt_units": (123, "u1")},
}


def with_fields(path, **fields):
    """Overwrite fields of a header; the file is not compressed."""
    content = bytearray(path.read_bytes())
    for name, value in fields.items():
        offset, kind = FIELDS[name]
        stored = np.array(value, kind).tobytes()
        content[offset : offset + len(stored)] = stored
    path.write_bytes(content)
    return path


@pytest.fixture
def scan(tmp_path, tiny_case):
    write_nifti(tmp_path / "scan.nii", tiny_case.image, tiny_case.affine)
    return tmp_path / "scan.nii"


def read_case(image, mask=None, **kwargs):
    return case_from_nifti(image, mask, patient="someone", volume="scan-1", **kwargs)


BAD_HEADERS = {
    "offset 0": ("not_nifti", {"vox_offset": 0}),
    "far offset": ("not_nifti", {"vox_offset": 3e9}),
    "offset behind the end": ("truncated_nifti", {"vox_offset": 5e6}),
    "offset NaN": ("not_nifti", {"vox_offset": np.nan}),
    "half of a pair": ("not_nifti", {"magic": b"ni1\0"}),
    "98 PiB": ("truncated_nifti", {"dim": [3, 32767, 32767, 32767]}),
    "empty axis": ("not_3d", {"dim": [3, 32, 0, 16]}),
    "negative axis": ("not_3d", {"dim": [3, 32, -4, 16]}),
    "two axes": ("not_3d", {"dim": [2, 32, 32, 1]}),
    "unknown voxels": ("not_nifti", {"datatype": 77}),
    "colours": ("not_grey", {"datatype": 128}),
    "complex": ("not_grey", {"datatype": 32}),
    "affine NaN": ("bad_affine", {"srow": np.nan}),
    "flat affine": ("bad_affine", {"srow": [[9, 0, 0, 0], [9, 0, 0, 0], [0, 0, 8, 0]]}),
    "sheared": ("gantry_tilt", {"srow": [[9, 0, 0, 0], [0, 9, 2, 0], [0, 0, 8, 0]]}),
    "metres": ("wrong_unit", {"srow": np.diag([9e-3, 9e-3, 8e-3, 1])[:3]}),
    "microns": ("wrong_unit", {"srow": np.diag([9000, 9000, 8000, 1])[:3]}),
}


@pytest.mark.parametrize("what", BAD_HEADERS)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_header_that_cannot_be_is_named(scan, what):
    fault, fields = BAD_HEADERS[what]
    with pytest.raises(BadInput, match=r"scan\.nii .*; [^;]+\.$") as caught:
        read_case(with_fields(scan, **fields))
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("factor", "unit"), [(1e-3, "metres"), (0.1, "centimetres"), (1e3, "microns")]
)
def test_the_unit_of_voxel_sizes_is_named_with_its_factor(tmp_path, factor, unit):
    spacing = np.array([0.7, 0.7, 3]) * factor
    write_nifti(tmp_path / "a.nii", np.zeros((512, 512, 40), np.int16), np.diag([*spacing, 1]))
    with pytest.raises(BadInput, match=rf"in {unit}, so multiply them by {1 / factor:g}\."):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("spacing", [(0.3, 0.3, 0.5), (0.15, 0.15, 0.4), (9, 9, 40), (1, 1, 1)])
def test_voxel_sizes_of_a_body_are_taken(tmp_path, spacing):
    write_nifti(tmp_path / "a.nii", np.zeros((8, 8, 8), np.int16), np.diag([*spacing, 1.0]))
    assert read_case(tmp_path / "a.nii").spacing == pytest.approx(spacing)


@pytest.mark.parametrize("with_sform", [True, False])
def test_a_quaternion_a_hair_too_long_is_shortened(scan, tmp_path, tiny_case, with_sform):
    with_fields(scan, qform_code=1, sform_code=int(with_sform), quatern=[0, 0, 1.0001])
    with_fields(scan, pixdim=[1, 9, 9, 8])
    case = read_case(scan)
    assert case.spacing == pytest.approx((9, 9, 8))
    write_nifti_like(tmp_path / "mask.nii", tiny_case.mask, scan)
    mask, affine = read_nifti_mask(tmp_path / "mask.nii")
    assert np.array_equal(mask, tiny_case.mask)
    assert np.allclose(affine, case.affine)


def test_a_sform_that_is_none_gives_way_to_the_qform(scan, tiny_case):
    image = nib.Nifti1Image(tiny_case.image, tiny_case.affine)
    image.set_qform(tiny_case.affine, code=1)
    nib.save(image, scan)
    case = read_case(with_fields(scan, srow=np.zeros(12)))
    assert np.allclose(case.affine, tiny_case.affine)
    assert list(case.provenance["repairs"]) == ["contradicting_affine"]


def test_a_name_in_capitals_is_read(tmp_path, tiny_case):
    write_nifti(tmp_path / "ct.nii.gz", tiny_case.image, tiny_case.affine)
    (tmp_path / "ct.nii.gz").rename(tmp_path / "CT.NII.GZ")
    assert np.array_equal(read_nifti(tmp_path / "CT.NII.GZ")[0], tiny_case.image)


def test_what_inflates_behind_the_last_voxel_is_refused(tmp_path, scan):
    padded = scan.read_bytes() + bytes(1 << 20)
    (tmp_path / "padded.nii.gz").write_bytes(igzip.compress(padded))
    assert read_nifti(tmp_path / "padded.nii.gz")[0].shape == SHAPE
    with igzip.open(tmp_path / "bomb.nii.gz", "wb") as file:
        file.write(scan.read_bytes())
        for _ in range(2 + MOST_PADDING >> 20):
            file.write(bytes(1 << 20))
    assert (tmp_path / "bomb.nii.gz").stat().st_size < 2e6
    with pytest.raises(BadInput, match="behind its last voxel"):
        read_nifti(tmp_path / "bomb.nii.gz")


def test_the_size_is_checked_in_an_archive_too(tmp_path, scan):
    with_fields(scan, dim=[3, 2000, 2000, 2000])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(scan, "scan.nii")
    with pytest.raises(BadInput, match="16000000000 bytes") as caught:
        read_nifti(tmp_path / "a.zip" / "scan.nii")
    assert caught.value.fault == "truncated_nifti"


MASKS = {
    "0 and 255": ("scaled_labels", lambda mask: (mask > 0) * np.uint8(255), 1),
    "0, 127 and 255": ("scaled_labels", lambda mask: np.uint8([0, 127, 255])[mask], 2),
    "0 and 1/255": ("scaled_labels", lambda mask: (mask > 0) / np.float32(255), 1),
    "a hair off": ("scaled_labels", lambda mask: mask * np.float32(0.9999), 2),
    "the slope is lost": ("scaled_labels", lambda mask: np.int16([0, 16383, 32767])[mask], 2),
}


@pytest.mark.parametrize("what", MASKS)
def test_a_mask_whose_values_are_clear_is_read(tmp_path, tiny_case, scan, what):
    fault, change, highest = MASKS[what]
    nib.save(nib.Nifti1Image(change(tiny_case.mask), tiny_case.affine), tmp_path / "mask.nii")
    case = read_case(scan, tmp_path / "mask.nii")
    assert list(case.provenance["repairs"]) == [fault]
    assert np.array_equal(case.mask, np.minimum(tiny_case.mask, highest))
    assert np.array_equal(read_nifti_mask(tmp_path / "mask.nii")[0], case.mask)


def test_probabilities_are_cut_at_one_half(tmp_path, tiny_case, scan):
    noise = np.random.default_rng(0).uniform(0, 0.4, SHAPE)
    likely = ((tiny_case.mask > 0) * 0.5 + noise).astype(np.float32)
    write_nifti(tmp_path / "mask.nii", tiny_case.mask, tiny_case.affine)
    nib.save(nib.Nifti1Image(likely, tiny_case.affine), tmp_path / "mask.nii")
    case = read_case(scan, tmp_path / "mask.nii")
    assert list(case.provenance["repairs"]) == ["probabilities"]
    assert np.array_equal(case.mask, (tiny_case.mask > 0).astype(np.uint8))


@pytest.mark.parametrize("values", [[0, 5, 5], [0, 1, 3], [0, -1, 1], [0, 1, 255], [0, 100, 200]])
def test_a_mask_that_may_mean_something_else_is_refused(tmp_path, tiny_case, scan, values):
    labels = np.int16(values)[tiny_case.mask]
    nib.save(nib.Nifti1Image(labels, tiny_case.affine), tmp_path / "mask.nii")
    with pytest.raises(BadInput, match=r"mask\.nii") as caught:
        read_case(scan, tmp_path / "mask.nii")
    assert caught.value.fault == "unknown_labels"


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha", "slice.png"])
def test_what_is_no_scan_is_told_what_is_taken(tmp_path, name):
    (tmp_path / name).write_bytes(b"NRRD0004 and more")
    with pytest.raises(BadInput, match=rf"{name} is not taken: give a NIfTI file") as caught:
        read_scan(tmp_path / name)
    assert caught.value.fault == "unknown_format"


def test_a_zipped_nifti_is_named(tmp_path, scan):
    with zipfile.ZipFile(tmp_path / "scan.nii.zip", "w") as archive:
        archive.write(scan, "scan.nii")
    with pytest.raises(BadInput, match=r"holds scan\.nii, .* unpack it"):
        read_scan(tmp_path / "scan.nii.zip")


def test_a_cd_lists_its_series_once(tmp_path, tiny_case):
    for patient in ("PA0", "PA1"):
        write_dicom_series(tmp_path / "CD" / patient / "SE0", tiny_case)
    (tmp_path / "CD" / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(200))
    cases = find_cases("folder", tmp_path / "CD")
    assert [case.patient for case in cases] == ["PA0", "PA1"]
    assert np.array_equal(cases[0].load().image, tiny_case.image)


def test_the_geometry_of_a_mask_is_copied_on_demand(tmp_path, tiny_case):
    write_nifti(tmp_path / "bert.nii", tiny_case.image, tiny_case.affine)
    other = tiny_case.affine @ np.diag([0.9984, 0.9984, 1, 1])
    write_nifti(tmp_path / "bert_mask.nii", tiny_case.mask, other)
    with pytest.raises(BadInput, match="not on the grid"):
        find_cases("folder", tmp_path)[0].load()
    case = find_cases("folder", tmp_path, copy_geometry=True)[0].load()
    assert np.array_equal(case.mask, tiny_case.mask)
    assert list(case.provenance["repairs"]) == ["contradicting_affine"]
