"""A notebook's data: scans and slice stores by name."""

from pathlib import Path

from liverutils.course.repository import resolve
from liverutils.errors import BadInput
from liverutils.phantom import COHORTS, make_cohort
from liverutils.scans import Case, View
from liverutils.slices import SliceStore, build_store
from liverutils.sources import CaseFiles, find_cases


def find_course_cases(dataset: str, data_dir: str | Path) -> list[CaseFiles]:
    """List the scans of a notebook's `dataset`; a phantom cohort is made on the first call.

    Args:
        dataset: One of `sources.SOURCES`, among them the phantom cohorts.
        data_dir: For a phantom the folder of all data sets, which gets `<dataset>/raw`; otherwise
            the folder or archive of the data set itself.

    Raises:
        BadInput: As `sources.find_cases`.
    """
    raw = _raw(dataset, data_dir)
    if dataset in COHORTS:
        make_cohort(dataset, raw)
    return find_cases(dataset, raw)


def _raw(dataset: str, data_dir: str | Path) -> Path:
    """The folder or archive of the scans themselves."""
    raw = resolve(data_dir)
    return raw / dataset / "raw" if dataset in COHORTS else raw


# Of the phantom: dark, bright and necrotic tumours, and cysts.
EXAMPLE = "phantom-043"


def load_patient(cases: list[CaseFiles], patient: str = "") -> Case:
    """Read the scan of `patient`, which must have labels.

    Args:
        cases: The scans to choose from.
        patient: Name of a patient; if empty, `EXAMPLE` where it is among them, else the one in the
            middle of the list.

    Raises:
        BadInput: There is no such patient, or no labels; what `CaseFiles.load` raises.
    """
    names = [case.patient for case in cases]
    if patient and patient not in names:
        raise BadInput(
            f"There is no patient {patient!r}; choose one of {', '.join(names)}.",
            fault="unknown_patient",
        )
    if not patient and EXAMPLE in names:
        patient = EXAMPLE
    case = cases[names.index(patient) if patient else len(cases) // 2].load()
    if case.mask is None or not case.mask.any():
        raise BadInput(
            f"Nobody has drawn the liver of {case.patient}: choose a patient with labels.",
            fault="no_labels",
        )
    return case


def open_course_store(
    dataset: str, data_dir: str | Path, view: View, image_size: int
) -> SliceStore:
    """Open the slice store of a notebook's `dataset`, built in `data/` on the first call.

    Args:
        dataset: As for `find_course_cases`.
        data_dir: As for `find_course_cases`.
        view: The axis to cut along.
        image_size: Side of the square pictures in pixels.

    Raises:
        BadInput: As `sources.find_cases` and `slices.build_store`.
    """
    folder = resolve(f"data/{dataset}/{view}-{image_size}")
    cases = find_course_cases(dataset, data_dir)
    raw = _raw(dataset, data_dir)
    return build_store(cases, folder, view=view, size=image_size, raw=raw)
