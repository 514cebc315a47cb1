"""A DICOM SEG refers to series as hospitals and anonymisers write them, or says at once why not."""

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from liverutils.errors import BadInput
from liverutils.scans import check_dicom_seg, write_dicom_seg, write_dicom_series


@pytest.fixture
def series(tmp_path, tiny_case):
    write_dicom_series(tmp_path / "series", tiny_case)
    return tmp_path / "series"


def edit_all(folder, change):
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path, enforce_file_format=False)


def japanese(dataset):
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"


def born_never(dataset):
    raw = RawDataElement(Tag("PatientBirthDate"), "DA", 8, b"00000000", 0, False, True)
    dataset["PatientBirthDate"] = raw


def emptied(keyword):
    return lambda dataset: setattr(dataset, keyword, None)


TAKEN = {
    "Japanese": japanese,
    "birth date 00000000": born_never,
    "sex X": lambda dataset: setattr(dataset, "PatientSex", "X"),
    "no thickness": lambda dataset: delattr(dataset, "SliceThickness"),
    "no frame of reference": emptied("FrameOfReferenceUID"),
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_header_that_is_usual_somewhere_is_taken(series, tmp_path, tiny_case, what):
    edit_all(series, TAKEN[what])
    check_dicom_seg(series)
    write_dicom_seg(tmp_path / "seg.dcm", tiny_case.mask, series, "UNet")
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    assert written.FrameOfReferenceUID and written.SpecificCharacterSet == "ISO_IR 192"
    if what == "Japanese":
        assert str(written.PatientName) == "Yamada^Tarou=山田^太郎"
    n_liver = np.count_nonzero(tiny_case.mask)
    assert np.count_nonzero(written.pixel_array) == n_liver + np.count_nonzero(tiny_case.mask == 2)


REFUSED = {
    "SOPInstanceUID": emptied("SOPInstanceUID"),
    "StudyInstanceUID": emptied("StudyInstanceUID"),
    "one SOPInstanceUID": lambda dataset: setattr(dataset, "SOPInstanceUID", "1.2.3"),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_referred_to_is_said_before_the_work(series, said):
    edit_all(series, REFUSED[said])
    with pytest.raises(BadInput, match=said) as caught:
        check_dicom_seg(series)
    assert caught.value.fault == "no_reference"
