"""NIfTI and DICOM in and out: the same voxels at the same place, whatever the way."""

import gzip
import shutil
import tracemalloc
import zipfile
from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest
from doubles import read_nifti

from liverutils.errors import BadInput
from liverutils.scans import (
    LOWEST_HU,
    case_from_dicom,
    case_from_nifti,
    read_dicom_mask,
    read_nifti_mask,
    take_plane,
    write_dicom_mask,
    write_dicom_series,
    write_nifti,
)


def read_case(image, mask=None):
    return case_from_nifti(image, mask, patient="someone", volume="scan-1")


def read_series(place):
    return case_from_dicom(place, patient="someone", volume="scan-1")


@pytest.fixture
def series(tmp_path, tiny_case):
    """Folder of a DICOM series of the tiny case."""
    write_dicom_series(tmp_path / "series", tiny_case)
    return tmp_path / "series"


def edit(path, **elements):
    dataset = pydicom.dcmread(path)
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def edit_all(folder, change):
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)


def test_picture_has_front_on_top_and_right_on_the_left():
    volume = np.zeros((4, 5, 6))
    volume[3, 4, 5] = 1  # right, front, head
    assert take_plane(volume, "axial", 5)[0, 0] == 1
    assert take_plane(volume, "coronal", 4)[0, 0] == 1
    assert take_plane(volume, "sagittal", 3)[0, 0] == 1


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_nifti_round_trip(tmp_path, tiny_case, name):
    write_nifti(tmp_path / name, tiny_case.image, tiny_case.affine)
    image, affine = read_nifti(tmp_path / name)
    assert image.dtype == np.int16
    assert np.array_equal(image, tiny_case.image)
    assert np.allclose(affine, tiny_case.affine)


def test_same_voxels_same_bytes(tmp_path, tiny_case):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, tiny_case.image, tiny_case.affine)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("codes", ["LPS", "LAS", "RPI", "SRA", "AIL"])
def test_every_orientation_is_turned_as_nibabel_turns_it(tmp_path, tiny_case, codes):
    ras = nib.Nifti1Image(tiny_case.image[:, :24], tiny_case.affine)
    turned = ras.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
        )
    )
    assert nib.aff2axcodes(turned.affine) == tuple(codes)
    nib.save(turned, tmp_path / "turned.nii.gz")
    image, affine = read_nifti(tmp_path / "turned.nii.gz")
    assert np.array_equal(image, ras.get_fdata())
    assert np.allclose(affine, ras.affine)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("float64", nib.Nifti1Image), ("<i4", nib.Nifti1Image), (">i2", nib.Nifti1Image),
     ("float32", nib.Nifti2Image)],
)  # fmt: skip
def test_other_voxel_types_are_rounded_to_int16(tmp_path, tiny_case, dtype, kind):
    values = tiny_case.image.astype(dtype)
    if np.dtype(dtype).kind == "f":
        values += 0.4
    nib.save(kind(values, tiny_case.affine, dtype=np.dtype(dtype)), tmp_path / "scan.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "scan.nii.gz")[0], tiny_case.image)


def test_scaled_integers_are_unscaled(tmp_path, tiny_case):
    image = nib.Nifti1Image(tiny_case.image, tiny_case.affine)
    image.header.set_slope_inter(2, -7)
    nib.save(image, tmp_path / "scan.nii")
    expected = nib.load(tmp_path / "scan.nii").get_fdata()
    assert np.array_equal(read_nifti(tmp_path / "scan.nii")[0], expected)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_held_once_while_it_is_read(tmp_path, suffix):
    voxels = np.random.default_rng(0).integers(-1000, 1000, (256, 256, 64))
    path = tmp_path / f"scan{suffix}"
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.diag([1, 1, 2, 1])), path)
    tracemalloc.start()
    read_nifti(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * voxels.size * 2 + 3e6


def test_nifti_is_read_inside_a_zip(tmp_path, tiny_case, write_case):
    image, mask = write_case(tiny_case)
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.write(image, "all/volume-0.nii.gz")
        archive.write(mask, "all/segmentation-0.nii.gz")
    inside = tmp_path / "scans.zip" / "all"
    case = read_case(inside / "volume-0.nii.gz", inside / "segmentation-0.nii.gz")
    assert np.array_equal(case.image, tiny_case.image)
    assert np.array_equal(case.mask, tiny_case.mask)


def assert_fault(fault, read, *args):
    """Check that bad input is named, in one sentence that names the file."""
    with pytest.raises(BadInput) as caught:
        read(*args)
    assert caught.value.fault == fault
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    assert args[-1].name in sentence or args[0].name in sentence


@pytest.mark.parametrize("cut", [8, 4, 2000])
def test_truncated_gzip(write_case, tiny_case, cut):
    image, _ = write_case(tiny_case)
    image.write_bytes(image.read_bytes()[:-cut])
    assert_fault("truncated_gzip", read_case, image)


@pytest.mark.parametrize("at", [-6, -1, -3000])
def test_wrong_checksum_length_or_data(write_case, tiny_case, at):
    image, _ = write_case(tiny_case)
    content = bytearray(image.read_bytes())
    content[at] ^= 0xFF
    image.write_bytes(content)
    assert_fault("truncated_gzip", read_case, image)


def test_uncompressed_file_named_gz(write_case, tiny_case):
    image, _ = write_case(tiny_case)
    image.write_bytes(gzip.decompress(image.read_bytes()))
    assert_fault("not_gzip", read_case, image)


def test_truncated_nifti(tmp_path, tiny_case):
    write_nifti(tmp_path / "scan.nii", tiny_case.image, tiny_case.affine)
    content = (tmp_path / "scan.nii").read_bytes()
    (tmp_path / "scan.nii").write_bytes(content[:-100])
    assert_fault("truncated_nifti", read_case, tmp_path / "scan.nii")


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 1000])
def test_not_nifti(tmp_path, content):
    (tmp_path / "scan.nii").write_bytes(content)
    assert_fault("not_nifti", read_case, tmp_path / "scan.nii")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_voxels(tmp_path, tiny_case, bad):
    voxels = tiny_case.image.astype(np.float32)
    voxels[3, 4, 5] = bad
    nib.save(nib.Nifti1Image(voxels, tiny_case.affine), tmp_path / "scan.nii.gz")
    assert_fault("nan_voxels", read_case, tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4, 2)])
