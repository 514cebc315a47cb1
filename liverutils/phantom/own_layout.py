"""A cohort as NIfTI volumes and two tables, the course's own layout."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from liverutils.errors import BadInput
from liverutils.phantom.cohorts import COHORTS, Cohort
from liverutils.phantom.lesion_table import LESION_COLUMNS
from liverutils.phantom.scene import Made
from liverutils.scans import LIVER, TUMOR, write_nifti

# A patient's row of patients.csv, and his rows of lesions.csv.
Rows = tuple[dict[str, Any], list[dict[str, Any]]]


def write_own(folder: Path, made: Made, number: int) -> list[Rows]:
    """Write a patient: volume, segmentation and, where they are known, organs."""
    case, lesions, organs = made
    write_nifti(folder / f"volume-{number:03d}.nii.gz", case.image, case.affine)
    write_nifti(folder / f"segmentation-{number:03d}.nii.gz", case.labels, case.affine)
    if organs is not None:
        write_nifti(folder / f"organs-{number:03d}.nii.gz", organs, case.affine)
    voxel_ml = np.prod(case.spacing) / 1000
    tumors, n_tumors = ndimage.label(case.labels == TUMOR)
    row = {
        "patient": case.patient,
        "volume": case.volume,
        **case.provenance,
        "spacing": " ".join(f"{s:.4g}" for s in case.spacing),
        "slices": case.image.shape[2],
        "liver_ml": round(float((case.labels >= LIVER).sum() * voxel_ml), 1),
        "tumor_ml": round(float((tumors > 0).sum() * voxel_ml), 2),
        "n_tumors": n_tumors,
    }
    return [(row, lesions)]


def list_own(folder: Path, rows: list[Rows]) -> None:
    """Write patients.csv and lesions.csv."""
    patients, lesions = zip(*rows, strict=True)
    pd.DataFrame(patients).to_csv(folder / "patients.csv", index=False)
    table = pd.DataFrame(list(chain(*lesions)), columns=LESION_COLUMNS)
    table.to_csv(folder / "lesions.csv", index=False)


def is_own(folder: Path, cohort: Cohort, patients: int | None) -> bool:
    """Whether the cohort asked for lies in the folder; refuse anything else that does.

    Raises:
        BadInput: folder_in_use, earlier_cohort.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    there = _read_patients(folder / "patients.csv")
    if set(there) != {cohort.name} or patients not in (None, len(there)):
        raise BadInput(
            f"{folder} exists and holds something else than the cohort asked for; remove it or "
            "name another folder.",
            fault="folder_in_use",
        )
    if cohort.name in COHORTS:
        check_cohort(folder, cohort.name)
    return True


def check_cohort(folder: Path, name: str) -> None:
    """Refuse a folder that holds the cohort `name` as it was when it had fewer patients.

    A cohort of which only a part was asked for is another thing: it has its `lesions.csv`.

    Raises:
        BadInput: earlier_cohort.
    """
    there = len(_read_patients(folder / "patients.csv"))
    if (folder / "lesions.csv").is_file() or not there:
        return
    if there < COHORTS[name].patients:
        raise BadInput(
            f"{folder} was made by an earlier version: it holds {there} of the "
            f"{COHORTS[name].patients} patients of {name} and no lesions.csv; move or remove that "
            "folder and the cohort is made anew.",
            fault="earlier_cohort",
        )


def _read_patients(path: Path) -> list[str]:
    """Return the cohort that each patient of a cohort's table is of; none where it is no such."""
    try:
        return pd.read_csv(path)["cohort"].tolist()
    except (OSError, ValueError, KeyError):
        return []
