"""Faults of files and folders, planted in what a case becomes on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

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
            nib.save(nib.Nifti1Image(voxels, case.affine), path)
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
}