def test_not_3d(tmp_path, shape):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), tmp_path / "scan.nii")
    assert_fault("not_3d", read_case, tmp_path / "scan.nii")


def test_trailing_axis_of_one_is_dropped(tmp_path, tiny_case):
    voxels = tiny_case.image[..., None]
    nib.save(nib.Nifti1Image(voxels, tiny_case.affine), tmp_path / "scan.nii")
    assert read_case(tmp_path / "scan.nii").image.shape == tiny_case.image.shape


def test_singular_affine(tmp_path, tiny_case):
    image = nib.Nifti1Image(tiny_case.image, tiny_case.affine)
    image.header["srow_z"] = 0
    nib.save(nib.Nifti1Image(tiny_case.image, None, image.header), tmp_path / "scan.nii")
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    content[254:256] = (1).to_bytes(2, "little")  # sform_code
    content[312:328] = bytes(16)  # srow_z
    (tmp_path / "scan.nii").write_bytes(content)
    assert_fault("bad_affine", read_case, tmp_path / "scan.nii")


def test_single_slice(write_case, tiny_case):
    image, _ = write_case(replace(tiny_case, image=tiny_case.image[..., :1]))
    assert_fault("single_slice", read_case, image)


@pytest.mark.parametrize("label", [3, 255, -1, 0.5])
def test_unknown_labels(tmp_path, tiny_case, write_case, label):
    image, _ = write_case(tiny_case)
    labels = tiny_case.mask.astype(np.float32)
    labels[0, 0, 0] = label
    nib.save(nib.Nifti1Image(labels, tiny_case.affine), tmp_path / "labels.nii.gz")
    assert_fault("unknown_labels", read_case, image, tmp_path / "labels.nii.gz")


def test_labels_of_another_shape(write_case, tiny_case, tmp_path):
    image, _ = write_case(tiny_case)
    write_nifti(tmp_path / "labels.nii.gz", tiny_case.mask[..., 1:], tiny_case.affine)
    assert_fault("different_grids", read_case, image, tmp_path / "labels.nii.gz")


@pytest.mark.parametrize(("change", "fits"), [(1e-5, True), (8e-3, False)])
def test_labels_in_another_direction(write_case, tiny_case, tmp_path, change, fits):
    image, _ = write_case(tiny_case)
    affine = tiny_case.affine.copy()
    affine[0, 1] += change * 9
    write_nifti(tmp_path / "labels.nii.gz", tiny_case.mask, affine)
    if fits:
        assert np.array_equal(read_case(image, tmp_path / "labels.nii.gz").mask, tiny_case.mask)
    else:
        assert_fault("different_grids", read_case, image, tmp_path / "labels.nii.gz")


