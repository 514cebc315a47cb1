"""Write a cohort to disk, once."""

from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.locks import one_at_a_time
from liverutils.parallel import in_processes
from liverutils.phantom.cohorts import COHORTS, Cohort
from liverutils.phantom.lesion_table import LESION_COLUMNS
from liverutils.phantom.patients import make_all
from liverutils.scans import LIVER, TUMOR, write_nifti


def make_cohort(
    name: str,
    folder: Path | str,
    *,
    workers: int | None = None,
    progress: bool = True,
    patients: int | None = None,
    seed: int | None = None,
) -> Path:
    """Write a cohort as NIfTI volumes and two tables, whole or not at all.

    Args:
        name: One of `COHORTS`.
        folder: Where to; if the cohort is there already, nothing is done.
        workers: Processes; as many as there are cores by default. The files do not depend on it.
        progress: Show a progress bar.
        patients: Make only this many, the first ones.
        seed: Another than the cohort's own, which gives other patients, named after it: a cohort
            for one group of a class, say.

    Returns:
        `folder`, with volume-NNN.nii.gz, segmentation-NNN.nii.gz, patients.csv and lesions.csv
        (see `lesion_rows`).

    Raises:
        BadInput: unknown_cohort, bad_count, folder_in_use, earlier_cohort, not_writable, disk_full,
            killed_worker.
    """
    if name not in COHORTS:
        raise BadInput(
            f"There is no phantom cohort {name!r}; choose one of {', '.join(COHORTS)}.",
            fault="unknown_cohort",
        )
    folder, cohort = Path(folder), COHORTS[name]
    if seed is not None:
        cohort = replace(cohort, name=f"{name}-seed{seed}", seed=seed)
    count = patient_count(cohort, patients)
    if _is_there(folder, cohort, patients):
        return folder
    with one_at_a_time(folder):
        if _is_there(folder, cohort, patients):
            return folder
        with written_aside(folder) as aside:
            aside.mkdir()
            rows = in_processes(partial(_write_patient, cohort, aside), range(count), workers)
            bar = tqdm(rows, f"making {name}", count, unit="patient", disable=not progress)
            patients_rows, lesions_rows = zip(*bar, strict=True)
            pd.DataFrame(patients_rows).to_csv(aside / "patients.csv", index=False)
            lesions = pd.DataFrame(list(chain(*lesions_rows)), columns=LESION_COLUMNS)
            lesions.to_csv(aside / "lesions.csv", index=False)
    return folder


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


def patient_count(cohort: Cohort, patients: int | None) -> int:
    """Return how many patients are made: those asked for, or all.

    Raises:
        BadInput: bad_count.
    """
    count = cohort.patients if patients is None else patients
    if count < 1:
        raise BadInput(
            f"A phantom cohort of {count} patients cannot be made; ask for at least 1.",
            fault="bad_count",
        )
    return count


def _is_there(folder: Path, cohort: Cohort, patients: int | None) -> bool:
    """Whether the cohort asked for lies in the folder; refuse anything else that does."""
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


def _read_patients(path: Path) -> list[str]:
    """Return the cohort that each patient of a cohort's table is of; none where it is no such."""
    try:
        return pd.read_csv(path)["cohort"].tolist()
    except (OSError, ValueError, KeyError):
        return []


def _write_patient(cohort: Cohort, folder: Path, number: int) -> tuple[dict, list[dict]]:
    case, lesions, organs = make_all(cohort, number)
    write_nifti(folder / f"volume-{number:03d}.nii.gz", case.image, case.affine)
    write_nifti(folder / f"segmentation-{number:03d}.nii.gz", case.labels, case.affine)
    if organs is not None:
        write_nifti(folder / f"organs-{number:03d}.nii.gz", organs, case.affine)
    voxel_ml = np.prod(case.spacing) / 1000
    tumors, n_tumors = ndimage.label(case.labels == TUMOR)
    facts = {
        "patient": case.patient,
        "volume": case.volume,
        **case.provenance,
        "spacing": " ".join(f"{s:.4g}" for s in case.spacing),
        "slices": case.image.shape[2],
        "liver_ml": round(float((case.labels >= LIVER).sum() * voxel_ml), 1),
        "tumor_ml": round(float((tumors > 0).sum() * voxel_ml), 2),
        "n_tumors": n_tumors,
    }
    return facts, lesions
