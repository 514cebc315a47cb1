"""Phantom cohorts written as the data sets we know lie on disk, so that reading needs no download.

Each writer puts one scan below `folder`, under its number in the data set, and returns the rows
that the data set's own list, where it has one, holds about the scan.
"""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.files import write_json, written_aside
from liverutils.locks import held_alone
from liverutils.parallel import in_processes
from liverutils.phantom.cohorts import COHORTS, Cohort
from liverutils.phantom.patients import make_patient
from liverutils.phantom.write import patient_count
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


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    Attributes:
        write: Writes one scan.
        first: The number of its first scan.
        write_list: Writes the data set's own list from the rows that `write` returned.
    """

    write: Callable[[Path, Case, int], list | None]
    first: int = 0
    write_list: Callable[[Path, list], None] | None = None


LAYOUTS = {
    "ircadb": Layout(write_ircadb, first=1),
    "lits": Layout(write_lits),
    "msd": Layout(write_msd, write_list=_list_msd),
    "lits-png": Layout(write_lits_png, write_list=_list_lits_png),
    "chaos": Layout(write_chaos, first=1),
    "crlm": Layout(write_crlm, first=1001),
    "totalsegmentator": Layout(write_totalsegmentator, write_list=_list_totalsegmentator),
    "folder": Layout(write_folder),
}


def write_cohort(
    layout: str,
    cohort: str,
    folder: Path | str,
    *,
    workers: int | None = None,
    progress: bool = True,
    patients: int | None = None,
) -> Path:
    """Write a phantom cohort in the layout of another data set, whole or not at all.

    Args:
        layout: One of `LAYOUTS`.
        cohort: One of `phantom.COHORTS`.
        folder: Where to; it must not exist yet, or be empty.
        workers: Processes, each holding one patient; as many as there are cores by default.
        progress: Show a progress bar.
        patients: Make only this many, the first ones.

    Raises:
        BadInput: unknown_layout, unknown_cohort, bad_count, folder_in_use, in_use, not_writable,
            disk_full, killed_worker.
    """
    for name, known, what in ((layout, LAYOUTS, "layout"), (cohort, COHORTS, "cohort")):
        if name not in known:
            raise BadInput(
                f"{name!r} is no {what} we know; take one of {', '.join(known)}.",
                fault=f"unknown_{what}",
            )
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise BadInput(
            f"{folder} exists already; remove it or name another folder.", fault="folder_in_use"
        )
    numbers = range(patient_count(COHORTS[cohort], patients))
    is_made = f"{folder} is just being made by another process: wait, or name another folder."
    with held_alone(folder, is_made), written_aside(folder) as aside:
        aside.mkdir()
        write = partial(_write_patient, LAYOUTS[layout], COHORTS[cohort], aside)
        done = in_processes(write, numbers, workers)
        bar = tqdm(done, f"writing {layout}", len(numbers), unit="patient", disable=not progress)
        rows = [row for rows in bar for row in rows]
        if write_list := LAYOUTS[layout].write_list:
            write_list(aside, rows)
    return folder


def _write_patient(layout: Layout, cohort: Cohort, folder: Path, number: int) -> Iterable[dict]:
    return layout.write(folder, make_patient(cohort, number), layout.first + number) or ()
