"""Write a cohort to disk, once, in the layout asked for."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.locks import one_at_a_time
from liverutils.parallel import in_processes
from liverutils.phantom.cohorts import COHORTS, Cohort
from liverutils.phantom.layouts import LAYOUTS, Layout
from liverutils.phantom.patients import make_all


def make_cohort(
    name: str,
    folder: Path | str,
    *,
    layout: str = "phantom",
    workers: int | None = None,
    progress: bool = True,
    patients: int | None = None,
    seed: int | None = None,
) -> Path:
    """Write a cohort, whole or not at all.

    Args:
        name: One of `COHORTS`.
        folder: Where to. If the cohort is there already in the course's own layout, nothing is
            done; in another layout the folder must not exist yet, or be empty.
        layout: One of `layouts.LAYOUTS`: the data set whose files those of the cohort resemble.
        workers: Processes, each holding one patient; as many as there are cores by default. The
            files do not depend on it.
        progress: Show a progress bar.
        patients: Make only this many, the first ones.
        seed: Another than the cohort's own, which gives other patients, named after it: a cohort
            for one group of a class, say.

    Returns:
        `folder`; by default with volume-NNN.nii.gz, segmentation-NNN.nii.gz, patients.csv and
        lesions.csv (see `lesion_rows`).

    Raises:
        BadInput: unknown_cohort, unknown_layout, bad_count, folder_in_use, earlier_cohort,
            not_writable, disk_full, killed_worker.
    """
    for wanted, known, what in ((layout, LAYOUTS, "layout"), (name, COHORTS, "cohort")):
        if wanted not in known:
            raise BadInput(
                f"{wanted!r} is no {what} we know; take one of {', '.join(known)}.",
                fault=f"unknown_{what}",
            )
    folder, cohort, form = Path(folder), COHORTS[name], LAYOUTS[layout]
    if seed is not None:
        cohort = replace(cohort, name=f"{name}-seed{seed}", seed=seed)
    count = _patient_count(cohort, patients)
    if form.is_there(folder, cohort, patients):
        return folder
    with one_at_a_time(folder):
        if form.is_there(folder, cohort, patients):
            return folder
        with written_aside(folder) as aside:
            aside.mkdir()
            done = in_processes(partial(_write_patient, form, cohort, aside), range(count), workers)
            bar = tqdm(done, f"making {name}", count, unit="patient", disable=not progress)
            rows = [row for rows in bar for row in rows]
            if form.write_list:
                form.write_list(aside, rows)
    return folder


def _patient_count(cohort: Cohort, patients: int | None) -> int:
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


def _write_patient(form: Layout, cohort: Cohort, folder: Path, number: int) -> Iterable[Any]:
    return form.write(folder, make_all(cohort, number), form.first + number) or ()