def test_labels_stored_turned_are_turned_back(write_case, tiny_case, tmp_path):
    image, _ = write_case(tiny_case)
    turned = nib.Nifti1Image(tiny_case.mask, tiny_case.affine).as_reoriented(
        nib.orientations.axcodes2ornt("LPS")
    )
    nib.save(turned, tmp_path / "labels.nii.gz")
    case = read_case(image, tmp_path / "labels.nii.gz")
    assert np.array_equal(case.mask, tiny_case.mask)
    assert list(case.provenance["repairs"]) == ["mixed_orientations"]


def test_labels_known_to_fit_take_the_affine_of_the_image(write_case, tiny_case, tmp_path):
    image, _ = write_case(tiny_case)
    write_nifti(tmp_path / "labels.nii.gz", tiny_case.mask, np.diag([-1, -1, 3, 1]))
    case = case_from_nifti(
        image, tmp_path / "labels.nii.gz", patient="a", volume="b", mask_fits=True
    )
    assert np.array_equal(case.mask, tiny_case.mask)
    assert list(case.provenance["repairs"]) == ["contradicting_affine"]


def test_identity_affine_leaves_the_spacing_unknown(tmp_path, tiny_case):
    write_nifti(tmp_path / "scan.nii.gz", tiny_case.image, np.eye(4))
    case = read_case(tmp_path / "scan.nii.gz")
    assert not case.spacing_known
    assert list(case.provenance["repairs"]) == ["identity_affine"]


def test_identity_affine_with_voxel_sizes_in_the_header(tmp_path, tiny_case):
    write_nifti(tmp_path / "scan.nii", tiny_case.image, np.eye(4))
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    content[80:92] = np.array([0.7, 0.7, 2.5], "<f4").tobytes()  # pixdim[1:4]
    (tmp_path / "scan.nii").write_bytes(content)
    case = read_case(tmp_path / "scan.nii")
    assert case.spacing_known
    assert case.spacing == pytest.approx((0.7, 0.7, 2.5))


def test_sform_against_qform(tmp_path, tiny_case):
    image = nib.Nifti1Image(tiny_case.image, tiny_case.affine)
    image.set_sform(tiny_case.affine, code=1)
    image.set_qform(tiny_case.affine @ np.diag([1, 1, -1, 1]), code=1)
    nib.save(image, tmp_path / "scan.nii.gz")
    case = read_case(tmp_path / "scan.nii.gz")
    assert np.allclose(case.affine, tiny_case.affine)
    assert list(case.provenance["repairs"]) == ["contradicting_affine"]


def test_file_without_any_affine(tmp_path, tiny_case):
    image = nib.Nifti1Image(tiny_case.image, None)
    image.header.set_zooms((0.7, 0.7, 2.5))
    nib.save(image, tmp_path / "scan.nii.gz")
    case = read_case(tmp_path / "scan.nii.gz")
    assert case.spacing == pytest.approx((0.7, 0.7, 2.5))
    assert list(case.provenance["repairs"]) == ["no_affine"]


def test_padding_is_clipped(write_case, tiny_case):
    padded = tiny_case.image.copy()
    padded[:2] = -2000
    image, _ = write_case(replace(tiny_case, image=padded))
    case = read_case(image)
    assert case.image.min() == LOWEST_HU
    assert list(case.provenance["repairs"]) == ["padding"]


# DICOM


def oblique(affine):
    """Tilt a scan by 10 degrees about x and 5 about z, as a patient lies on a table."""
    about_x, about_z = np.radians((10, 5))
    x = np.array([[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)],
                  [0, np.sin(about_x), np.cos(about_x)]])  # fmt: skip
    z = np.array([[np.cos(about_z), -np.sin(about_z), 0],
                  [np.sin(about_z), np.cos(about_z), 0], [0, 0, 1]])  # fmt: skip
    turned = affine.copy()
    turned[:3, :3] = x @ z @ affine[:3, :3]
    return turned


@pytest.mark.parametrize("turn", [lambda affine: affine, oblique])
def test_dicom_round_trip(tmp_path, tiny_case, turn):
    case = replace(tiny_case, affine=turn(tiny_case.affine))
    write_dicom_series(tmp_path / "series", case)
    read = read_series(tmp_path / "series")
    assert read.image.dtype == np.int16
    assert np.array_equal(read.image, case.image)
    assert np.allclose(read.affine, case.affine, atol=1e-4)
    assert read.provenance["repairs"] == {}


