"""A seeded cohort of synthetic abdominal CT scans with liver tumours.

Every patient is drawn in four steps, each with random numbers of its own: the anatomy, how it takes
up contrast, its lesions, and the scanner's noise. The scene is rendered on thin sub-slices that are
averaged to the scan's slices, so that small lesions suffer partial volume as in a real scan.
"""

from dataclasses import asdict

import numpy as np
from threadpoolctl import threadpool_limits

from liverutils.phantom.cohorts import Cohort
from liverutils.phantom.lesion_table import lesion_rows
from liverutils.phantom.lesions import sample_lesions
from liverutils.phantom.organs import make_anatomy
from liverutils.phantom.randomised import make_randomised
from liverutils.phantom.render import render_scan
from liverutils.phantom.scanner import sample_scan, scan_grid
from liverutils.phantom.scene import Made, Patient
from liverutils.scans import Case


def make_patient(cohort: Cohort, number: int) -> Case:
    """Make patient `number` of `cohort`, the same whenever and wherever it is made."""
    return make_all(cohort, number).case


def make_all(cohort: Cohort, number: int) -> Made:
    """Make a patient, with what the liver holds and, in a randomised cohort, the organs."""
    # Sums over several threads could be rounded in another order.
    with threadpool_limits(1):
        if cohort.randomised:
            return make_randomised(cohort, number)
        patient = draw_patient(cohort, number)
        case = make_case(cohort, number, patient)
        return Made(case, lesion_rows(patient, case.patient, case.affine))


def draw_patient(cohort: Cohort, number: int) -> Patient:
    """Draw all that makes a patient, each part with random numbers of its own."""
    body, scanner, disease, noise = np.random.default_rng([cohort.seed, number]).spawn(4)
    anatomy = make_anatomy(body)
    scan = sample_scan(scanner, cohort, anatomy.width)
    lesions = sample_lesions(disease, cohort, number, scan, anatomy)
    return Patient(anatomy, scan, lesions, scan_grid(scanner, cohort, scan, anatomy), noise)


def make_case(cohort: Cohort, number: int, patient: Patient) -> Case:
    """Scan a patient that was drawn."""
    image, mask = render_scan(cohort, patient)
    grid = patient.grid
    pixel = patient.scan.field_mm / cohort.matrix
    affine = np.diag([pixel, pixel, patient.scan.slice_mm, 1.0])
    affine[:3, 3] = grid.x[0], grid.y[0], grid.z[0]
    facts = asdict(patient.scan)
    facts |= {f"{organ}_hu": round(hu, 1) for organ, hu in facts.pop("hu").items()}
    kinds = [lesion.kind for lesion in patient.lesions]
    return Case(
        patient=f"{cohort.name}-{number:03d}",
        volume=f"{number:03d}",
        image=image,
        mask=mask,
        affine=affine,
        provenance={
            "cohort": cohort.name,
            "seed": cohort.seed,
            **{k: round(v, 2) if isinstance(v, float) else v for k, v in facts.items()},
            "n_cysts": kinds.count("cyst"),
            "n_focal_fat": kinds.count("focal fat"),
        },
    )
