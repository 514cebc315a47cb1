"""A trunk from the thighs to the shoulders, around an abdomen whose size and organs vary widely."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from liverutils.phantom.anatomy import Anatomy
from liverutils.phantom.organs import BORDER_Y, BORDER_Z, Builder
from liverutils.phantom.shapes import (
    COARSE_MM,
    Grid,
    curve,
    ellipsoid,
    joined,
    rotation,
    smooth_max,
    smooth_min,
    tree,
)

# Where the trunk's parts begin, in mm above the middle of the second lumbar vertebra.
CREST, HIP, CROTCH, APEX, SHOULDER = -95.0, -235.0, -300.0, 268.0, 235.0


@dataclass(frozen=True)
class Habitus:
    """What makes one body unlike another.

    Attributes:
        fat: Factor of the fat under the skin.
        liver_ml: Volume that the liver is grown to, before `resected`.
        left_lobe: Of the left lobe, mm; negative is short.
        riedel: Length of a tongue of the right lobe, mm; 0 in most.
        nodular: Height of the knots on a cirrhotic liver's surface, mm; 0 in most.
        resected: "", "right" or "left": the part of the liver that a surgeon has taken.
        spleen: Factor of the spleen's size.
        arms_down: Whether the arms lie beside the body.
    """

    fat: float
    liver_ml: float
    left_lobe: float
    riedel: float
    nodular: float
    resected: str
    spleen: float
    arms_down: bool

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Habitus":
        """Draw a body: most are ordinary, each oddity is in some."""
        cirrhotic = rng.random() < 0.2
        return cls(
            fat=float(np.exp(rng.normal(0, 0.55))),
            liver_ml=float(np.clip(rng.normal(1600, 380), 700, 2900)),
            left_lobe=float(rng.normal(0, 16)),
            riedel=float(rng.uniform(30, 80)) if rng.random() < 0.12 else 0.0,
            nodular=float(rng.uniform(1.5, 4)) if cirrhotic else 0.0,
            resected=str(rng.choice(["", "right", "left"], p=[0.88, 0.05, 0.07])),
            spleen=float(rng.uniform(1.15, 1.7)) if cirrhotic else float(rng.uniform(0.75, 1.2)),
            arms_down=bool(rng.random() < 0.2),
        )


def make_trunk(rng: np.random.Generator) -> tuple[Anatomy, Habitus]:
    """Draw a patient from the thighs to the shoulders."""
    habitus = Habitus.drawn(rng)
    builder = TrunkBuilder(rng, habitus)
    return replace(builder.build(), width=builder.width), habitus


class TrunkBuilder(Builder):
    """Builds the abdomen as `Builder` does, on a longer grid, and then what lies above and below.

    Its formulas hold beyond the abdomen too, but for the ends of lungs, body and vessels.
    """

    def __init__(self, rng: np.random.Generator, habitus: Habitus):
        super().__init__(rng)
        self.habitus = habitus
        self.size = np.clip(rng.normal(1.0, 0.06), 0.86, 1.14)
        self.grid = Grid.spanning((-390, -250, -156), (330, 250, 250), COARSE_MM)

    def _trunk(self) -> None:
        super()._trunk()
        fields, (z, _, _) = self.fields, self.grid.open()
        subcutaneous = fields["muscle"] - fields["body"]
        fields["body"] = fields["muscle"] - np.maximum(subcutaneous * self.habitus.fat, 3)
        self.width = 2 * max(np.abs(self._extent("body", 1)))
        hips = self._both_sides(lambda s: ellipsoid(self.grid, (s * 82, -22, -232), (92, 88, 115)))
        for name, fat in (("muscle", 0.0), ("body", 14.0 * self.habitus.fat)):
            body = smooth_min(fields[name], hips - fat, 30)
            legs = np.minimum(self._leg(1, 66 + fat), self._leg(-1, 66 + fat))
            above = smooth_max(body, (CROTCH - z) * 0.9, 30)
            fields[name] = smooth_min(above, smooth_max(legs, z - (HIP + 20), 20), 20)
            fields[name] = self._shouldered(fields[name], fat)
            if self.habitus.arms_down:
                girth = 36 + 0.6 * fat
                arms = np.minimum(self._arm(1, girth), self._arm(-1, girth))
                fields[name] = np.minimum(fields[name], arms)

    def _both_sides(self, shape: Callable[[int], np.ndarray]) -> np.ndarray:
        return np.minimum(shape(1), shape(-1))

    def _leg(self, side: int, radius: float) -> np.ndarray:
        path = [(side * 88, 6, -230), (side * 92, 10, -300), (side * 96, 12, -430)]
        return curve(path, radius, step=30).distance(self.grid, 60)

    def _arm(self, side: int, radius: float) -> np.ndarray:
        path = [
            (side * 176, 0, 230),
            (side * 208, 4, 80),
            (side * 206, 30, -60),
            (side * 190, 60, -200),
        ]
        return curve(path, (1.2 * radius, radius, 0.9 * radius, 0.7 * radius), 30).distance(
            self.grid, 60
        )

    def _shouldered(self, body: np.ndarray, fat: float) -> np.ndarray:
        """Round the trunk off above the shoulders, with arms raised or beside it, and a neck."""
        z, x, y = self.grid.open()
        end = (z - SHOULDER - 60 + 0.0025 * x**2 + 0 * y) * 0.8
        torso = smooth_max(body, end - fat, 30)
        neck = curve([(0, 0, 200), (0, 6, 400)], 55 + 0.4 * fat, step=40).distance(self.grid, 60)
        shoulders = self._both_sides(
            lambda s: ellipsoid(self.grid, (s * 150, -5, SHOULDER - 5), (62 + fat, 52 + fat, 62))
        )
        return smooth_min(smooth_min(torso, neck, 30), shoulders, 25)

    def _cavity(self) -> None:
        super()._cavity()
        z, _, _ = self.grid.open()
        # The pelvis narrows to a bowl, wide in front of the sacrum.
        bowl = ellipsoid(self.grid, (0, 42, -180), (88, 88, 104), 2.2)
        pelvic = np.clip((CREST - z) / 60, 0, 1)
        cavity = self.fields["cavity"]
        self.fields["cavity"] = cavity + pelvic * (np.maximum(cavity, bowl) - cavity)

    def _bones_and_back_muscles(self) -> None:
        super()._bones_and_back_muscles()
        z, x, y = self.grid.open()
        fields = self.fields
        fields["sternum"] = np.maximum(fields["sternum"], z - 232)
        fields["erector"] = np.maximum(fields["erector"], CREST - 40 - z)
        wing = self._both_sides(
            lambda s: ellipsoid(
                self.grid, (s * 88, -8, -160), (54, 78, 78), 2.2, rotation(0, s * 16, s * 28)
            )
        )
        # Of each shell only what faces outwards and backwards is bone.
        inwards = (y + 8) * 0.75 - (np.abs(x) - 88) * 0.66 - 14
        plate = np.maximum(np.abs(wing) - 4.5, inwards)
        sacrum = ellipsoid(self.grid, (0, -40, -170), (48, 20, 66), 2.4, rotation(about_x=-24))
        socket = self._both_sides(lambda s: ellipsoid(self.grid, (s * 92, 18, HIP), (32, 30, 32)))
        socket = np.maximum(np.abs(socket) - 4, -(socket + 40))
        pubis = joined(
            curve([(80, 40, -240), (40, 66, -250), (-40, 66, -250), (-80, 40, -240)], 9),
            curve([(72, -18, -270), (56, 0, -298), (30, 44, -270)], 9),
            curve([(-72, -18, -270), (-56, 0, -298), (-30, 44, -270)], 9),
        ).distance(self.grid, 14)
        femur = self._both_sides(self._femur)
        fields["pelvis"] = smooth_min(np.minimum(np.minimum(plate, sacrum), socket), pubis, 5)
        if self.habitus.arms_down:
            arm = self._both_sides(lambda s: self._arm(s, 11))
            femur = np.minimum(femur, arm)
        fields["femur"] = femur
        fields["shoulder"] = self._both_sides(self._shoulder_bones)

    def _femur(self, side: int) -> np.ndarray:
        head = ellipsoid(self.grid, (side * 92, 18, HIP), (24, 24, 24))
        path = [
            (side * 92, 18, HIP),
            (side * 126, 8, -262),
            (side * 122, 10, -310),
            (side * 112, 14, -430),
        ]
        return np.minimum(head, curve(path, (15, 18, 14, 13.5), step=12).distance(self.grid, 14))

    def _shoulder_bones(self, side: int) -> np.ndarray:
        head = ellipsoid(self.grid, (side * 172, 0, SHOULDER + 4), (24, 24, 24))
        blade = ellipsoid(
            self.grid, (side * 108, -58, 178), (46, 5, 66), 2.4, rotation(0, 0, side * -24)
        )
        collar = curve([(side * 22, 84, 244), (side * 84, 62, 258), (side * 148, 10, 262)], 6)
        return np.minimum(np.minimum(head, blade), collar.distance(self.grid, 12))

    def _diaphragm(self) -> None:
        super()._diaphragm()
        z, x, y = self.grid.open()
        top = APEX - 0.016 * (np.abs(x) - 48) ** 2 - 0.012 * (y - 10) ** 2
        self.fields["lungs"] = smooth_max(self.fields["lungs"], (z - top) * 0.5, 20)

    def _great_vessels(self) -> None:
        super()._great_vessels()
        aorta = [(-4, 32, -104), (-6, 33, -60), (-5, 31, 0), (-4, 30, 60), (-14, 20, 150)]
        arch = [(-20, 22, 205), (-14, 38, 236), (6, 62, 226), (14, 66, 190), (4, 62, 150)]
        radius = self.rng.normal(10.5, 1) * np.linspace(0.85, 1.35, len(aorta + arch))
        iliac = [
            curve(
                [(-4, 32, -100), (s * 38, 34, -160), (s * 66, 60, -236), (s * 76, 62, -400)],
                (7, 6, 5, 5),
            )
            for s in (1, -1)
        ]
        self.tubes["aorta"] = joined(curve(aorta + arch, radius), *iliac)
        veins = [
            curve(
                [(22, 28, -112), (s * 42, 22, -165), (s * 74, 52, -238), (s * 84, 54, -400)],
                (9, 7, 6, 6),
            )
            for s in (1, -1)
        ]
        upper = [curve([(24, 58, 140), (28, 56, 200), (26, 58, 250)], 9)]
        upper += [curve([(26, 58, 240), (s * 60, 40, 275), (s * 70, 30, 330)], 7) for s in (1, -1)]
        self.tubes["cava"] = joined(curve(self.cava, self.rng.normal(11, 1)), *veins, *upper)
        windpipe = [(0, 40, 330), (0, 42, 250), (2, 36, 196)]
        bronchi = [curve([(2, 36, 198), (s * 30, 34, 172), (s * 52, 36, 156)], 6) for s in (1, -1)]
        self.tubes["airway"] = joined(curve(windpipe, 8.5), *bronchi)
        self.tubes["gullet"] = curve(
            [(-4, 26, 330), (-4, 24, 200), (-10, 40, 110), (-20, 44, 84)], 7
        )

    def _border_variation(self) -> np.ndarray:
        y, z = np.array(BORDER_Y), np.array(BORDER_Z)[:, None]
        left = self.habitus.left_lobe * np.clip((y - 60) / 70, 0, 1) * np.clip((z + 10) / 40, 0, 1)
        return super()._border_variation() - left

    def _grown(self, bounds: np.ndarray, medial: np.ndarray, volume_ml: float) -> np.ndarray:
        liver = super()._grown(bounds, medial, self.habitus.liver_ml)
        if self.habitus.riedel:
            tip = -76 - self.habitus.riedel
            tongue = curve([(112, 30, -40), (116, 34, -80), (112, 38, tip)], (30, 24, 12))
            inside = smooth_max(tongue.distance(self.grid, 40), self.fields["cavity"] + 2, 8)
            liver = smooth_min(liver, inside, 16)
        if self.habitus.resected:
            z, x, _ = self.grid.open()
            side = 1 if self.habitus.resected == "right" else -1
            plane = side * (x - 34 + 0.25 * (z - 40)) * 0.9
            kept = smooth_max(liver, plane + 3 * self._noise(30), 6)
            liver = kept if (kept < 0).sum() * COARSE_MM**3 > 250e3 else liver
        if self.habitus.nodular:
            liver = liver + self.habitus.nodular * np.clip(self._noise(18), -1, 1)
        return liver

    def _spleen(self) -> None:
        size, self.size = self.size, self.size * self.habitus.spleen
        super()._spleen()
        self.size = size

    def _colon(self) -> None:
        super()._colon()
        path = [
            self._near(-118, 34, -128),
            self._near(-104, 46, -170, spread=6),
            self._near(-60, 60, -178, spread=12),
            self._near(-10, 66, -196, spread=12),
            self._near(16, 36, -182, spread=8),
            self._near(0, 4, -214),
            self._near(0, 8, -262),
            self._near(0, 16, -300),
        ]
        widths = self.rng.uniform(11, 16, len(path)) * self.rng.uniform(0.8, 1.3)
        sigmoid = self._rough(curve(path, widths, step=8).distance(self.grid, 14), 1.5, 18)
        sigmoid = smooth_max(sigmoid, self.fields["cavity"] + 2, 8)
        self.fields["colon"] = np.minimum(self.fields["colon"], sigmoid)
        fill = self.rng.uniform(0.6, 1.35)
        bladder = ellipsoid(self.grid, self._near(0, 86, -236), np.array((42, 34, 32)) * fill)
        self.fields["bladder"] = smooth_max(bladder, self.fields["cavity"] + 2, 8)
        womb = ellipsoid(self.grid, self._near(0, 46, -232), self.rng.uniform(16, 34, 3))
        womb = smooth_max(womb, 3 - self.fields["bladder"], 4)
        self.fields["womb"] = self._rough(smooth_max(womb, 2 - sigmoid, 4), 1, 24)

    def _loop_paths(self) -> list[np.ndarray]:
        rng, pitch = self.rng, 27
        groups = super()._loop_paths()
        lattice = np.mgrid[-62:64:pitch, 40:122:pitch, -222:-140:pitch].reshape(3, -1).T
        lattice = lattice[rng.permutation(len(lattice))] + rng.normal(0, 6, (len(lattice), 3))
        lattice = lattice[np.lexsort((lattice[:, 0] // 40, lattice[:, 2] // 30))]
        return [np.concatenate([groups[0], lattice]), *groups[1:]]

    def _deep_muscles(self) -> None:
        super()._deep_muscles()
        low = [
            curve([(s * 44, 6, -130), (s * 66, 28, -190), (s * 82, 42, -250)], (24, 22, 16))
            for s in (1, -1)
        ]
        self.fields["psoas"] = np.minimum(
            self.fields["psoas"], joined(*low).distance(self.grid, 16)
        )

    def _mediastinum(self) -> np.ndarray:
        back = ellipsoid(self.grid, (-4, 34, 210), (30, 34, 130))
        middle = ellipsoid(self.grid, (2, 60, 225), (40, 38, 90))
        front = ellipsoid(self.grid, (0, self.front - 20, 190), (44, 22, 130))
        return np.minimum(np.minimum(back, middle), front)

    def _lung_vessels(self) -> None:
        sides = []
        for side in (1, -1):
            tips = self._points_in("lungs", -4, 170, side=side)
            sides.append(tree(self.rng, (side * 45, 45, 165), tips, 1.1, 8, step=12))
        self.tubes["lung vessels"] = joined(*sides)