def test_dicom_stored_feet_up_and_back_first(tmp_path, tiny_case, series):
    """The same voxels, each slice rotated by 180 degrees and said so."""

    def rotate(dataset):
        pixels = np.ascontiguousarray(dataset.pixel_array[::-1, ::-1])
        columns, rows = (np.array(dataset.ImageOrientationPatient[i : i + 3]) for i in (0, 3))
        corner = np.array(dataset.ImagePositionPatient, float)
        corner += 31 * 9 * (columns + rows)
        dataset.ImagePositionPatient = list(corner)
        dataset.ImageOrientationPatient = [*-columns, *-rows]
        dataset.PixelData = pixels.tobytes()

    edit_all(series, rotate)
    assert np.array_equal(read_series(series).image, tiny_case.image)


def test_series_in_a_zip_among_other_files(tmp_path, tiny_case, series):
    (series / "readme.txt").write_text("not DICOM")
    (series / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    shutil.make_archive(tmp_path / "PATIENT_DICOM", "zip", tmp_path, "series")
    shutil.make_archive(tmp_path / "both", "zip", tmp_path, "PATIENT_DICOM.zip")
    shutil.make_archive(tmp_path / "plain", "tar", tmp_path, "series")
    inner = tmp_path / "patient.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.write(tmp_path / "PATIENT_DICOM.zip", "3Dircadb1.1/PATIENT_DICOM.zip")
    for place in (
        series,
        tmp_path / "PATIENT_DICOM.zip",
        tmp_path / "PATIENT_DICOM.zip" / "series",
        tmp_path / "plain.tar",
        inner / "3Dircadb1.1" / "PATIENT_DICOM.zip",
    ):
        assert np.array_equal(read_series(place).image, tiny_case.image)


def test_slices_are_ordered_by_position_not_by_name_or_number(tmp_path, tiny_case, series):
    for index, path in enumerate(sorted(series.iterdir())):
        edit(path, InstanceNumber=99 - index)
        path.rename(path.with_name(f"x{(index * 7) % 16}"))
    assert np.array_equal(read_series(series).image, tiny_case.image)


def test_spacing_comes_from_positions(tiny_case, series):
    edit_all(series, lambda dataset: setattr(dataset, "SliceThickness", 3.0))
    assert read_series(series).spacing == pytest.approx(tiny_case.spacing)


def test_pixel_spacing_is_rows_then_columns(tmp_path, tiny_case):
    case = replace(tiny_case, affine=np.diag([0.5, 0.8, 2.0, 1.0]), image=tiny_case.image[:, :20])
    write_dicom_series(tmp_path / "series", case)
    read = read_series(tmp_path / "series")
    assert read.image.shape == (32, 20, 16)
    assert read.spacing == pytest.approx((0.5, 0.8, 2.0))


def test_rescale_slope_is_applied(tiny_case, series):
    def halve(dataset):
        dataset.PixelData = (dataset.pixel_array // 2).tobytes()
        dataset.RescaleSlope = 2

    edit_all(series, halve)
    assert np.abs(read_series(series).image - tiny_case.image).max() <= 1


def test_missing_rescale_of_unsigned_pixels(tiny_case, series):
    edit_all(series, lambda dataset: delattr(dataset, "RescaleIntercept"))
    case = read_series(series)
    assert np.array_equal(case.image, tiny_case.image)
    assert list(case.provenance["repairs"]) == ["missing_rescale"]


def test_missing_rescale_of_signed_hu(tiny_case, series):
    def store_hu(dataset):
        dataset.PixelData = (dataset.pixel_array.astype(np.int16) + LOWEST_HU).tobytes()
        dataset.PixelRepresentation = 1
        del dataset.RescaleIntercept, dataset.RescaleSlope

    edit_all(series, store_hu)
    assert np.array_equal(read_series(series).image, tiny_case.image)


@pytest.mark.parametrize("declared", [True, False])
def test_padding_of_dicom_is_clipped(tiny_case, series, declared):
    def pad(dataset):
        pixels = dataset.pixel_array.astype(np.int16) + LOWEST_HU
        pixels[:2] = -2000
        dataset.PixelData = pixels.tobytes()
        dataset.PixelRepresentation = 1
        dataset.RescaleIntercept = 0
        if declared:
            dataset.add_new("PixelPaddingValue", "SS", -2000)

    edit_all(series, pad)
    case = read_series(series)
    assert case.image.min() == LOWEST_HU
    assert (take_plane(case.image, "axial", 3)[:2] == LOWEST_HU).all()
    assert list(case.provenance["repairs"]) == ["padding"]


def test_jpeg2000(tmp_path, tiny_case, series):
    def compress(dataset):
        dataset.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False)

    edit_all(series, compress)
    case = read_series(series)
    assert np.array_equal(case.image, tiny_case.image)
    assert list(case.provenance["repairs"]) == ["jpeg2000"]


def test_twelve_of_sixteen_bits(tiny_case, series):
    def store_twelve(dataset):
        dataset.BitsStored, dataset.HighBit = 12, 11

    edit_all(series, store_twelve)
    assert np.array_equal(read_series(series).image, tiny_case.image)


def test_pictures_of_an_odd_number_of_bytes(tmp_path, tiny_case):
    """DICOM pads them with one byte."""
    odd = replace(tiny_case, image=tiny_case.image[:31, :31], mask=tiny_case.mask[:31, :31])
    write_dicom_mask(tmp_path / "liver", odd, odd.mask, "liver")
    assert np.array_equal(read_dicom_mask(tmp_path / "liver")[0], odd.mask > 0)


def test_dicom_mask_is_nonzero_and_on_the_grid(tmp_path, tiny_case):
    write_dicom_mask(tmp_path / "liver", tiny_case, tiny_case.mask > 0, "liver")
    mask, affine = read_dicom_mask(tmp_path / "liver")
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, tiny_case.mask > 0)
    assert np.allclose(affine, tiny_case.affine, atol=1e-4)


