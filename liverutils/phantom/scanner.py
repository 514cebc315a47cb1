"""The scanner: its field of view, slices, sharpness and dose, drawn for each patient."""

from dataclasses import dataclass

import numpy as np

from liverutils.phantom.anatomy import Anatomy
from liverutils.phantom.cohorts import Cohort
from liverutils.phantom.contrast import PHASES, sample_hu
from liverutils.phantom.shapes import Grid


@dataclass(frozen=True)
class Scan:
    """How one patient was scanned, and the HU of organs and materials."""

    phase: str
    kernel: str
    noise_sd: float
    slice_mm: float
    field_mm: float
    steatosis: bool
    hu: dict[str, float]


def sample_scan(rng: np.random.Generator, cohort: Cohort, width: float) -> Scan:
    """Draw phase, kernel, dose and field of view for a patient `width` mm wide, and HU."""
    name = str(rng.choice(list(cohort.phases), p=list(cohort.phases.values())))
    steatosis = bool(rng.random() < 0.15)
    return Scan(
        phase=name,
        kernel=str(rng.choice(cohort.kernels)),
        noise_sd=rng.uniform(*cohort.noise_sd),
        slice_mm=float(rng.choice(cohort.slice_mm)),
        field_mm=float(np.clip(width + rng.uniform(6, 50), *cohort.field_mm)),
        steatosis=steatosis,
        hu=sample_hu(rng, PHASES[name], steatosis),
    )


def scan_grid(rng: np.random.Generator, cohort: Cohort, scan: Scan, anatomy: Anatomy) -> Grid:
    """Voxel centres of the scan: from below liver and kidneys to the bases of the lungs."""
    bottom, top = anatomy.floor - rng.uniform(4, 20), anatomy.dome + rng.uniform(8, 24)
    bottom = max(bottom, float(anatomy.grid.z[0]) + scan.slice_mm / 2)
    pixel = scan.field_mm / cohort.matrix
    across = (np.arange(cohort.matrix) - (cohort.matrix - 1) / 2) * pixel
    middle_y = (anatomy.back + anatomy.belly) / 2
    return Grid(
        np.arange(bottom, top, scan.slice_mm, dtype=np.float32),
        (across + rng.normal(0, 3)).astype(np.float32),
        (across + middle_y - rng.uniform(0, 8)).astype(np.float32),
    )
