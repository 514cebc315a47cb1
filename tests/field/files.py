"""Faults of files and folders, planted in what a case becomes on disk."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import generate_uid

from liverutils.scans import Case, list_files, write_dicom_series, write_nifti

# Writes a folder for the source `folder`, and says which faults must be named; none where it is
# right or put right.
FileCase = tuple[Callable[[Path, Case], None], set[str]]

ANY = {"*"}


def nifti(change: Callable[[nib.Nifti1Header], None], array: Callable = np.asarray) -> Callable:
    """Write image and labels with another header, and the image's voxels otherwise."""

    def write(folder: Path, case: Case) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, voxels in (("anna", array(case.image)), ("anna_mask", case.labels)):
            path = folder / f"{name}.nii"
            kind = voxels.dtype if voxels.dtype.kind in "iuf" else None
            nib.save(nib.Nifti1Image(voxels, case.affine, dtype=kind), path)
            content = path.read_bytes()
            header = nib.Nifti1Header(content[:348], check=False)
            change(header)
            path.write_bytes(header.binaryblock + content[348:])

    return write


def mask_as(change: Callable[[np.ndarray], np.ndarray], affine: Callable = np.asarray) -> Callable:
    """Write other labels beside the image."""

    def write(folder: Path, case: Case) -> None:
        write_nifti(folder / "anna.nii.gz", case.image, case.affine)
        image = nib.Nifti1Image(change(case.labels), affine(case.affine))
        nib.save(image, folder / "anna_mask.nii.gz")

    return write


def dicom(change: Callable[[pydicom.Dataset], None], only: int | None = None) -> Callable:
    """Write a series whose slices, or one of them, are changed."""

    def write(folder: Path, case: Case) -> None:
        write_dicom_series(folder / "anna", case)
        for index, path in enumerate(list_files(folder / "anna")):
            if only in (None, index):
                dataset = pydicom.dcmread(path)
                change(dataset)
                dataset.save_as(path)

    return write


def put(name: str, value: object) -> Callable[[pydicom.Dataset], None]:
    """Set an attribute, or remove it where the value is None."""

    def change(dataset: pydicom.Dataset) -> None:
        if value is None:
            delattr(dataset, name)
        elif isinstance(value, str) and name == "PixelSpacing":
            dataset[name] = pydicom.DataElement(0x00280030, "LO", value)
        else:
            setattr(dataset, name, value)

    return change


def damage(change: Callable[[bytes], bytes], indices: slice) -> Callable:
    """Change the bytes of some slices of a series."""

    def write(folder: Path, case: Case) -> None:
        write_dicom_series(folder / "anna", case)
        paths = sorted(list_files(folder / "anna"), key=lambda path: int(path.name.split("_")[1]))
        for path in paths[indices]:
            path.write_bytes(change(path.read_bytes()))

    return write


def rounded(dataset: pydicom.Dataset) -> None:
    x, y, z = (round(float(value), 1) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y, z]


def colours(array: np.ndarray) -> np.ndarray:
    voxels = np.zeros(array.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    voxels["R"] = array.clip(0, 255)
    return voxels


def microns(header: nib.Nifti1Header) -> None:
    """Sizes and unit agree, but there is no micrometre CT of a body: a program's slip."""
    header["xyzt_units"] = 3
    for row in ("srow_x", "srow_y", "srow_z", "pixdim"):
        header[row] = header[row] * 1000
    header["pixdim"][0] = 1


def without_sform(header: nib.Nifti1Header) -> None:
    header["sform_code"] = header["qform_code"] = 1
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] = 0


def long_quaternion(folder: Path, case: Case) -> None:
    """Half a turn about the back-to-front axis, by a rounding error longer than 1."""

    def change(header: nib.Nifti1Header) -> None:
        header["sform_code"], header["qform_code"] = 0, 1
        header["quatern_b"], header["quatern_c"], header["quatern_d"] = 0, 1.0000002, 0

    turned = replace(case, image=case.image[::-1, :, ::-1], mask=case.labels[::-1, :, ::-1])
    nifti(change)(folder, turned)


def unchanged(_: object) -> None:
    """A right file."""


