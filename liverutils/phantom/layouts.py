"""Phantom cohorts written as the data sets we know lie on disk, so that reading needs no download.

Each writer puts one scan below `folder`, under its number in the data set, and returns the rows
that the data set's own list, where it has one, holds about the scan.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from liverutils.errors import BadInput
from liverutils.files import write_json
from liverutils.phantom.cohorts import Cohort
from liverutils.phantom.own_layout import is_own, list_own, write_own
from liverutils.phantom.scene import Made
from liverutils.scans import (
    LIVER,
    LOWEST_HU,
    TUMOR,
    Case,
    take_plane,
    write_dicom_mask,
    write_dicom_series,
    write_nifti,
)

BONE_HU = 300


# HU per grey, so that the liver lies near 140, where it is in the pictures of LiTS-PNG.
GREY_STEP_HU = 8


# Of TotalSegmentator's meta.csv.
META_COLUMNS = (
    *("image_id", "age", "gender", "institute", "study_type", "split", "manufacturer"),
    *("scanner_model", "kvp", "pathology", "pathology_location"),
)


def write_ircadb(folder: Path, case: Case, number: int, liver_holds_tumors: bool = True) -> None:
    """Write a patient of 3D-IRCADb-01: zips of DICOM, a folder for each structure and tumour.

    Args:
        liver_holds_tumors: In the real data some masks of the liver hold its tumours, some do not.
    """
    patient = folder / f"3Dircadb1.{number}"
    masks = patient / "MASKS_DICOM"
    liver = case.labels >= LIVER if liver_holds_tumors else case.labels == LIVER
    write_dicom_series(patient / "PATIENT_DICOM", case)
    write_dicom_mask(masks / "liver", case, liver, "liver")
    write_dicom_mask(masks / "bone", case, case.image > BONE_HU, "bone")
    tumors, n_tumors = ndimage.label(case.labels == TUMOR)
    for index in range(1, n_tumors + 1):
        name = f"livertumor{index:02d}"
        write_dicom_mask(masks / name, case, tumors == index, name)
    for part in ("PATIENT_DICOM", "MASKS_DICOM"):
        shutil.make_archive(str(patient / part), "zip", patient, part)
        shutil.rmtree(patient / part)


def write_lits(folder: Path, case: Case, number: int) -> None:
    """Write a volume of LiTS: uncompressed NIfTI, all in one folder."""
    write_nifti(folder / f"volume-{number}.nii", case.image, case.affine)
    write_nifti(folder / f"segmentation-{number}.nii", case.labels, case.affine)


def write_msd(folder: Path, case: Case, number: int) -> list[dict[str, str]]:
    """Write a volume of Task03_Liver; return its entry in `dataset.json`."""
    name = f"liver_{number}.nii.gz"
    files = {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"}
    write_nifti(folder / "Task03_Liver" / files["image"], case.image, case.affine)
    write_nifti(folder / "Task03_Liver" / files["label"], case.labels, case.affine)
    return [files]


def write_lits_png(folder: Path, case: Case, number: int) -> list[dict[str, object]]:
    """Write a volume of LiTS-PNG: grey slices, masks of 0 and 1; return its rows of `classes.csv`.

    The slices keep the scan's own size, where those of the data set have 256 pixels a side.
    """
    grey, rows = as_grey(case.image), []
    for index in range(grey.shape[2]):
        names = {
            "filename": f"volume-{number}_{index}.png",
            "liver_segmentation": f"segmentation-{number}_livermask_{index}.png",
            "lesion_segmentation": f"segmentation-{number}_lesionmask_{index}.png",
        }
        labels = case.labels[..., index].T
        save_png(folder / "volumes" / names["filename"], grey[..., index].T)
        masks = folder / "segmentations"
        save_png(masks / names["liver_segmentation"], (labels >= LIVER).view(np.uint8))
        save_png(masks / names["lesion_segmentation"], (labels == TUMOR).view(np.uint8))
        visible = {
            "liver_visible": bool((labels >= LIVER).any()),
            "lesion_visible": bool((labels == TUMOR).any()),
        }
        rows.append({**names, **visible})
    return rows


def write_chaos(folder: Path, case: Case, number: int) -> None:
    """Write a CT of CHAOS: DICOM and PNG masks of the liver, both counted from the head."""
    place = folder / "Train_Sets" / "CT" / str(number)
    write_dicom_series(place / "DICOM_anon", case)
    depth = case.image.shape[2]
    for index in range(depth):
        from_head = depth - 1 - index
        slice_path = place / "DICOM_anon" / f"image_{index}"
        slice_path.rename(slice_path.with_name(f"i{from_head:04d},0000b.dcm"))
        liver = take_plane(case.labels, "axial", index) >= LIVER
        save_png(place / "Ground" / f"liver_GT_{from_head:03d}.png", liver * np.uint8(255))


def write_crlm(folder: Path, case: Case, number: int) -> None:
    """Write a patient of Colorectal-Liver-Metastases: a CT series, and a DICOM SEG of its masks."""
    # highdicom takes a second to import.
    from liverutils.scans import write_dicom_seg

    patient = folder / f"CRLM-CT-{number}"
    write_dicom_series(patient / "1.000000-CT", case)
    seg = patient / "1000.000000-Segmentation" / "1-1.dcm"
    seg.parent.mkdir()
    write_dicom_seg(seg, case.labels, patient / "1.000000-CT", "phantom")


def write_totalsegmentator(folder: Path, case: Case, number: int) -> list[dict[str, str]]:
    """Write a scan of TotalSegmentator's data set: the CT, and a file for the liver.

    Returns:
        Its row in `meta.csv`, of which the split alone is more than a blank here.
    """
    scan = folder / f"s{number:04d}"
    write_nifti(scan / "ct.nii.gz", case.image, case.affine)
    liver = (case.labels >= LIVER).astype(np.uint8)
    write_nifti(scan / "segmentations" / "liver.nii.gz", liver, case.affine)
    return [{**dict.fromkeys(META_COLUMNS, ""), "image_id": scan.name, "split": "train"}]


def write_folder(folder: Path, case: Case, number: int) -> None:
    """Write a scan as one's own may lie: a folder per patient."""
    patient = folder / f"patient-{number:03d}"
    write_nifti(patient / "ct.nii.gz", case.image, case.affine)
    write_nifti(patient / "mask.nii.gz", case.labels, case.affine)


