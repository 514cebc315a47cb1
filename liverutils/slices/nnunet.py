"""A data set in nnU-Net's raw format, with the course's split."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.files import write_json, written_aside
from liverutils.folders import FolderKind, check_own
from liverutils.locks import one_at_a_time
from liverutils.parallel import in_processes
from liverutils.scans import LIVER, TUMOR, on_disk, read_case, write_nifti
from liverutils.slices.cut import cut_case
from liverutils.slices.splits import Split, split_patients
from liverutils.sources import SOURCES, CaseFiles

NNUNET = FolderKind(
    "nnU-Net data set",
    marker="dataset.json",
    files=("dataset.json", "splits_final.json", "*/*.nii.gz"),
)

# As nnU-Net finds it: a number of three digits and a name.
NAME = re.compile(r"Dataset\d{3}_\w+")

LABELS = {"background": 0, "liver": LIVER, "tumor": TUMOR}


def export_nnunet(
    cases: Sequence[CaseFiles],
    out: Path | str,
    *,
    split: Split | None = None,
    size: int = 256,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    raw: Path | str | None = None,
) -> Split:
    """Write scans in nnU-Net's raw format, whole or not at all.

    `imagesTr` and `labelsTr` hold the patients for training and validation, `splits_final.json`
    says which are which (one fold, which nnU-Net's planner takes over), `imagesTs` the held-out
    ones and `labelsTs`, which nnU-Net does not look at, their labels for `liverutils evaluate`.
    Scans are written in RAS, as int16 HU. One without labels can only be predicted: `imagesTs`.

    Args:
        cases: What `sources.find_cases` returns.
        out: The folder, new or empty, named as nnU-Net asks for: `Dataset501_Liver`.
        split: Of the patients; by default that of a course store of `size` pixels.
        size: Side of that store's pictures, from whose pixels the tumour load is counted.
        seed: Of that split.
        workers: Processes; one per core by default.
        progress: Show a progress bar.
        raw: The folder or archive in which the cases were found; the data set cannot lie in it.

    Raises:
        BadInput: bad_name, no_cases, too_few_patients, folder_in_use, not_writable, disk_full, and
            what reading a case raises.
    """
    out = Path(out)
    if not NAME.fullmatch(out.name):
        raise BadInput(
            f"{out.name!r} is no name by which nnU-Net finds a data set: call the folder"
            " DatasetNNN_NAME, such as Dataset501_Liver.",
            fault="bad_name",
        )
    if not cases:
        raise BadInput("There is no case to export.", fault="no_cases")
    reads = {on_disk(place) for case in cases for place in (case.image, case.mask) if place}
    check_own(out, NNUNET, reads=reads | ({Path(raw)} if raw else set()))
    with one_at_a_time(out), written_aside(out) as aside:
        for part in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
            (aside / part).mkdir(parents=True)
        write = partial(_write_case, aside, size)
        rows = in_processes(write, cases, workers)
        shown = tqdm(rows, "exporting", len(cases), unit="scan", disable=not progress)
        tables = [table for table in shown if table is not None]
        if not tables:
            raise BadInput(
                "None of the scans has labels, so there is nothing to train on.", fault="no_labels"
            )
        labelled = pd.concat(tables, ignore_index=True)
        split = split or split_patients(labelled, seed=seed)
        learned = set(labelled.volume[labelled.patient.isin([*split.train, *split.valid])])
        trained = [case for case in cases if case.volume in learned]
        for case in trained:
            for kind, name in (("images", f"{case.volume}_0000"), ("labels", case.volume)):
                file = Path(f"{kind}Ts") / f"{name}.nii.gz"
                (aside / file).replace(aside / f"{kind}Tr" / file.name)
        write_json(aside / "dataset.json", _describe(cases[0].source, len(trained)))
        write_json(aside / "splits_final.json", [_fold(trained, split)])
    return split


def _write_case(folder: Path, size: int, files: CaseFiles) -> pd.DataFrame | None:
    """Write one scan among the held-out ones; return its slices, or None without labels."""
    case = read_case(files)
    write_nifti(folder / "imagesTs" / f"{case.volume}_0000.nii.gz", case.image, case.affine)
    if case.mask is None:
        return None
    write_nifti(folder / "labelsTs" / f"{case.volume}.nii.gz", case.mask, case.affine)
    return cut_case(case, "axial", size)[2]


def _describe(source: str, trained: int) -> dict:
    known = SOURCES[source]
    return {
        # Grey values too are CT's: a tissue is as grey in one scan as in another.
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": trained,
        "file_ending": ".nii.gz",
        "name": known.title,
        "reference": known.citation,
        "licence": known.licence,
    }


def _fold(trained: Sequence[CaseFiles], split: Split) -> dict[str, list[str]]:
    parts = {"train": split.train, "val": split.valid}
    return {
        name: [case.volume for case in trained if case.patient in patients]
        for name, patients in parts.items()
    }
