"""Tumours, and what looks like them: kind, size and place in the liver."""

from dataclasses import dataclass

import numpy as np

from liverutils.phantom.anatomy import Anatomy
from liverutils.phantom.cohorts import Cohort
from liverutils.phantom.scanner import Scan
from liverutils.phantom.shapes import COARSE_MM, Box, Grid, rotation

# Kinds of tumour and their shares.
TUMOR_KINDS = {"hypodense": 0.66, "hyperdense": 0.12, "rim": 0.11, "necrotic": 0.11}


@dataclass(frozen=True)
class Lesion:
    """A round lesion of the liver, with a wavy surface.

    Attributes:
        kind: "hypodense", "hyperdense", "rim", "necrotic": tumours; "cyst", "focal fat": not.
        centre: (x, y, z) in mm.
        diameter: In mm.
        hu: HU in the middle.
        rim_hu: HU at the border.
        softness: Width of the border in mm.
        axes: (3,) relative radii, of product 1.
        waves: (N, 3) wave vectors in 1/mm of the waves on its surface.
        phases: (N,) phases of these waves.
        tilt: (3, 3) rotation.
    """

    kind: str
    centre: np.ndarray
    diameter: float
    hu: float
    rim_hu: float
    softness: float
    axes: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    tilt: np.ndarray

    @property
    def is_tumor(self) -> bool:
        """False for what only looks like a tumour."""
        return self.kind not in ("cyst", "focal fat")

    def distance(self, grid: Grid) -> tuple[Box, np.ndarray]:
        """The part of `grid` around the lesion, and the distances to its surface there."""
        reach = self.diameter * 0.8 + 3
        x, y, z = self.centre
        box = grid.box((z - reach, x - reach, y - reach), (z + reach, x + reach, y + reach))
        zs, xs, ys = grid.within(box).open()
        offset = (xs - x, ys - y, zs - z)
        turned = [sum(row[i] * offset[i] for i in range(3)) for row in self.tilt]
        radius = np.sqrt(sum((t / a) ** 2 for t, a in zip(turned, self.axes, strict=True)))
        waves = sum(
            np.sin(sum(k * o for k, o in zip(wave, offset, strict=True)) + phase)
            for wave, phase in zip(self.waves, self.phases, strict=True)
        )
        roughness = 0.03 if self.kind == "cyst" else 0.08
        surface = self.diameter / 2 * (1 + roughness * waves)
        return box, (radius - surface).astype(np.float32)

    @property
    def volume_ml(self) -> float:
        """Volume of the whole shape, wherever the liver ends."""
        # Shorter than the longest wave on the surface, whatever the size of the lesion.
        step, reach = self.diameter / 24, self.diameter * 0.8 + 3
        x, y, z = self.centre
        around = Grid.spanning(
            (z - reach, x - reach, y - reach), (z + reach, x + reach, y + reach), step
        )
        _, distance = self.distance(around)
        return float((distance < 0).sum() * step**3 / 1000)


def sample_diameters(rng: np.random.Generator, count: int, median: float = 12.0) -> np.ndarray:
    """Draw tumour diameters in mm: log-normal, cut off at 4 and 80 mm."""
    diameters = np.empty(0)
    while len(diameters) < count:
        drawn = rng.lognormal(np.log(median), 0.62, count)
        diameters = np.concatenate([diameters, drawn[(drawn >= 4) & (drawn <= 80)]])
    return diameters[:count]


def has_tumors(cohort: Cohort, number: int) -> bool:
    """Whether a patient has tumours: spread evenly, so that every cohort keeps its share."""
    offset = np.random.default_rng(cohort.seed).random()
    return (number * cohort.tumor_free + offset) % 1 >= cohort.tumor_free