def symlinked(folder: Path, case: Case) -> None:
    write_nifti(folder.parent / "elsewhere" / "ct.nii.gz", case.image, case.affine)
    write_nifti(folder.parent / "elsewhere" / "mask.nii.gz", case.labels, case.affine)
    folder.mkdir()
    (folder / "anna").symlink_to(folder.parent / "elsewhere")


def slices_of(folder: Path) -> list[tuple[Path, pydicom.Dataset]]:
    """The slices of a written series, from the feet to the head."""
    paths = sorted(list_files(folder), key=lambda path: int(path.name.split("_")[1]))
    return [(path, pydicom.dcmread(path)) for path in paths]


def moved(place: Callable[[int, int], np.ndarray | tuple]) -> Callable:
    """Write a series whose slices are moved by so many mm, given their number and how many."""

    def write(folder: Path, case: Case) -> None:
        write_dicom_series(folder / "anna", case)
        slices = slices_of(folder / "anna")
        for index, (path, dataset) in enumerate(slices):
            position = np.array(dataset.ImagePositionPatient, float)
            dataset.ImagePositionPatient = [*(position + place(index, len(slices)))]
            dataset.save_as(path)

    return write


def again(change: Callable[[pydicom.Dataset], None], prefix: str = "again_") -> Callable:
    """Write a series, and each slice once more, changed."""

    def write(folder: Path, case: Case) -> None:
        write_dicom_series(folder / "anna", case)
        for path, dataset in slices_of(folder / "anna"):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            change(dataset)
            dataset.save_as(path.with_name(f"{prefix}{path.name}"))

    return write


def beside(name: str, content: bytes, count: int = 1) -> Callable:
    """Write a series with files beside it that are no slices."""

    def write(folder: Path, case: Case) -> None:
        write_dicom_series(folder / "anna", case)
        for index in range(count):
            (folder / "anna" / name.format(index)).write_bytes(content)

    return write


def with_scan(name: str) -> Callable:
    """Write a right scan and another file in the folder."""

    def write(folder: Path, case: Case) -> None:
        nifti(unchanged)(folder, case)
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "anna_mask.nii", folder / name)

    return write


def as_array(dtype: str) -> Callable:
    """Write the voxels as another type."""
    return nifti(unchanged, lambda v: v.astype(dtype))


def sheared(folder: Path, case: Case) -> None:
    affine = case.affine.copy()
    affine[1, 2] = np.tan(np.radians(15)) * affine[2, 2]
    write_nifti(folder / "anna.nii", case.image, affine)


def zipped_twice(folder: Path, case: Case) -> None:
    write_dicom_series(folder.parent / "in" / "series", case)
    inner = shutil.make_archive(str(folder.parent / "one" / "anna"), "zip", folder.parent / "in")
    folder.mkdir()
    shutil.make_archive(str(folder / "both"), "zip", Path(inner).parent)


def linked_images(folder: Path, case: Case) -> None:
    write_nifti(folder.parent / "far" / "anna_0000.nii.gz", case.image, case.affine)
    write_nifti(folder / "labelsTr" / "anna.nii.gz", case.labels, case.affine)
    (folder / "imagesTr").symlink_to(folder.parent / "far")


def emptied(folder: Path, case: Case) -> None:
    nifti(unchanged)(folder, case)
    write_dicom_series(folder / "bert", case)
    for path in list_files(folder / "bert"):
        path.write_bytes(b"")


def nearly(affine: np.ndarray) -> np.ndarray:
    affine = affine.copy()
    affine[0, 0] *= 0.9984
    return affine


def phase(dataset: pydicom.Dataset) -> None:
    dataset.AcquisitionNumber = 2


def moved_head(dataset: pydicom.Dataset) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x + 60, y, z + 2000]


