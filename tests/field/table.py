"""Run the circumstances and judge what happens."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from liverutils.errors import BadInput
from liverutils.phantom import COHORTS, make_patient
from liverutils.scans import Case, verify_cases
from liverutils.sources import find_cases
from tests.field.files import ANY, FILES
from tests.field.voxels import ANATOMY, LABELS, VALUES

VOXELS = VALUES | ANATOMY | LABELS


# Neither is wrong with a scan: it may lack labels, and a mask may take its image's affine.
HARMLESS = {"no_labels", "contradicting_affine", "scaled_labels", "no_affine", "no_air"}


# These need what the smallest phantom has not: lungs in its top slices, thin slices, small voxels.
NOT_ON_SMALL = {
    "HU / 2",
    "labels turned by half",
    "labels flipped along y and z",
    "a scan that ends in the chest",
    "head and feet exchanged",
    "head and feet exchanged, no labels",
    "labels 8 mm to the right",
    "labels 8 mm to the front",
    "an infant in a large field",
}


@dataclass(frozen=True)
class Row:
    """What happened: `verdict` is right, silent wrong, false alarm or traceback."""

    base: str
    circumstance: str
    happens: str
    verdict: str


def base_cases(quick: bool, real: Path | None = None) -> Iterator[tuple[str, Case]]:
    """Yield the scans to plant faults in: a phantom patient, and a real one where there is one."""
    if quick:
        yield "phantom-smoke", make_patient(COHORTS["phantom-smoke"], 1)
        return
    yield "phantom", make_patient(COHORTS["phantom"], 1)
    if real:
        yield "3D-IRCADb", find_cases("ircadb", real / "3Dircadb1.17")[0].load()


def run_all(base: str, case: Case, words: Sequence[str] = ()) -> Iterator[Row]:
    """Run every circumstance, or those with one of the words, on one case, one after the other."""
    chosen = [
        name
        for name in (*VOXELS, *FILES)
        if not words or any(word.lower() in name.lower() for word in words)
    ]
    if case.image.shape[2] < 20:
        chosen = [name for name in chosen if name not in NOT_ON_SMALL]
    for name in chosen:
        yield run(base, name, case)


def run(base: str, name: str, case: Case) -> Row:
    """Build one circumstance, verify it, and judge."""
    expected = (VOXELS | FILES)[name][1]
    if name in VOXELS:
        return _judge(base, name, expected, verify_cases([VOXELS[name][0](case)], workers=1))
    with tempfile.TemporaryDirectory() as folder:
        FILES[name][0](Path(folder) / "raw", case)
        try:
            files = find_cases("folder", Path(folder) / "raw")
        except BadInput as error:
            verdict = "right" if expected else "false alarm"
            return Row(base, name, f"{error.fault}: {error}"[:100], verdict)
        return _judge(base, name, expected, verify_cases(files, workers=1))


def _judge(base: str, name: str, expected: set[str], table) -> Row:
    faults = {fault for row in table.faults for fault in row.split(", ") if fault} - HARMLESS
    faults |= {fault for row in table.faults for fault in row.split(", ")} & expected
    sentence = next((text for row in table.findings for text in row), "no finding")
    if "unreadable_scan" in faults:
        verdict = "traceback"
    elif not expected:
        verdict = "false alarm" if faults else "right"
    else:
        verdict = "right" if faults & expected or (expected == ANY and faults) else "silent wrong"
    return Row(base, name, ", ".join(sorted(faults)) or sentence[:60], verdict)