def move(folder, number, by):
    """Move one slice along z, in mm."""
    path = folder / f"image_{number}"
    position = [float(value) for value in pydicom.dcmread(path).ImagePositionPatient]
    edit(path, ImagePositionPatient=[*position[:2], position[2] + by])


def tilt(folder):
    def shear(dataset):
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y + z * np.tan(np.radians(15)), z]

    edit_all(folder, shear)


def add_series(folder, case):
    write_dicom_series(folder / "other", replace(case, volume="scan-2"))


DICOM_FAULTS = {
    "no_dicom": lambda folder, case: [path.unlink() for path in folder.iterdir()],
    "missing_slices": lambda folder, case: (folder / "image_5").unlink(),
    "uneven_slices": lambda folder, case: move(folder, 5, 1.5),
    "duplicate_slices": lambda folder, case: move(folder, 5, case.spacing[2]),
    "gantry_tilt": lambda folder, case: tilt(folder),
    "two_series": add_series,
    "localizer": lambda folder, case: edit(
        folder / "image_0", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ),
    "not_ct": lambda folder, case: edit(folder / "image_0", Modality="MR"),
    "multi_frame": lambda folder, case: edit(folder / "image_0", NumberOfFrames=2),
    "no_positions": lambda folder, case: edit(folder / "image_0", ImagePositionPatient=None),
    "mixed_directions": lambda folder, case: edit(
        folder / "image_0", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]
    ),
    "single_slice": lambda folder, case: [
        path.unlink() for path in folder.iterdir() if path.name != "image_3"
    ],
    "damaged_slices": lambda folder, case: edit(folder / "image_0", PixelData=bytes(100)),
}


@pytest.mark.parametrize("fault", DICOM_FAULTS)
def test_dicom_fault_is_named(series, tiny_case, fault):
    DICOM_FAULTS[fault](series, tiny_case)
    assert_fault(fault, read_series, series)


@pytest.mark.parametrize("keep", [200, 1500])
def test_truncated_dicom_file(series, keep):
    content = (series / "image_4").read_bytes()
    (series / "image_4").write_bytes(content[:keep])
    with pytest.raises(BadInput) as caught:
        read_series(series)
    assert caught.value.fault == "damaged_slices"
    assert "image_4" in str(caught.value)


def test_series_whose_slices_each_have_a_series_of_their_own(tiny_case, series):
    def split(dataset):
        dataset.SeriesInstanceUID = pydicom.uid.generate_uid()

    edit_all(series, split)
    assert np.array_equal(read_series(series).image, tiny_case.image)


def test_dicom_is_held_at_most_twice_while_it_is_read(tmp_path, tiny_case):
    image = np.tile(tiny_case.image, (8, 8, 4))
    write_dicom_series(tmp_path / "series", replace(tiny_case, image=image))
    tracemalloc.start()
    read_series(tmp_path / "series")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * image.nbytes + 3e6


def test_missing_path_is_named(tmp_path):
    assert_fault("missing", read_nifti, tmp_path / "no.nii.gz")
    assert_fault("missing", read_nifti_mask, tmp_path / "no.nii.gz")
    assert_fault("missing", read_series, tmp_path / "none")


def test_real_dicom(real_data):
    """3D-IRCADb-01, patient 17: spacing and order come from the files."""
    case = read_series(real_data / "3Dircadb1.17" / "PATIENT_DICOM.zip")
    assert case.image.shape == (512, 512, 119)
    assert case.spacing == pytest.approx((0.743, 0.743, 1.6), abs=1e-4)
    assert nib.aff2axcodes(case.affine) == tuple("RAS")
    assert (case.image.min(), case.image.max()) == (-1024, 1023)