FILES: dict[str, FileCase] = {
    "NIfTI as it should be": (nifti(unchanged), set()),
    "sform zero, qform good": (nifti(without_sform), set()),
    "quaternion a hair above 1": (long_quaternion, set()),
    "2D NIfTI": (nifti(unchanged, lambda v: v[..., 5]), ANY),
    "RGB NIfTI": (nifti(unchanged, colours), ANY),
    "microns": (nifti(microns), ANY),
    "float64 image": (nifti(unchanged, lambda v: v.astype(np.float64)), set()),
    "labels 0 and 255": (mask_as(lambda m: (m > 0).astype(np.uint8) * np.uint8(255)), set()),
    "labels with an identity affine": (mask_as(np.asarray, lambda a: np.eye(4)), set()),
    "labels with one slice less": (mask_as(lambda m: m[..., 1:]), {"different_grids"}),
    "labels with 3": (
        mask_as(lambda m: np.where(m == 0, 3, m).astype(np.uint8)),
        {"unknown_labels"},
    ),
    "DICOM as it should be": (dicom(unchanged), set()),
    "PixelSpacing 1,383": (dicom(put("PixelSpacing", "1,383\\1,383")), ANY),
    "PixelSpacing nan": (dicom(put("PixelSpacing", "nan\\nan")), ANY),
    "PixelSpacing with one value": (dicom(put("PixelSpacing", "1.4")), ANY),
    "PixelSpacing 0": (dicom(put("PixelSpacing", "0\\0")), ANY),
    "PixelSpacing changes in the series": (dicom(put("PixelSpacing", [9, 9]), only=7), ANY),
    "positions rounded to 0.1 mm": (dicom(rounded), set()),
    "no SOPInstanceUID": (dicom(put("SOPInstanceUID", None)), set()),
    "another object in the folder": (dicom(put("Modality", "SEG"), only=7), ANY),
    "last slices of 0 bytes": (damage(lambda b: b"", slice(-4, None)), ANY),
    "last slices without the DICM mark": (damage(lambda b: b[132:], slice(-4, None)), set()),
    "last slices cut short": (damage(lambda b: b[: len(b) // 2], slice(-4, None)), ANY),
    "first slices of 0 bytes": (damage(lambda b: b"", slice(0, 4)), ANY),
    "a symlinked patient": (symlinked, set()),
    "symlinked images of nnU-Net": (linked_images, set()),
    "increments of 4 and 7 mm": (
        moved(lambda i, n: (0, 0, 3 * max(0, i - n // 2))),
        {"uneven_slices"},
    ),
    "a gantry tilted by 10 degrees": (moved(lambda i, n: (0, i, 0)), {"gantry_tilt"}),
    "one slice 3 mm aside": (moved(lambda i, n: (3 * (i == 5), 0, 0)), {"two_volumes"}),
    "two phases in one series": (again(phase), {"two_phases"}),
    "every slice twice": (again(unchanged), ANY),
    "two sub-volumes in one series": (again(moved_head), ANY),
    "two series in one folder": (again(put("SeriesInstanceUID", "1.2.3")), {"two_series"}),
    "a localizer beside the series": (
        dicom(put("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), only=3),
        {"localizer"},
    ),
    "a slice of MR": (dicom(put("Modality", "MR"), only=3), {"not_ct"}),
    "no RescaleIntercept": (dicom(put("RescaleIntercept", None)), {"missing_rescale"}),
    "no ImagePositionPatient": (dicom(put("ImagePositionPatient", None)), {"no_positions"}),
    "no SliceThickness": (dicom(put("SliceThickness", None)), set()),
    "a slice without pixels": (dicom(put("PixelData", None), only=9), {"damaged_slices"}),
    "an absurd number of rows": (dicom(put("Rows", 65535)), ANY),
    "notes before the slices": (beside("A{}", b"a note", 8), {"passed_over"}),
    "notes of a system beside the slices": (beside("._image_{}", b"\0" * 200, 3), set()),
    "a mask of another name": (with_scan("bert_mask.nii"), {"not_used"}),
    "a scan in another format": (with_scan("bert.nrrd"), {"not_used"}),
    "a patient of empty files": (emptied, {"not_used"}),
    "NIfTI with its axes sheared": (sheared, {"gantry_tilt"}),
    "int64 image": (as_array("<i8"), set()),
    "float32 image": (as_array("<f4"), set()),
    "labels of probabilities": (mask_as(lambda m: (m > 0) * np.float32(0.9)), set()),
    "labels with -1": (mask_as(lambda m: m.astype(np.int16) - 1), {"unknown_labels"}),
    "labels on voxels of 0.9984": (mask_as(np.asarray, nearly), {"different_grids"}),
    "a zip in a zip": (zipped_twice, set()),
}
