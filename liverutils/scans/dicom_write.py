"""Write a case as a DICOM series, as a scanner or a drawing program does."""

from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from liverutils.scans.case import LOWEST_HU, Case, as_picture
from liverutils.scans.dicom import LPS_TO_RAS


def write_dicom_series(folder: Path | str, case: Case) -> None:
    """Write the image as a CT series, one file `image_N` per slice as 3D-IRCADb-01 has them."""
    stored = (case.image.astype(np.int32) - LOWEST_HU).astype(np.uint16)
    _write_series(Path(folder), stored, case, "CT", intercept=LOWEST_HU)


def write_dicom_mask(folder: Path | str, case: Case, structure: np.ndarray, name: str) -> None:
    """Write one structure (X, Y, Z) of `case` as a series of 8-bit pictures, 0 and 255."""
    _write_series(Path(folder), (structure != 0).astype(np.uint8) * np.uint8(255), case, name)


def _write_series(
    folder: Path, stored: np.ndarray, case: Case, description: str, intercept: int = 0
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(stored.shape[2]):
        dataset = _new_slice(case, index, description)
        picture = np.ascontiguousarray(as_picture(stored[..., index]))
        dataset.Rows, dataset.Columns = picture.shape
        dataset.BitsAllocated = dataset.BitsStored = picture.itemsize * 8
        dataset.HighBit = dataset.BitsStored - 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, intercept
        dataset.PixelData = picture.tobytes()
        dataset.save_as(folder / f"image_{index}", enforce_file_format=True)


def _new_slice(case: Case, index: int, description: str) -> Dataset:
    """Return a slice of `case` without its pixels: rows to the back, columns to the left."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    names = [case.patient, case.volume, description]
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=names[:2])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[*names[:2], "frame"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=names)
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[*names, str(index)])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality, dataset.ImageType = "CT", ["DERIVED", "PRIMARY", "AXIAL"]
    dataset.PatientName = dataset.PatientID = case.patient
    dataset.SeriesDescription, dataset.InstanceNumber = description, index + 1
    to_lps, spacing = LPS_TO_RAS @ case.affine, case.spacing
    corner = [case.image.shape[0] - 1, case.image.shape[1] - 1, index]
    position = nib.affines.apply_affine(to_lps, corner)
    columns, rows = (-to_lps[:3, axis] / spacing[axis] for axis in (0, 1))
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.8f}" for value in (*columns, *rows)]
    dataset.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
    dataset.SliceThickness = f"{spacing[2]:.6f}"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelRepresentation = 0
    return dataset
