"""DICOM folders as they come: every file accounted for, every slice looked at."""

import zlib
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    RTDoseStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from liverutils.errors import BadInput
from liverutils.scans import case_from_dicom, write_dicom_series


@pytest.fixture
def series(tmp_path, tiny_case):
    write_dicom_series(tmp_path / "series", tiny_case)
    return tmp_path / "series"


def read_series(place):
    return case_from_dicom(place, patient="someone", volume="scan-1")


def edit(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def edit_all(folder, change):
    for index, path in enumerate(sorted(folder.iterdir(), key=lambda path: int(path.name[6:]))):
        edit(path, lambda dataset, index=index: change(dataset, index))


def set_raw(keyword, text):
    """Set an element to a text that pydicom itself would refuse."""

    def change(dataset):
        element = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(keyword), "DS", len(text), text, 0, False, True
        )
        dataset[keyword] = element

    return change


def assert_fault(fault, series, *said):
    with pytest.raises(BadInput) as caught:
        read_series(series)
    sentence = str(caught.value)
    assert caught.value.fault == fault, sentence
    assert sentence.endswith(".") and "\n" not in sentence
    for text in said:
        assert text in sentence


# Files that are no slices


def without_prefix(content):
    return content[:128] + b"MCID" + content[132:]


LOST = {
    "empty": ("empty", lambda content: b""),
    "cut in the pixels": ("cut short", lambda content: content[:-100]),
    "cut in the header": ("without pixels", lambda content: content[:400]),
}


@pytest.mark.parametrize("what", LOST)
def test_slices_at_the_end_do_not_vanish(series, what):
    said, change = LOST[what]
    for index in range(11, 16):
        path = series / f"image_{index}"
        path.write_bytes(change(path.read_bytes()))
    assert_fault("damaged_slices", series, "5 files", f"image_11 ({said}", "and 2 more")


def test_files_without_the_prefix_are_counted_and_named(series, tiny_case):
    for index in range(11, 16):
        path = series / f"image_{index}"
        path.write_bytes(without_prefix(path.read_bytes()))
    case = read_series(series)
    assert case.image.shape == (32, 32, 11)
    assert list(case.provenance["repairs"]) == ["passed_over"]
    assert "5 files: image_11 (not DICOM)" in case.provenance["repairs"]["passed_over"]


def test_files_that_begin_with_their_first_element_are_read(series, tiny_case):
    for path in series.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    case = read_series(series)
    assert np.array_equal(case.image, tiny_case.image)
    assert case.provenance["repairs"] == {}


OBJECTS = {
    SegmentationStorage: "Segmentation",
    RTDoseStorage: "RT Dose",
    PositronEmissionTomographyImageStorage: "Positron Emission Tomography Image",
    SecondaryCaptureImageStorage: "Secondary Capture Image",
}


@pytest.mark.parametrize("kind", OBJECTS, ids=OBJECTS.values())
def test_another_object_in_the_folder_is_named(series, tiny_case, kind):
    dataset = pydicom.dcmread(series / "image_0")
    dataset.SOPClassUID, dataset.Modality = kind, "OT"
    dataset.SeriesInstanceUID, dataset.NumberOfFrames = pydicom.uid.generate_uid(), 1
    dataset.save_as(series / "other.dcm")
    case = read_series(series)
    assert np.array_equal(case.image, tiny_case.image)
    assert case.provenance["repairs"] == {"other_objects": f"1 file: other.dcm ({OBJECTS[kind]})"}


def test_a_folder_of_something_else_says_of_what(series):
    def as_pet(dataset, _):
        dataset.SOPClassUID, dataset.Modality = PositronEmissionTomographyImageStorage, "PT"

    edit_all(series, as_pet)
    assert_fault("not_ct", series, "image_", "PT (Positron Emission Tomography Image Storage)")


def test_two_series_are_named_by_a_file_of_each(series, tiny_case):
    write_dicom_series(series / "b", replace(tiny_case, volume="scan-2"))
    assert_fault("two_series", series, "16 files as image_0")


# Headers


@pytest.mark.parametrize("text", [b"1,383\\1,383 ", b"nan\\nan ", b"9 ", b"0\\0 ", b"9\\9\\9 "])
def test_a_pixel_spacing_that_is_none_is_named(series, text):
    edit(series / "image_3", set_raw("PixelSpacing", text))
    assert_fault("bad_header", series, "image_3", "PixelSpacing")


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("text", [b"one ", b"inf ", b"1\\2 "])
def test_a_rescaling_that_is_none_is_named(series, keyword, text):
    edit(series / "image_3", set_raw(keyword, text))
    assert_fault("bad_header", series, "image_3", keyword)


