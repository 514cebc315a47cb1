"""A patient's second scan: the same body, changed lesions, the noise of another day."""

from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from liverutils.errors import BadInput
from liverutils.phantom.cohorts import Cohort
from liverutils.phantom.lesions import Lesion, place_lesion
from liverutils.phantom.patients import draw_patient, make_case
from liverutils.phantom.scanner import scan_grid
from liverutils.phantom.scene import Patient
from liverutils.scans import Case

CHANGES = ("none", "growth", "shrinkage", "necrosis", "new lesion")

# What a tumour's diameter is multiplied by; where no factor is given it is drawn from this range.
FACTORS = {
    "none": (1.0, 1.0),
    "growth": (1.05, 1.5),
    "shrinkage": (0.45, 0.95),
    "necrosis": (0.97, 1.08),
    "new lesion": (0.97, 1.03),
}

# Share of the patients in whom all tumours vanish, where tumours shrink by a factor that is drawn.
VANISHED = 1 / 6

# A phantom has no smaller tumours.
LEAST_MM = 4.0

# Random numbers apart from those of the first scan.
FOLLOW_UP = 1_000


def make_follow_up(
    cohort: Cohort,
    number: int,
    change: str,
    *,
    factor: float | None = None,
    slice_mm: float | None = None,
    seed: int = 0,
) -> Case:
    """Scan patient `number` of `cohort` a second time, after what happened to the tumours.

    Body, contrast, kernel and dose are those of `make_patient`; the patient lies a little elsewhere
    on the table, and noise and texture are drawn anew. Cysts and focal fat stay as they were.

    Args:
        cohort: Not a randomised one.
        number: The patient.
        change: One of `CHANGES`. Tumours that grow or shrink do so unevenly, each in its own way;
            necrosis darkens their middle and leaves the size; new lesions, one to three, stand
            beside tumours that stay as they are.
        factor: Of the tumours' diameters (of the sphere of equal volume), before each one's own
            deviation of about 8 %; 0 for all gone. Drawn by the seed if not given.
        slice_mm: Another slice thickness than the first scan's.
        seed: Another gives another second scan.

    Returns:
        The scan, in the coordinates (mm) of the first; `provenance` tells `change` and `factor`.

    Raises:
        BadInput: unknown_change, a change not in `CHANGES` or a randomised cohort.
    """
    if change not in CHANGES or cohort.randomised:
        raise BadInput(
            f"No second scan of {cohort.name} with {change!r}: the change must be one of"
            f" {', '.join(CHANGES)}, and the cohort none of randomised patients.",
            fault="unknown_change",
        )
    # Sums over several threads could be rounded in another order.
    with threadpool_limits(1):
        first = draw_patient(cohort, number)
        draws = np.random.default_rng([cohort.seed, number, FOLLOW_UP, seed]).spawn(3)
        disease, table, noise = draws
        if factor is None:
            factor = float(disease.uniform(*FACTORS[change]))
            vanishes = disease.random() < VANISHED
            factor = 0.0 if change == "shrinkage" and vanishes else factor
        scan = replace(first.scan, slice_mm=slice_mm or first.scan.slice_mm)
        lesions = _change_lesions(disease, first, change, factor)
        grid = scan_grid(table, cohort, scan, first.anatomy)
        case = make_case(cohort, number, Patient(first.anatomy, scan, lesions, grid, noise))
    facts = {"change": change, "factor": round(factor, 3), "follow_up_seed": seed}
    return replace(
        case, volume=f"{case.volume}-follow-up-{seed}", provenance=case.provenance | facts
    )


def _change_lesions(
    rng: np.random.Generator, patient: Patient, change: str, factor: float
) -> list[Lesion]:
    if change == "none" and factor == 1:
        return patient.lesions
    kept = [
        _change_lesion(rng, lesion, change, factor) if lesion.is_tumor else lesion
        for lesion in patient.lesions
    ]
    lesions = [lesion for lesion in kept if lesion.diameter >= LEAST_MM]
    if change == "new lesion":
        for diameter in rng.uniform(8, 25, rng.integers(1, 4)):
            new = place_lesion(
                rng, patient.anatomy, patient.scan.hu, "hypodense", float(diameter), lesions
            )
            lesions += [new] if new else []
    return lesions


def _change_lesion(rng: np.random.Generator, lesion: Lesion, change: str, factor: float) -> Lesion:
    """Grow or shrink one tumour, and in growth and shrinkage alter its shape."""
    uneven = change in ("growth", "shrinkage")
    factor *= np.exp(rng.normal(0, 0.08 if uneven else 0.0))
    axes = lesion.axes * np.exp(rng.normal(0, 0.2 if uneven else 0.0, 3))
    changed = replace(
        lesion,
        diameter=lesion.diameter * factor,
        axes=axes / np.prod(axes) ** (1 / 3),
        waves=lesion.waves / max(factor, 0.01),  # The surface grows with the tumour.
    )
    if change != "necrosis":
        return changed
    # What dies turns to water, and the rim that lives takes up less contrast than before.
    dead = float(rng.uniform(5, 25))
    return replace(changed, kind="necrotic", hu=dead, rim_hu=0.65 * lesion.rim_hu + 0.35 * dead)
