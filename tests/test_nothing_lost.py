"""No scan and no patient vanishes: what lies among the scans and is read for none is named."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from liverutils.errors import BadInput
from liverutils.phantom.layouts import LAYOUTS
from liverutils.phantom.scene import Made
from liverutils.scans import list_files, write_dicom_series, write_nifti
from liverutils.sources import find_cases


def volumes_not_used(source, raw):
    not_used = []
    for case in find_cases(source, raw):
        try:
            case.load()
        except BadInput as error:
            not_used += [case.image.name] * (error.fault == "not_used")
    return sorted(not_used)


LITTLE = {
    "lits": ("volume-1 (1).nii", "Volume_3.nii", "segmentation-77.nii"),
    "msd": ("Task03_Liver/imagesTr/liver_1 (1).nii.gz", "Task03_Liver/labelsTr/liver_77.nii.gz"),
    "folder": ("bob_mask.nii.gz", "carl/labels/carl.nii.gz", "dora.nrrd", "emil/ct.mha"),
    "totalsegmentator": ("s0077/segmentations/liver.nii.gz",),
}


@pytest.mark.parametrize("source", LITTLE)
def test_what_is_read_for_no_scan_is_named(tmp_path, tiny_case, source):
    LAYOUTS[source].write(tmp_path, Made(tiny_case, [], None), 1)
    assert volumes_not_used(source, tmp_path) == []
    for name in LITTLE[source]:
        write_nifti(tmp_path / name, tiny_case.labels, tiny_case.affine)
    assert volumes_not_used(source, tmp_path) == sorted(Path(name).name for name in LITTLE[source])


@pytest.mark.parametrize("source", ["ircadb", "chaos", "crlm"])
def test_masks_without_their_scan_are_named(tmp_path, tiny_case, source):
    for number in (LAYOUTS[source].first, LAYOUTS[source].first + 1):
        LAYOUTS[source].write(tmp_path, Made(tiny_case, [], None), number)
    image = find_cases(source, tmp_path)[1].image
    shutil.rmtree(image) if image.is_dir() else image.unlink()
    assert len(volumes_not_used(source, tmp_path)) == 1


def test_a_patient_whose_pictures_are_no_dicom_is_named(tmp_path, tiny_case):
    write_dicom_series(tmp_path / "anna", tiny_case)
    write_dicom_series(tmp_path / "bert", tiny_case)
    for path in list_files(tmp_path / "bert"):
        path.write_bytes(b"")
    for name in ("A1", "A2", "A3", "A4"):
        (tmp_path / "anna" / name).write_text("notes")
    assert volumes_not_used("folder", tmp_path) == ["bert"]


def test_series_without_the_mark_are_found(tmp_path, tiny_case):
    write_dicom_series(tmp_path / "anna", tiny_case)
    for path in list_files(tmp_path / "anna"):
        path.write_bytes(path.read_bytes()[132:])
    (case,) = find_cases("folder", tmp_path)
    assert np.array_equal(case.load().image, tiny_case.image)


def test_a_cd_of_several_patients_holds_several_patients(tmp_path, tiny_case):
    cd = tmp_path / "CD"
    for place in ("PA000001/ST000001/SE000001", "PA000001/ST000002/SE000001", "PA000002/ST1/SE1"):
        write_dicom_series(cd / "DICOM" / place, tiny_case)
    (cd / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    for raw in (cd, Path(shutil.make_archive(str(tmp_path / "cd"), "zip", tmp_path, "CD"))):
        cases = find_cases("folder", raw)
        assert sorted(case.patient for case in cases) == ["PA000001", "PA000001", "PA000002"]
        assert all(case.load().image.shape == tiny_case.image.shape for case in cases)


def test_of_several_phases_that_of_the_labels_is_read(tmp_path, tiny_case):
    """As in some series of Colorectal-Liver-Metastases: the SEG refers to one of two phases."""
    LAYOUTS["crlm"].write(tmp_path, Made(tiny_case, [], None), 1001)
    series = find_cases("crlm", tmp_path)[0].image
    for path in list_files(series):
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionNumber = 3
        dataset.save_as(path)
        dataset.AcquisitionNumber = 2
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(path.with_name(f"early_{path.name}"))
    (files,) = find_cases("crlm", tmp_path)
    case = files.load()
    assert np.array_equal(case.image, tiny_case.image)
    assert np.array_equal(case.labels, tiny_case.labels)
    n_slices = tiny_case.image.shape[2]
    assert case.provenance["repairs"]["other_phases"].startswith(f"{n_slices} of {2 * n_slices}")


def test_the_segments_of_colorectal_liver_metastases(tmp_path, tiny_case):
    """Liver Remnant, Hepatic and Portal are no liver and no tumour."""
    LAYOUTS["crlm"].write(tmp_path, Made(tiny_case, [], None), 1001)
    (files,) = find_cases("crlm", tmp_path)
    dataset = pydicom.dcmread(files.mask)
    dataset.SegmentSequence[1].SegmentLabel = "Tumor_1"
    dataset.save_as(files.mask)
    assert np.array_equal(files.load().labels, tiny_case.labels)
    for name in ("Liver Remnant", "Liver_Remnant", "Hepatic", "Portal"):
        dataset.SegmentSequence[1].SegmentLabel = name
        dataset.save_as(files.mask)
        assert np.array_equal(files.load().labels, tiny_case.labels > 0)  # Tumours are liver.