def test_a_direction_that_is_none_is_named(series):
    edit(series / "image_3", set_raw("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0 "))
    assert_fault("bad_header", series, "image_3", "right angle")


def test_colours_are_named(series):
    def paint(dataset, _):
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration, dataset.BitsAllocated, dataset.BitsStored = 0, 8, 8
        dataset.HighBit, dataset.PixelData = 7, bytes(32 * 32 * 3)

    edit_all(series, paint)
    assert_fault("not_grey", series, "image_")


def test_pixels_that_cannot_be_there_are_refused_before_memory_is_asked_for(series):
    edit(series / "image_3", lambda dataset: setattr(dataset, "Rows", 65535))
    assert_fault("damaged_slices", series, "image_3", "65535")


def test_what_inflates_without_end_is_refused(series, monkeypatch):
    monkeypatch.setattr("liverutils.scans.dicom_files.LARGEST_FILE", 1 << 20)
    dataset = pydicom.dcmread(series / "image_3")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(series / "image_3")
    assert read_series(series).image.shape == (32, 32, 16)
    content = (series / "image_3").read_bytes()
    head = content[: 144 + int.from_bytes(content[140:144], "little")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    (series / "image_3").write_bytes(head + packer.compress(bytes(1 << 22)) + packer.flush())
    assert_fault("damaged_slices", series, "image_3", "inflates")


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57"])
def test_jpeg_lossless_is_read(series, tiny_case, uid):
    gdcm = pytest.importorskip("gdcm")
    kinds = {"70": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
             "57": gdcm.TransferSyntax.JPEGLosslessProcess14}  # fmt: skip
    for path in series.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(kinds[uid[-2:]]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == uid
    assert np.array_equal(read_series(series).image, tiny_case.image)


# Positions


def place(dataset, x=None, y=None, z=None):
    old = [float(value) for value in dataset.ImagePositionPatient]
    new = [o if n is None else n for o, n in zip(old, (x, y, z), strict=True)]
    dataset.ImagePositionPatient = [f"{value:.4f}" for value in new]


@pytest.mark.parametrize("gap", [0.625, 1.25, 2.55])
def test_positions_rounded_to_a_tenth_of_a_millimetre_are_taken(series, tiny_case, gap):
    edit_all(series, lambda dataset, index: place(dataset, z=round(index * gap, 1)))
    case = read_series(series)
    assert np.array_equal(case.image, tiny_case.image)
    assert case.spacing[2] == pytest.approx(gap, abs=0.01)


def test_changing_increments_are_no_missing_slices(series):
    edit_all(series, lambda dataset, index: place(dataset, z=4 * index + 3 * max(0, index - 9)))
    assert_fault("uneven_slices", series, "4.00 to 7.00 mm")


def test_a_hole_names_the_slice_before_it(series):
    for index in (6, 7):
        (series / f"image_{index}").unlink()
    assert_fault("missing_slices", series, "image_5", "24.00 mm")


def test_spacing_that_changes_within_a_series_is_named(series):
    def change(dataset, index):
        if index > 9:
            dataset.PixelSpacing = [8.0, 8.0]

    edit_all(series, change)
    assert_fault("mixed_spacing", series, "8 mm", "9 mm")


def test_one_turned_slice_is_named(series):
    edit(series / "image_7", lambda d: setattr(d, "ImageOrientationPatient", [0, 1, 0, -1, 0, 0]))
    assert_fault("mixed_directions", series, "image_7")


def test_two_sub_volumes_are_no_tilted_gantry(series):
    edit_all(series, lambda dataset, index: place(dataset, x=100 * (index > 8)))
    assert_fault("two_volumes", series, "image_8", "image_9")


def test_one_slice_aside_is_named(series):
    edit(series / "image_7", lambda dataset: place(dataset, y=3))
    assert_fault("two_volumes", series, "image_7")


def test_two_phases_in_one_series_are_told_apart(series):
    for path in list(series.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionNumber = 1
        dataset.save_as(path)
        dataset.AcquisitionNumber, dataset.SOPInstanceUID = 2, pydicom.uid.generate_uid()
        dataset.save_as(series / f"{path.name}_late")
    assert_fault("two_phases", series, "32 slices at 16 positions", "AcquisitionNumber (1, 2)")


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "centimetres"), (1e-3, "metres")])
def test_the_unit_of_pixels_is_named(tmp_path, tiny_case, factor, unit):
    affine = np.diag([0.7 * factor, 0.7 * factor, 3 * factor, 1])
    image = np.zeros((512, 512, 12), np.int16)
    write_dicom_series(tmp_path / "s", replace(tiny_case, image=image, affine=affine))
    assert_fault("wrong_unit", tmp_path / "s", unit)