def as_grey(image: np.ndarray) -> np.ndarray:
    """Turn HU into 8-bit greys, from -1024 HU up, as LiTS-PNG has lost its HU."""
    grey = (image.astype(np.int32) - LOWEST_HU) // GREY_STEP_HU
    return grey.clip(0, 255).astype(np.uint8)


def save_png(path: Path, picture: np.ndarray) -> None:
    """Write 8-bit pixels (rows, columns) as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(picture)).save(path)


def _list_msd(folder: Path, rows: list[dict[str, str]]) -> None:
    content = {
        "name": "Liver",
        "description": "Synthetic scans in the layout of Task03_Liver",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "numTraining": len(rows),
        "numTest": 0,
        "training": rows,
        "test": [],
    }
    write_json(folder / "Task03_Liver" / "dataset.json", content)


def _list_totalsegmentator(folder: Path, rows: list[dict[str, str]]) -> None:
    pd.DataFrame(rows).to_csv(folder / "meta.csv", sep=";", index=False, encoding="utf-8-sig")


def _list_lits_png(folder: Path, rows: list[dict[str, object]]) -> None:
    pd.DataFrame(rows).to_csv(folder / "classes.csv", index=False)


def _refuse_full(folder: Path, cohort: Cohort, patients: int | None) -> bool:
    """Refuse a folder that holds something: whether that is the cohort, other layouts don't say."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise BadInput(
            f"{folder} exists already; remove it or name another folder.", fault="folder_in_use"
        )
    return False


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    Attributes:
        write: Writes one patient, under the number that he has in the data set.
        first: The number of its first scan.
        write_list: Writes the data set's own lists from the rows that `write` returned.
        is_there: Whether a folder holds the cohort, of which so many patients were asked for;
            raises where it holds something else.
    """

    write: Callable[[Path, Made, int], list | None]
    first: int = 0
    write_list: Callable[[Path, list], None] | None = None
    is_there: Callable[[Path, Cohort, int | None], bool] = _refuse_full


def _of_case(
    write: Callable[[Path, Case, int], list | None],
) -> Callable[[Path, Made, int], list | None]:
    return partial(_write_case, write)


def _write_case(
    write: Callable[[Path, Case, int], list | None], folder: Path, made: Made, number: int
) -> list | None:
    return write(folder, made.case, number)


LAYOUTS = {
    "phantom": Layout(write_own, write_list=list_own, is_there=is_own),
    "ircadb": Layout(_of_case(write_ircadb), first=1),
    "lits": Layout(_of_case(write_lits)),
    "msd": Layout(_of_case(write_msd), write_list=_list_msd),
    "lits-png": Layout(_of_case(write_lits_png), write_list=_list_lits_png),
    "chaos": Layout(_of_case(write_chaos), first=1),
    "crlm": Layout(_of_case(write_crlm), first=1001),
    "totalsegmentator": Layout(_of_case(write_totalsegmentator), write_list=_list_totalsegmentator),
    "folder": Layout(_of_case(write_folder)),
}