def sample_lesions(
    rng: np.random.Generator, cohort: Cohort, number: int, scan: Scan, anatomy: Anatomy
) -> list[Lesion]:
    """Draw tumours and cysts and focal fat, which only look like tumours."""
    wanted: list[tuple[str, float]] = []
    if has_tumors(cohort, number):
        count = min(1 + rng.geometric(0.33), 12)
        kinds = rng.choice(list(TUMOR_KINDS), size=count, p=list(TUMOR_KINDS.values()))
        # The largest are placed first, while there is room.
        diameters = np.sort(sample_diameters(rng, count, cohort.tumor_median_mm))[::-1]
        wanted += zip(kinds, diameters, strict=True)
    if rng.random() < 0.45:
        diameters = np.clip(rng.lognormal(np.log(10), 0.5, rng.integers(1, 5)), 4, 45)
        wanted += [("cyst", diameter) for diameter in diameters]
    if rng.random() < 0.35:
        wanted += [("focal fat", diameter) for diameter in rng.uniform(12, 30, rng.integers(1, 3))]
    lesions: list[Lesion] = []
    for kind, diameter in wanted:
        lesion = place_lesion(rng, anatomy, scan.hu, str(kind), diameter, lesions)
        lesions += [lesion] if lesion else []
    return lesions


def place_lesion(
    rng: np.random.Generator,
    anatomy: Anatomy,
    hu: dict[str, float],
    kind: str,
    diameter: float,
    others: list[Lesion],
) -> Lesion | None:
    """Draw a lesion in the liver, apart from the others; None where there is no room."""
    centre = _find_room(rng, anatomy, kind, diameter, others)
    return None if centre is None else _shape_lesion(rng, kind, centre, diameter, hu)


def _find_room(
    rng: np.random.Generator, anatomy: Anatomy, kind: str, diameter: float, others: list[Lesion]
) -> np.ndarray | None:
    """Draw a centre (3,) in the liver, apart from the others; None where there is no room."""
    depth = -anatomy.fields["liver"]
    least = (0.2 if kind == "focal fat" else 0.45) * diameter
    room = np.argwhere(depth > min(least, depth.max() - 2))
    first = np.array([axis[0] for axis in anatomy.grid.axes])
    for _ in range(30):
        place = room[rng.integers(len(room))] + rng.uniform(-0.5, 0.5, 3)
        centre = (first + place * COARSE_MM)[[1, 2, 0]]
        gaps = [np.linalg.norm(centre - other.centre) for other in others]
        apart = [0.55 * (diameter + other.diameter) for other in others]
        if all(gap > least for gap, least in zip(gaps, apart, strict=True)):
            return centre
    return None


def _shape_lesion(
    rng: np.random.Generator, kind: str, centre: np.ndarray, diameter: float, hu: dict[str, float]
) -> Lesion:
    liver = hu["liver"]
    # A fatty liver is darker, and so nearer to its tumours.
    contrast = rng.triangular(10, 42, 60) * np.clip(liver / 105, 0.6, 1)
    middle, rim = {
        "hypodense": (liver - contrast, liver - contrast),
        "hyperdense": (liver + 0.8 * contrast, liver + 0.8 * contrast),
        "rim": (liver - contrast, liver + rng.uniform(10, 35)),
        "necrotic": (rng.uniform(20, 45), liver - 0.4 * contrast),
        "cyst": (rng.uniform(5, 15),) * 2,
        "focal fat": (liver - rng.uniform(15, 45),) * 2,
    }[kind]
    axes = np.exp(rng.normal(0, 0.06 if kind == "cyst" else 0.14, 3))
    if kind == "focal fat":
        axes = np.array([0.6, 1.2, 1.4])
    softness = {"cyst": 0.8, "focal fat": 5.0}.get(kind) or rng.uniform(1.0, 3.5)
    return Lesion(
        kind=kind,
        centre=centre,
        diameter=float(diameter),
        hu=float(middle),
        rim_hu=float(rim),
        softness=float(softness),
        axes=axes / np.prod(axes) ** (1 / 3),
        waves=rng.normal(0, 5 / diameter, (5, 3)),
        phases=rng.uniform(0, 2 * np.pi, 5),
        tilt=rotation(*rng.uniform(0, 180, 3)),
    )
