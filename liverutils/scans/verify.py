"""What can be wrong with a scan, each with a name and a sentence that tells what to do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.parallel import in_processes
from liverutils.scans.anatomy import (
    Anatomy,
    labelled_on_left,
    liver_not_covered,
    liver_on_left,
    lungs_below,
    spine_runs_across,
    turned_body,
)
from liverutils.scans.case import Case
from liverutils.scans.faults import FAULTS, Finding
from liverutils.scans.hounsfield import lacks_air, scale_fault
from liverutils.scans.masks import label_faults, odd_volume
from liverutils.scans.thinned import thinned


class Loadable(Protocol):
    """Files of a scan, such as `sources.CaseFiles`."""

    @property
    def patient(self) -> str:
        """The person."""

    @property
    def volume(self) -> str:
        """The scan."""

    def load(self) -> Case:
        """Read the scan, or raise BadInput."""


def verify_case(files: Loadable | Case) -> list[Finding]:
    """Read a scan, once, and return all that is wrong with it; nothing for a clean one."""
    return _inspect(files)[1]


def verify_cases(
    cases: Sequence[Loadable | Case], *, workers: int | None = None, progress: bool = False
) -> pd.DataFrame:
    """Verify scans; one row per scan, whatever befalls the reading of one.

    Args:
        cases: What `sources.find_cases` returns, or cases in memory.
        workers: Processes, each holding one scan; one per core by default, 1 stays in this one.
        progress: Show a progress bar.

    Returns:
        patient, volume, shape, spacing_mm (None where unread or unknown), severity ("ok",
        "warning" or "error"), faults (names, comma-separated) and findings (list of sentences).
    """
    rows = in_processes(_verified_row, cases, workers)
    bar = tqdm(rows, "verifying", len(cases), unit="scan", disable=not progress)
    return pd.DataFrame(list(bar))


def doubts_of_liver(case: Case, liver: np.ndarray) -> list[str]:
    """Say in sentences what is odd about a liver (X, Y, Z) that a network found in a scan.

    Networks find livers in legs, too: that the voxels make one organ says nothing about which.
    """
    if not liver.any():
        return []
    found = []
    if detail := odd_volume(liver, case):
        found.append(f"What was found may be no liver, or not all of it: it has {detail}.")
    if case.intensity == "HU":
        anatomy, thin = Anatomy.of(case.image), thinned(liver)
        signs = (labelled_on_left(anatomy, thin), lungs_below(anatomy, thin))
        if sign := " and ".join(filter(None, signs)):
            found.append(f"As it was found, {sign}: look which way round the scan is.")
    ends = [name for name, end in (("lowest", 0), ("highest", -1)) if liver[..., end].any()]
    if ends:
        found.append(
            f"What was found reaches the {' and the '.join(ends)} slice of the scan, which may "
            "hold a part of the liver only."
        )
    return found


def read_case(files: Loadable) -> Case:
    """Load a scan; whatever its reading raises becomes BadInput, so that a cohort can go on.

    Raises:
        BadInput: As `files.load()`; unreadable_scan for any other exception, with its type.
    """
    try:
        return files.load()
    except BadInput:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(
            f"{files.volume}: {FAULTS['unreadable_scan'][1].rstrip('.')}"
            f" ({type(error).__name__}: {reason}).",
            fault="unreadable_scan",
        ) from error


def _verified_row(files: Loadable | Case) -> dict[str, object]:
    case, findings = _inspect(files)
    return {
        "patient": files.patient,
        "volume": files.volume,
        "shape": case.image.shape if case else None,
        "spacing_mm": case.spacing if case and case.spacing_known else None,
        "severity": _worst(findings),
        "faults": ", ".join(finding.fault for finding in findings),
        "findings": [finding.sentence for finding in findings],
    }


def _inspect(files: Loadable | Case) -> tuple[Case | None, list[Finding]]:
    try:
        case = files if isinstance(files, Case) else read_case(files)
    except BadInput as error:
        severity = FAULTS[error.fault][0]
        return None, [Finding(error.fault, severity, str(error))]
    found = dict(case.provenance.get("repairs", {})) | _voxel_faults(case)
    return case, [_finding(case, fault, detail) for fault, detail in found.items()]


def _voxel_faults(case: Case) -> dict[str, str]:
    """Return what values, anatomy and labels show: names of faults, and what shows each.

    Where the values are no HU, nothing else can be told from them.
    """
    if case.intensity == "HU" and (scale := scale_fault(case.image)):
        labels = label_faults(replace(case, intensity="grey"))
        return {**dict([scale]), **labels}
    found = label_faults(case)
    if case.intensity != "HU":
        return found
    if detail := lacks_air(case.image):
        found["no_air"] = detail
    is_liver = found.keys() <= {"no_air", "loose_mask", "tumor_outside_liver"}
    return found | _body_faults(case, is_liver)


def _body_faults(case: Case, is_liver: bool) -> dict[str, str]:
    """Return what the way round of the body, and of a liver that is one, shows."""
    anatomy = Anatomy.of(case.image)
    signs = [turned_body(anatomy), spine_runs_across(anatomy)]
    found = {}
    if is_liver:
        liver = thinned(case.labels) > 0
        signs += [labelled_on_left(anatomy, liver), lungs_below(anatomy, liver)]
    else:
        found = {"liver_on_left": liver_on_left(anatomy)}
    found["turned_patient"] = " and ".join(filter(None, signs))
    found["liver_not_covered"] = liver_not_covered(anatomy)
    return {fault: detail for fault, detail in found.items() if detail}


def _worst(findings: list[Finding]) -> str:
    severities = {finding.severity for finding in findings}
    return next((severity for severity in ("error", "warning") if severity in severities), "ok")


def _finding(case: Case, fault: str, detail: str) -> Finding:
    severity, meaning = FAULTS[fault]
    return Finding(fault, severity, f"{case.volume}: {meaning.rstrip('.')} ({detail}).")
