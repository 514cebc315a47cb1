"""Patients and scanners that vary beyond what is plausible, so that real ones lie within.

Billot et al. 2023, SynthSeg, https://doi.org/10.1016/j.media.2023.102789: a network that has seen
synthetic images of any contrast and resolution segments real ones.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from liverutils.phantom.anatomy import Anatomy
from liverutils.phantom.cohorts import Cohort
from liverutils.phantom.conditions import Conditions, draw_conditions
from liverutils.phantom.contrast import Phase, sample_hu
from liverutils.phantom.lesion_table import lesion_rows
from liverutils.phantom.lesions import sample_lesions
from liverutils.phantom.render import (
    as_stored,
    averaged,
    blur_and_noise,
    chunks,
    draw_textures,
)
from liverutils.phantom.scanner import Scan
from liverutils.phantom.scene import Made, Patient
from liverutils.phantom.shapes import Grid
from liverutils.phantom.trunk import Habitus, make_trunk
from liverutils.phantom.trunk_scene import TrunkScene
from liverutils.scans import Case

UNENHANCED = Phase((-22, -6), (-22, -6), -48, spleen=-70, kidney=-150, medulla=0, aorta=-103)
ARTERIAL = Phase((0, 20), (-14, -2), -38, spleen=20, kidney=10, medulla=-90, aorta=190)

# Contrast phase: its share, and what it does.
PHASES = {
    "none": (0.2, UNENHANCED),
    "arterial": (0.15, ARTERIAL),
    "late arterial": (0.15, Phase((8, 25), (-14, -2), -32, 5, 10, -75, 150)),
    "portal venous": (0.35, Phase((25, 65), (20, 60))),
    "late": (0.15, Phase((8, 25), (8, 25), -12, -15, -30, 0, -45)),
}


@dataclass(frozen=True)
class Machine:
    """How one patient was scanned.

    Attributes:
        peak: Of the noise power spectrum, 1/mm.
        blur: Standard deviation in the plane, mm.
        offset: HU added by a scanner out of tune.
        slope: Factor of the HU scale around water.
        circle: Whether the picture ends in a circle.
        scale: Factor of all lengths of the body; children have small ones.
    """

    peak: float
    blur: float
    offset: float
    slope: float
    circle: bool
    scale: float


def make_randomised(cohort: Cohort, number: int) -> Made:
    """Make patient `number` of a randomised cohort, with the organs' labels."""
    body, scanner, disease, noise = np.random.default_rng([cohort.seed, number]).spawn(4)
    anatomy, habitus = make_trunk(body)
    conditions = draw_conditions(disease, anatomy)
    machine = _draw_machine(scanner)
    scan = _draw_scan(scanner, cohort, anatomy, machine)
    lesions = sample_lesions(disease, cohort, number, scan, anatomy)
    grid = _draw_range(scanner, cohort, scan, anatomy, machine)
    patient = Patient(anatomy, scan, lesions, grid, noise)
    image, mask, organs = _render(cohort, patient, conditions, machine)
    pixel = scan.field_mm / cohort.matrix
    affine = np.diag([pixel, pixel, scan.slice_mm, 1.0])
    affine[:3, 3] = machine.scale * np.array((grid.x[0], grid.y[0], grid.z[0]))
    name = f"{cohort.name}-{number:03d}"
    rows = lesion_rows(patient, name, np.diag([1 / machine.scale] * 3 + [1.0]) @ affine)
    case = Case(
        patient=name,
        volume=f"{number:03d}",
        image=image,
        mask=mask,
        affine=affine,
        provenance=_facts(cohort, scan, machine, habitus, conditions),
    )
    return Made(case, [_scaled(row, machine.scale) for row in rows], organs)


def _draw_machine(rng: np.random.Generator) -> Machine:
    return Machine(
        peak=float(rng.uniform(0.12, 0.42)),
        blur=float(rng.uniform(0.25, 1.3)),
        offset=float(rng.normal(0, 5)),
        slope=float(rng.normal(1, 0.03)),
        circle=bool(rng.random() < 0.4),
        scale=float(rng.uniform(0.62, 0.85) if rng.random() < 0.1 else rng.normal(1.0, 0.07)),
    )


def _draw_scan(
    rng: np.random.Generator, cohort: Cohort, anatomy: Anatomy, machine: Machine
) -> Scan:
    names, shares = list(PHASES), [share for share, _ in PHASES.values()]
    name = str(rng.choice(names, p=shares))
    steatosis = bool(rng.random() < 0.2)
    hu = sample_hu(rng, PHASES[name][1], steatosis)
    if name in ("none", "late"):
        hu["cava"] = hu["aorta"] + rng.normal(0, 5)
    spread = 6.0 if rng.random() < 0.7 else 22.0  # beyond plausible in some
    moved = {
        organ: value + rng.normal(0, spread)
        for organ, value in hu.items()
        if organ not in ("fat", "lung", "cortex", "marrow")
    }
    width = anatomy.width * machine.scale
    return Scan(
        phase=name,
        kernel="",
        noise_sd=float(np.exp(rng.uniform(np.log(5), np.log(40)))),
        slice_mm=float(rng.choice(cohort.slice_mm)),
        field_mm=float(width * np.clip(rng.lognormal(0.12, 0.12), 0.86, 1.6)),
        steatosis=steatosis,
        hu=hu | moved,
    )


