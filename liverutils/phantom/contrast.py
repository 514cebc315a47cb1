"""How organs take up contrast in each phase, in HU."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Phase:
    """What the time after injection does to HU: shifts of the means, in HU.

    `portal` and `hepatic` are the veins' contrast to the liver, as a range.
    """

    portal: tuple[float, float]
    hepatic: tuple[float, float]
    liver: float = 0
    spleen: float = 0
    kidney: float = 0
    medulla: float = -45
    aorta: float = 0


PHASES = {
    "portal venous": Phase((30, 60), (30, 60)),
    "early portal venous": Phase((30, 60), (-30, -8), kidney=10, medulla=-60, aorta=20),
    "late portal venous": Phase((30, 42), (30, 42), kidney=-5, medulla=-25, aorta=-15),
    "late arterial": Phase((8, 25), (-14, -2), -32, 5, 10, -75, 150),
}


def sample_hu(rng: np.random.Generator, phase: Phase, steatosis: bool) -> dict[str, float]:
    """Draw HU by organ around the means of the portal venous phase."""
    liver = phase.liver + (rng.normal(80, 8) if steatosis else rng.normal(109, 10))
    aorta = phase.aorta + rng.normal(145, 17)
    hu = {
        "liver": liver,
        "portal": liver + rng.uniform(*phase.portal),
        "hepatic": liver + rng.uniform(*phase.hepatic),
        "spleen": phase.spleen + rng.normal(118, 13),
        "kidney": phase.kidney + rng.normal(184, 21),
        "aorta": aorta,
        "cava": phase.aorta * 0.1 + rng.normal(120, 12),
        "muscle": rng.normal(60, 6),
        "fat": rng.normal(-103, 8),
        "bile": rng.uniform(5, 15),
        "marrow": rng.normal(200, 25),
        "cortex": rng.normal(700, 60),
        "lung": rng.normal(-870, 20),
    }
    return hu | {"medulla": hu["kidney"] + phase.medulla}
