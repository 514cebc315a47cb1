"""What disease, preparation and surgeons add to a body, and what a scanner spoils."""

from dataclasses import dataclass

import numpy as np

from liverutils.phantom.anatomy import Anatomy
from liverutils.phantom.shapes import Tubes, curve, draw_points


@dataclass(frozen=True)
class Conditions:
    """One patient's.

    Attributes:
        ascites: How far fluid fills the abdomen, 0 to 1.
        effusion: How far fluid fills the right side of the chest, 0 to 1.
        effusion_left: The left side's, as a factor of the right's.
        oral_hu: Of contrast in the gut; 0 is none.
        gas: Added to the gut's tendency to hold gas.
        urine_hu: Of contrast at the bottom of the bladder.
        urine_level: y in mm up to which it stands.
        foreign: Tubes of metal, plastic and calcium with their HU.
        streaks: Strength of the streaks between dense bones, HU.
        motion_mm: How far the patient moved while being scanned.
    """

    ascites: float
    effusion: float
    effusion_left: float
    oral_hu: float
    gas: float
    urine_hu: float
    urine_level: float
    foreign: tuple[tuple[Tubes, float], ...]
    streaks: float
    motion_mm: float


def draw_conditions(rng: np.random.Generator, anatomy: Anatomy) -> Conditions:
    """Draw what one patient has; most have nothing of most."""

    def in_some(share: float, low: float, high: float) -> float:
        drawn = rng.uniform(low, high)
        return float(drawn) if rng.random() < share else 0.0

    return Conditions(
        ascites=in_some(0.18, 0.1, 0.9),
        effusion=in_some(0.2, 0.2, 1.0),
        effusion_left=float(rng.uniform(0, 1.2)),
        oral_hu=in_some(0.35, 120, 450),
        gas=float(rng.normal(0, 0.5)),
        urine_hu=in_some(0.3, 80, 600),
        urine_level=float(rng.uniform(60, 100)),
        foreign=tuple(_foreign_bodies(rng, anatomy)),
        streaks=in_some(0.3, 5, 30),
        motion_mm=in_some(0.2, 0.5, 3),
    )


def _foreign_bodies(rng: np.random.Generator, anatomy: Anatomy) -> list[tuple[Tubes, float]]:
    found = []
    if rng.random() < 0.15:  # clips of the gallbladder's bed, or of a resection's edge
        for place in _places(rng, anatomy, "liver", int(rng.integers(2, 7)), margin=6):
            found.append((curve([place, place + rng.normal(0, 4, 3)], 0.9, step=2), 2500.0))
    if rng.random() < 0.1:  # a drain
        start, end = _places(rng, anatomy, "liver", 2, margin=6)
        found.append((curve([start, end, end + (60.0, 40.0, -30.0)], 2.2), 250.0))
    if rng.random() < 0.25:  # calcium in the liver or at its surface
        for place in _places(rng, anatomy, "liver", int(rng.integers(1, 4)), margin=0):
            found.append((curve([place, place + rng.normal(0, 2, 3)], 1.8, step=2), 500.0))
    if rng.random() < 0.4:  # calcium in the wall of the aorta
        wall = anatomy.tubes["aorta"]
        for piece in rng.integers(0, len(wall.start), rng.integers(2, 10)):
            aside = rng.normal(0, 1, 3)
            place = wall.start[piece] + wall.start_radius[piece] * aside / np.linalg.norm(aside)
            found.append((curve([place, place + rng.normal(0, 3, 3)], 1.4, step=2), 700.0))
    return found


def _places(
    rng: np.random.Generator, anatomy: Anatomy, organ: str, count: int, margin: float
) -> np.ndarray:
    """Draw points (count, 3) in mm in an organ or, with a margin, around its surface."""
    distance = anatomy.fields[organ]
    inside = np.abs(distance) < margin if margin else distance < -2
    return draw_points(rng, anatomy.grid, inside, count)