def _draw_range(
    rng: np.random.Generator, cohort: Cohort, scan: Scan, anatomy: Anatomy, machine: Machine
) -> Grid:
    """Voxel centres in the body's own mm: the abdomen, with chest or pelvis, or the whole trunk."""
    low, high = float(anatomy.grid.z[0]) + 8, float(anatomy.grid.z[-1]) - 8
    bottom = anatomy.floor - rng.uniform(4, 40) if rng.random() < 0.4 else rng.uniform(low, -200)
    top = anatomy.dome + rng.uniform(4, 40) if rng.random() < 0.5 else rng.uniform(180, high)
    if rng.random() < 0.08:  # cut off within the liver
        bottom = max(bottom, rng.uniform(anatomy.floor + 30, anatomy.floor + 80))
    step = scan.slice_mm / machine.scale
    pixel = scan.field_mm / cohort.matrix / machine.scale
    across = (np.arange(cohort.matrix) - (cohort.matrix - 1) / 2) * pixel
    middle = (anatomy.back + anatomy.belly) / 2
    return Grid(
        np.arange(max(bottom, low), top, step, dtype=np.float32),
        (across + rng.normal(0, 10)).astype(np.float32),
        (across + middle + rng.normal(-6, 14)).astype(np.float32),
    )


def _render(
    cohort: Cohort, patient: Patient, conditions: Conditions, machine: Machine
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid, scan, rng = patient.grid, patient.scan, patient.noise
    image = np.empty(grid.shape, np.int16)
    mask, organs = np.empty((2, *grid.shape), np.uint8)
    textures = draw_textures(patient)
    for part, fine, layers in chunks(cohort, patient, float(grid.z[1] - grid.z[0]), 2**20):
        scene = TrunkScene(patient, fine, textures, conditions)
        hu, mask[part] = averaged(scene, layers)
        image[part] = _acquire(rng, hu, scan, conditions, machine, scan.field_mm / cohort.matrix)
        organs[part] = scene.organs[layers // 2 :: layers]
    return image.transpose(1, 2, 0), mask.transpose(1, 2, 0), organs.transpose(1, 2, 0)


def _acquire(
    rng: np.random.Generator,
    hu: np.ndarray,
    scan: Scan,
    conditions: Conditions,
    machine: Machine,
    pixel: float,
) -> np.ndarray:
    """Blur, streaks, movement, noise and the scanner's own scale, as int16 HU (Z, X, Y)."""
    if conditions.motion_mm:
        shift = conditions.motion_mm / pixel
        hu = 0.5 * (hu + ndimage.shift(hu, (0, 0, shift), order=1, mode="nearest"))
    if conditions.streaks:
        hu = hu + conditions.streaks * _streaks(hu)
    hu = (hu + 1000) * machine.slope - 1000
    shape = machine.peak, machine.blur, scan.noise_sd, pixel, machine.offset
    seen = blur_and_noise(rng, hu, *shape)
    if machine.circle:
        x, y = (np.linspace(-1, 1, n) for n in hu.shape[1:])
        seen[:, np.hypot(x[:, None], y[None]) > 1] = -1024
    return as_stored(seen)


def _streaks(hu: np.ndarray) -> np.ndarray:
    """Dark and bright bands along x beside dense bone, about 1 at their strongest."""
    bone = np.clip((hu - 300) / 400, 0, 1)
    along = ndimage.uniform_filter1d(bone, max(3, hu.shape[1] // 2), axis=1)
    fine = along - ndimage.gaussian_filter1d(along, 4, axis=2)
    return -fine / max(float(np.abs(fine).max()), 1e-3)


def _scaled(row: dict, scale: float) -> dict:
    """A row of `lesions.csv` in the patient's mm and ml instead of the model body's."""
    factors = {"volume_ml": scale**3} | dict.fromkeys(
        ("diameter_mm", "x_mm", "y_mm", "z_mm"), scale
    )
    return row | {name: round(row[name] * factor, 3) for name, factor in factors.items()}


def _facts(
    cohort: Cohort, scan: Scan, machine: Machine, habitus: Habitus, conditions: Conditions
) -> dict[str, Any]:
    shown = {"cohort": cohort.name, "seed": cohort.seed, "phase": scan.phase}
    shown |= {"noise_sd": scan.noise_sd, "slice_mm": scan.slice_mm, "field_mm": scan.field_mm}
    shown |= {"steatosis": scan.steatosis} | vars(machine) | vars(habitus)
    shown |= {k: v for k, v in vars(replace(conditions, foreign=())).items() if k != "foreign"}
    shown["foreign"] = len(conditions.foreign)
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in shown.items()}
