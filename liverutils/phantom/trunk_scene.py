"""Paint a trunk: an abdomen, what lies above and below it, and what disease and surgeons add."""

import numpy as np

from liverutils.phantom.conditions import Conditions
from liverutils.phantom.organs import BOWEL_GROUPS
from liverutils.phantom.scene import Painting, Patient, Scene, Shade, coverage_of
from liverutils.phantom.shapes import Box, Grid, Noise

# What a network may learn beside the liver; the mask's numbers.
ORGANS = (
    *("background", "body", "liver", "spleen", "kidneys", "stomach", "bowel", "pancreas"),
    *("gallbladder", "vessels", "lungs", "heart", "bone", "muscle", "bladder"),
)
PARTS = {
    "bowel": ("colon", "duodenum", *(f"bowel {group}" for group in range(BOWEL_GROUPS))),
    "muscle": ("psoas", "erector"),
    "bone": ("sternum", "pelvis", "femur", "shoulder"),
    "vessels": ("cava", "aorta", "portal trunk"),
}
PART_OF = {part: organ for organ, parts in PARTS.items() for part in parts}


class TrunkScene(Scene):
    """A scene from the thighs to the shoulders, with the organs' labels beside the HU."""

    def __init__(
        self, patient: Patient, grid: Grid, textures: dict[int, Noise], conditions: Conditions
    ):
        self.conditions = conditions
        self.organs = np.zeros(grid.shape, np.uint8)
        super().__init__(patient, grid, textures)
        self._paint_foreign_bodies()

    def _label(self, name: str, box: Box, coverage: np.ndarray) -> None:
        organ = PART_OF.get(name, name)
        if organ in ORGANS:
            self.organs[box][coverage > 0.5] = ORGANS.index(organ)

    def _organ(self, name: str, hu: Shade | Painting, halo: float = 0) -> tuple[Box, np.ndarray]:
        box, coverage = super()._organ(name, hu, halo)
        self._label(name, box, coverage)
        return box, coverage

    def _tubes(self, name: str, hu: float, wall: float = 0) -> tuple[Box, np.ndarray] | None:
        if painted := super()._tubes(name, hu, wall):
            self._label(name, *painted)
        return painted

    def _paint_wall(self) -> None:
        super()._paint_wall()
        box, skin = self.anatomy.distance("body", self.grid)
        self._label("body", box, coverage_of(skin, self.edge))
        if self.conditions.ascites:
            self._paint_ascites()

    def _paint_ascites(self) -> None:
        """Fluid around the organs, from the back of the flanks up to a level."""
        box, cavity = self.anatomy.distance("cavity", self.grid)
        _, x, y = self.grid.within(box).open()
        level = (
            y - (-30 + 170 * self.conditions.ascites) - 0.3 * np.abs(x) * self.conditions.ascites
        )
        self._cover(box, np.maximum(cavity + 4, level + 6 * self.noise[24][box]), 10)

    def _paint_bowel(self) -> None:
        self._organ("womb", self._textured(95, 6, 6), halo=1.5)
        self._organ("bladder", self._bladder, halo=1.5)
        super()._paint_bowel()

    def _bladder(self, box: Box, distance: np.ndarray) -> np.ndarray:
        _, _, y = self.grid.within(box).open()
        urine = 8 + np.clip((self.conditions.urine_level - y) / 4, 0, 1) * self.conditions.urine_hu
        lumen = coverage_of(distance + 4, self.edge)
        return 60 + lumen * (urine - 60)

    def _gut(self, wall: float, content: float, gas: float, mottle: float) -> Painting:
        """As in the abdomen, with contrast in some loops and more or less gas."""
        plain = super()._gut(wall, content, gas + self.conditions.gas, mottle)
        if not self.conditions.oral_hu:
            return plain

        def hu(box: Box, distance: np.ndarray) -> np.ndarray:
            painted = plain(box, distance)
            lumen = coverage_of(distance + wall, self.edge) * (painted > -300)
            share = np.clip(0.5 + 1.5 * self.noise[24][box], 0, 1)
            return painted + lumen * share * (self.conditions.oral_hu - painted)

        return hu

    def _paint_liver(self, lesions: list) -> None:
        super()._paint_liver(lesions)
        self.organs[self.liver > 0.5] = ORGANS.index("liver")
        self._organ("gallbladder", self._gallbladder)
        self._tubes("portal trunk", self.values["portal"])

    def _paint_chest(self) -> None:
        super()._paint_chest()
        if self.anatomy.distance("lungs", self.grid)[1].size:
            self._paint_pleura()
        self._tubes("airway", -1000, wall=1.5)
        self._tubes("gullet", 60)
        self._tubes("cava", self.values["cava"])
        self._tubes("aorta", self.values["aorta"], wall=1.2)

    def _paint_pleura(self) -> None:
        """An effusion: fluid in the back of the chest, up to a level."""
        box, lungs = self.anatomy.distance("lungs", self.grid)
        airy = lungs
        if self.conditions.effusion:
            _, x, y = self.grid.within(box).open()
            side = np.where(x > 0, 1.0, self.conditions.effusion_left)
            level = y - (-50 + 110 * self.conditions.effusion * side)
            self._cover(box, np.maximum(lungs, level), 12)
            collapsed = np.maximum(lungs, np.abs(level - 9) - 9)
            self._cover(box, collapsed, 60 + 30 * self.noise[9][box])
            airy = np.maximum(lungs, 18 - level)
        self._label("lungs", box, coverage_of(airy, self.edge))
        self._organ("heart", self._heart)

    def _paint_ribs(self) -> None:
        super()._paint_ribs()
        for name in ("pelvis", "femur", "shoulder"):
            self._organ(name, self._bone)

    def _bone(self, box: Box, distance: np.ndarray) -> np.ndarray:
        marrow, cortex = self.values["marrow"], self.values["cortex"]
        shell = np.clip((distance + 3.0) / 1.5, 0, 1)
        return marrow * 0.7 + 30 * self.noise[5][box] + shell * (cortex - marrow * 0.7)

    def _paint_spine(self) -> None:
        """The spine down to the sacrum, which the pelvis holds."""
        above = self.grid.box((-128, -1e3, -1e3), (1e3, 1e3, 1e3))
        if self.grid.within(above).shape[0] == 0:
            return
        whole, hu, liver = self.grid, self.hu, self.liver
        self.grid, self.hu, self.liver = whole.within(above), hu[above], liver[above]
        noise, self.noise = self.noise, {mm: values[above] for mm, values in self.noise.items()}
        super()._paint_spine()
        self.grid, self.hu, self.liver, self.noise = whole, hu, liver, noise
        box = whole.box((-128, -24, -20), (1e3, 24, 18))
        self.organs[box][self.hu[box] > 150] = ORGANS.index("bone")

    def _paint_foreign_bodies(self) -> None:
        """Clips, drains, stents and calcium: small, and brighter than anything that grows."""
        for tubes, hu in self.conditions.foreign:
            box = tubes.box(self.grid, 2.0)
            part = self.grid.within(box)
            if 0 in part.shape:
                continue
            coverage = coverage_of(tubes.distance(part, 2.0), self.edge)
            region = self.hu[box]
            region += coverage * (hu - region)
