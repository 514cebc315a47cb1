"""Paint an abdomen with HU and labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from liverutils.phantom.anatomy import Anatomy
from liverutils.phantom.bones import RIB_DEPTH, RIB_RADIUS, rib_distance, spine_distances
from liverutils.phantom.lesions import Lesion
from liverutils.phantom.organs import BOWEL_GROUPS
from liverutils.phantom.scanner import Scan
from liverutils.phantom.shapes import Box, Grid, Noise
from liverutils.scans import Case

# HU everywhere alike or by voxel, and what finds them in a box from the distance to the organ.
Shade = float | np.ndarray
Painting = Callable[[Box, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Patient:
    """All that was drawn for one patient; `noise` draws what the scanner adds."""

    anatomy: Anatomy
    scan: Scan
    lesions: list[Lesion]
    grid: Grid
    noise: np.random.Generator


class Made(NamedTuple):
    """One patient as made.

    Attributes:
        case: The scan with its labels.
        lesions: The rows of `lesions.csv`.
        organs: (X, Y, Z) uint8, numbers in `trunk_scene.ORGANS`; None where they are not known.
    """

    case: Case
    lesions: list[dict[str, Any]]
    organs: np.ndarray | None = None


def coverage_of(distance: np.ndarray, edge: float) -> np.ndarray:
    """1 inside a shape, 0 outside, with a border `edge` mm wide."""
    return np.clip(0.5 - distance / edge, 0, 1)


def _ridge(offset: np.ndarray, width: float) -> np.ndarray:
    """1 at offset 0, falling to 0 over `width` on both sides."""
    return np.maximum(1 - np.abs(offset) / width, 0)


class Scene:
    """Sub-slices of the patient painted organ after organ; what is painted later covers."""

    def __init__(self, patient: Patient, grid: Grid, textures: dict[int, Noise]) -> None:
        self.anatomy, self.values, self.grid = patient.anatomy, patient.scan.hu, grid
        self.edge = max(1.0, float(grid.x[1] - grid.x[0]))
        self.noise = {mm: texture.at(grid) for mm, texture in textures.items()}
        self.hu = np.full(grid.shape, -1000, np.float32)
        self.liver = np.zeros(grid.shape, np.float32)
        self._has_liver = False  # Until it is painted nothing covers it.
        self.tumor = np.zeros(grid.shape, np.float32)
        self._paint_wall()
        self._paint_ribs()
        self._paint_bowel()
        self._paint_organs()
        self._paint_liver(patient.lesions)
        self._paint_great_vessels()
        self._paint_chest()
        self._paint_spine()

    def _cover(self, box: Box, distance: np.ndarray, hu: Shade) -> np.ndarray:
        """Paint `hu` where `distance` is negative, with a soft border; return the coverage."""
        coverage = coverage_of(distance, self.edge)
        region = self.hu[box]
        region += coverage * (hu - region)
        if self._has_liver:
            self.liver[box] *= 1 - coverage
        return coverage

    def _organ(self, name: str, hu: Shade | Painting, halo: float = 0) -> tuple[Box, np.ndarray]:
        box, distance = self.anatomy.distance(name, self.grid)
        if halo:
            self._cover(box, distance - halo, self.values["fat"])
        return box, self._cover(box, distance, hu(box, distance) if callable(hu) else hu)

    def _tubes(self, name: str, hu: float, wall: float = 0) -> tuple[Box, np.ndarray] | None:
        tubes = self.anatomy.tubes[name]
        box = tubes.box(self.grid, 2.0 + wall)
        part = self.grid.within(box)
        if 0 in part.shape:
            return None
        distance = tubes.distance(part, 2.0 + wall)
        if wall:
            self._cover(box, distance - wall, self.values["muscle"])
        return box, self._cover(box, distance, hu)

    def _textured(self, hu: float, fine: float, coarse: float) -> Painting:
        return lambda box, _: hu + fine * self.noise[5][box] + coarse * self.noise[9][box]

    def _septa(self, at: Box | tuple, mm: int, width: float) -> np.ndarray:
        """Thin sheets: where smooth noise changes sign."""
        return _ridge(self.noise[mm][at], width)

    def _paint_wall(self) -> None:
        fat, muscle = self.values["fat"], self.values["muscle"]
        self._paint_table()
        box, skin = self.anatomy.distance("body", self.grid)
        self._cover(box, skin, 10)
        self._cover(box, skin + 2, fat + 35 * self._septa(box, 24, 0.08) + 5 * self.noise[5][box])
        self.outside_cavity = np.full(self.grid.shape, 20, np.float32)
        box, inner = self.anatomy.distance("cavity", self.grid, margin=16)
        self.outside_cavity[box] = inner
        self._paint_wall_muscles()
        self._cover(box, inner, fat + 6 * self.noise[5][box] + 7 * self.noise[24][box])
        self._organ("psoas", self._textured(muscle, 4, 3), halo=1.5)

    def _paint_table(self) -> None:
        """The curved top of the table: two thin shells of carbon fibre, with foam between."""
        top = self.anatomy.back - 2
        box = self.grid.box((-1e3, -1e3, -1e3), (1e3, 1e3, top + 25))
        _, x, y = self.grid.within(box).open()
        below = top - y + (x / 45) ** 2
        inside = np.maximum(np.abs(below - 12) - 12, np.abs(x) - 205)
        self._cover(box, inside, -930)
        self._cover(box, np.abs(inside) - 1.2, 400)

    def _paint_wall_muscles(self) -> None:
        """Muscle in layers, with fat between them and, in the back, within them."""
        fat, muscle = self.values["fat"], self.values["muscle"]
        box, outer = self.anatomy.distance("muscle", self.grid)
        wall = np.nonzero((outer < self.edge) & (self.outside_cavity[box] > -self.edge))
        at = tuple(i + part.start for i, part in zip(wall, box, strict=True))
        z, x, y = (axis[i] for axis, i in zip(self.grid.axes, at, strict=True))
        outer, inner = outer[wall], self.outside_cavity[at]
        lumbar = np.clip((10 - z) / 25, 0, 1)
        behind = np.clip((-18 - y) / 10, 0, 1)
        depth = inner / np.maximum(inner - outer, 1) + 0.04 * self.noise[24][at]
        sheets = _ridge(depth - 0.35, 0.07) + _ridge(depth - 0.68, 0.07)
        fatty = 0.5 * sheets * lumbar * (np.abs(x) > 60) * (1 - behind)
        fatty += 0.9 * _ridge(inner - 9.5 - self.noise[24][at], 2) * (1 - lumbar)
        fatty += 0.6 * _ridge(x, 2.5) * (y > 60) * (z < 70)
        fatty += behind * (self._septa(at, 9, 0.15) + self._septa(at, 24, 0.12))
        flesh = muscle + 4 * self.noise[5][at] + np.minimum(fatty, 1) * (fat + 15 - muscle)
        coverage = coverage_of(outer, self.edge)
        self.hu[at] += coverage * (flesh - self.hu[at])
        self._organ("erector", self._fibrous(muscle), halo=1.2)

    def _fibrous(self, muscle: float) -> Painting:
        """Muscle with sheets of fat."""

        def hu(box: Box, distance: np.ndarray) -> np.ndarray:
            sheets = np.minimum(self._septa(box, 9, 0.13) + self._septa(box, 24, 0.08), 1)
            return muscle + 4 * self.noise[5][box] - 100 * sheets

        return hu

    def _paint_ribs(self) -> None:
        at = np.nonzero(np.abs(self.outside_cavity - RIB_DEPTH) < RIB_RADIUS + self.edge)
        z, x, y = (axis[i] for axis, i in zip(self.grid.axes, at, strict=True))
        distance, along = rib_distance(
            z, x, y, self.outside_cavity[at], self.anatomy.width / 2, self.anatomy.front
        )
        marrow, cortex = self.values["marrow"], self.values["cortex"]
        bone = marrow + np.clip(distance + 2.2, 0, 1) * (cortex - marrow)
        cartilage = 100 + 50 * np.maximum(self.noise[9][at], 0)
        bone += np.clip((along - 0.72) * 40, 0, 1) * (cartilage - bone)
        coverage = coverage_of(distance, self.edge)
        self.hu[at] += coverage * (bone - self.hu[at])
        self._organ("sternum", self._textured(marrow, 30, 10))

    def _paint_bowel(self) -> None:
        for group in range(BOWEL_GROUPS):
            gut = self._gut(wall=2.5, content=50, gas=-0.5, mottle=10)
            self._organ(f"bowel {group}", gut, halo=1.8)
        self._organ("duodenum", self._gut(wall=2.5, content=35, gas=-0.5, mottle=8))
        self._organ("colon", self._gut(wall=2.0, content=20, gas=0.75, mottle=60), halo=1.0)
        self._tubes("mesenteric", self.values["portal"])

    def _gut(self, wall: float, content: float, gas: float, mottle: float) -> Painting:
        """Enhancing wall, mottled content, and gas in the upper part of some loops."""

        def hu(box: Box, distance: np.ndarray) -> np.ndarray:
            _, _, y = self.grid.within(box).open()
            inside = content + mottle * self.noise[9][box] + 0.4 * mottle * self.noise[5][box]
            airy = self.noise[24][box] + 0.35 * self.noise[9][box] + (y - 100) / 90 + gas - 1.3
            air = np.clip(airy * 8, 0, 1)
            inside = inside + air * (-950 - inside)
            lumen = coverage_of(distance + wall, self.edge)
            return 95 + lumen * (inside - 95)

        return hu

    def _paint_organs(self) -> None:
        values = self.values
        self._organ("pancreas", self._textured(95, 8, 16), halo=1.5)
        self._organ("stomach", self._stomach, halo=1.5)
        self._organ("kidneys", self._kidney, halo=2)
        self._organ("sinus", self._textured(values["fat"] + 40, 25, 35))
        self._tubes("renal veins", values["cava"] + 15)
        self._organ("spleen", self._textured(values["spleen"], 3, 2), halo=1.5)
        self._tubes("crura", values["muscle"])
        self._tubes("adrenals", 75)

    def _kidney(self, box: Box, distance: np.ndarray) -> np.ndarray:
        cortex, medulla = self.values["kidney"], self.values["medulla"]
        pyramids = np.clip((-distance - 6) / 3, 0, 1) * np.clip(self.noise[9][box] * 2 + 0.7, 0, 1)
        return cortex + pyramids * (medulla - cortex) + 5 * self.noise[5][box]

    def _stomach(self, box: Box, distance: np.ndarray) -> np.ndarray:
        """A wall with folds around fluid, and gas above the fluid's level."""
        _, _, y = self.grid.within(box).open()
        fluid = 25 + 4 * self.noise[5][box] + 5 * self.noise[24][box]
        air = coverage_of(self.anatomy.gas_level - y, self.edge)
        inside = fluid + air * (-980 - fluid)
        wall = 4 + 0.8 * self.noise[9][box]
        lumen = coverage_of(distance + wall, self.edge)
        return 88 + lumen * (inside - 88)

    def _paint_liver(self, lesions: list[Lesion]) -> None:
        values = self.values
        box, distance = self.anatomy.distance("liver", self.grid)
        part = self.grid.within(box)
        parenchyma = values["liver"] + 2.5 * self.noise[5][box] + 2 * self.noise[24][box]
        for name in ("hepatic", "portal"):
            vessel = self.anatomy.tubes[name].distance(part, 2.0)
            coverage = coverage_of(vessel, self.edge)
            parenchyma += coverage * (values[name] - parenchyma)
        tumor = np.zeros(part.shape, np.float32)
        for lesion in lesions:
            self._paint_lesion(lesion, box, parenchyma, tumor)
        self._cover(box, distance - 0.8, values["fat"])
        coverage = self._cover(box, distance, parenchyma)
        self._has_liver = True
        self.liver[box] = coverage
        self.tumor[box] = tumor
        self._organ("gallbladder", self._gallbladder)
        self._tubes("portal trunk", values["portal"])

    def _gallbladder(self, box: Box, distance: np.ndarray) -> np.ndarray:
        lumen = coverage_of(distance + 1.5, self.edge)
        return 70 + lumen * (self.values["bile"] - 70)

    def _paint_lesion(
        self, lesion: Lesion, liver_box: Box, parenchyma: np.ndarray, tumor: np.ndarray
    ) -> None:
        box, distance = lesion.distance(self.grid.within(liver_box))
        if not distance.size:
            return
        border = np.clip(1 + distance / (0.25 * lesion.diameter), 0, 1)
        hu = lesion.hu + border * (lesion.rim_hu - lesion.hu)
        if lesion.is_tumor:
            hu += 5 * self.noise[9][liver_box][box]
            mask = tumor[box]
            np.maximum(mask, coverage_of(distance, self.edge), out=mask)
        coverage = coverage_of(distance, max(self.edge, lesion.softness))
        region = parenchyma[box]
        region += coverage * (hu - region)

    def _paint_great_vessels(self) -> None:
        self._tubes("cava", self.values["cava"])
        self._tubes("aorta", self.values["aorta"], wall=1.2)

    def _paint_chest(self) -> None:
        values = self.values
        box, lungs = self.anatomy.distance("lungs", self.grid)
        if not lungs.size:
            return
        part = self.grid.within(box)
        air = values["lung"] + 15 * self.noise[9][box]
        vessel = self.anatomy.tubes["lung vessels"].distance(part, 2.0)
        air += coverage_of(vessel, self.edge) * (40 - air)
        # The diaphragm and the pleura line the lungs.
        self._cover(box, np.maximum(lungs - 1.6, self.outside_cavity[box]), values["muscle"])
        self._cover(box, lungs, air)
        self._organ("heart", self._heart)

    def _heart(self, box: Box, distance: np.ndarray) -> np.ndarray:
        """Blood in two halves, the left behind a thick wall, with the septum between."""
        z, x, y = self.grid.within(box).open()
        to_left = (self.anatomy.heart[0] - x) + 0.6 * (y - self.anatomy.heart[1])
        wall = np.where(to_left > 0, 11, 4) + 2 * self.noise[24][box]
        blood = np.clip((-distance - wall) / 2, 0, 1) * np.clip((np.abs(to_left) - 6) / 2, 0, 1)
        return 105 + blood * (self.values["aorta"] + 5 - 105)

    def _paint_spine(self) -> None:
        box = self.grid.box((-1e3, -46, -80), (1e3, 46, 30))
        parts = spine_distances(self.grid.within(box), self.anatomy.disc_period)
        marrow, cortex = self.values["marrow"], self.values["cortex"]
        self._cover(box, parts["canal"], 35)
        self._cover(box, parts["disc"], 95)
        shell = np.clip((parts["bone"] + 2) / 1.2, 0, 1)
        spongy = marrow + 30 * self.noise[5][box]
        self._cover(box, parts["bone"], spongy + shell * (cortex - spongy))
