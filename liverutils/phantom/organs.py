"""Draw an abdomen, organ by organ. One subject, the order of the organs, holds it together."""

from dataclasses import replace

import numpy as np
from scipy.interpolate import RectBivariateSpline

from liverutils.phantom.anatomy import Anatomy
from liverutils.phantom.shapes import (
    COARSE_MM,
    Grid,
    Noise,
    Point,
    Tubes,
    curve,
    draw_points,
    ellipsoid,
    joined,
    rotation,
    smooth_max,
    smooth_min,
    tree,
)

# Loops of different groups are kept apart by a film of fat.
BOWEL_GROUPS = 4


def make_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient's anatomy. Liver volume is about 1200 to 2000 ml."""
    return Builder(rng).build()


# The liver's medial border: x in mm where the liver begins, by y (columns, from the back to the
# front) and z (rows, from the tip to the dome).
BORDER_Y = (-40.0, 10.0, 50.0, 90.0, 130.0, 170.0)


BORDER_Z = (-75.0, -50.0, -30.0, -12.0, 5.0, 20.0, 38.0, 60.0, 110.0)


BORDER_X = (
    (170, 160, 150, 150, 150, 150),
    (165, 138, 115, 108, 108, 112),
    (140, 118, 92, 74, 72, 80),
    (115, 98, 74, 60, 48, 46),
    (92, 80, 54, 40, 18, 4),
    (74, 58, 32, 12, -16, -40),
    (60, 44, 14, -14, -42, -60),
    (54, 42, 4, -40, -66, -70),
    (54, 38, -12, -56, -72, -72),
)


class Builder:
    """Builds the organs one after the other; later ones make room for earlier ones."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.size = np.clip(rng.normal(1.01, 0.035), 0.93, 1.08)
        self.grid = Grid.spanning((-152, -212, -140), (160, 212, 236), COARSE_MM)
        self.apex = rng.normal(102, 6)
        self.fields: dict[str, np.ndarray] = {}
        self.tubes: dict[str, Tubes] = {}

    def build(self) -> Anatomy:
        """Build all organs; each makes room for those before it."""
        self._trunk()
        self._cavity()
        self._bones_and_back_muscles()
        self._diaphragm()
        self._kidneys()
        self._great_vessels()
        self._stomach()
        self._gallbladder()
        self._liver()
        self._spleen()
        self._colon()
        self._small_bowel()
        self._pancreas_and_duodenum()
        self._deep_muscles()
        self._heart()
        self._liver_vessels()
        self._abdominal_vessels()
        self._lung_vessels()
        return Anatomy(
            grid=self.grid,
            fields={name: field.astype(np.float32) for name, field in self.fields.items()},
            tubes=self.tubes,
            dome=self._extent("liver", 0)[1],
            floor=min(self._extent("liver", 0)[0], self._extent("kidneys", 0)[0]),
            disc_period=self.rng.normal(33, 1.5) * self.size,
            width=2 * max(np.abs(self._extent("body", 1))),
            front=self.front,
            back=self._extent("body", 2)[0],
            belly=self._extent("body", 2)[1],
            gas_level=self.rng.uniform(70, 112),
            heart=self.heart_centre,
        )

    def _extent(self, name: str, axis: int) -> tuple[float, float]:
        """Lowest and highest coordinate in mm of an organ along z (0), x (1) or y (2)."""
        others = tuple({0, 1, 2} - {axis})
        inside = self.grid.axes[axis][(self.fields[name] < 0).any(axis=others)]
        return float(inside[0]), float(inside[-1])

    def _noise(self, wavelength: float) -> np.ndarray:
        return Noise.over(self.rng, self.grid, wavelength).at(self.grid)

    def _rough(self, distance: np.ndarray, amount: float, wavelength: float) -> np.ndarray:
        return distance + amount * self._noise(wavelength)

    def _near(self, *place: float, spread: float = 4.0) -> np.ndarray:
        return np.asarray(place) + self.rng.normal(0, spread, 3)

    def _trunk(self) -> None:
        """The outline of the trunk's muscles, oval with a flat back, and the fat around it."""
        rng, (z, x, y) = self.rng, self.grid.open()
        half_width = rng.normal(150, 7) * self.size
        depth, back = rng.normal(122, 7) * self.size, 78 * self.size
        middle = depth - back + 8
        self.front = float(depth + middle)
        # The trunk narrows from the ribs to the waist and widens again to the hips.
        waist = 1 - 0.04 * np.exp(-(((z + 55) / 40) ** 2)) - 0.0006 * np.maximum(z - 70, 0)
        belly = 1 - 0.0011 * np.clip(z - 10, -40, 110)
        ahead = np.abs(y - middle) / np.where(y > middle, depth * belly, back + middle)
        power = np.where(y > middle, 2.15, 2.7)
        norm = ((np.abs(x) / (half_width * waist)) ** power + ahead**power) ** (1 / power)
        groove = 7 * np.exp(-((x / 14) ** 2)) * (y < -40)
        muscle = (norm - 1) * 0.93 * min(half_width, depth) + groove
        muscle = self._rough(muscle.astype(np.float32), 1.2, 60)
        lumbar, behind = self._lumbar(), np.clip((5 - y) / 30, 0, 1)
        fat = np.clip(rng.lognormal(np.log(15), 0.4), 6, 32)
        fat = fat * (1 + 0.3 * lumbar + 0.25 * behind - 0.25 * np.exp(-(((y - middle) / 50) ** 2)))
        flank = 16 * np.exp(-(((np.abs(x) - 112) / 26) ** 2)) * behind * lumbar
        self.fields["body"] = self._rough(muscle - fat, 1, 70)
        self.fields["muscle"] = muscle + flank

    def _lumbar(self) -> np.ndarray:
        """0 in the chest, 1 in the loin."""
        return np.clip((15 - self.grid.open()[0]) / 60, 0, 1)

    def _cavity(self) -> None:
        """Chest and abdomen inside the wall, with the spine and its muscles bulging in."""
        _, x, y = self.grid.open()
        lumbar, behind = self._lumbar(), np.clip((5 - y) / 30, 0, 1)
        # Around the ribs lie shoulder and back muscles; the loin's muscles stand beside the spine.
        latissimus = (1 - lumbar) * (6 * behind + 3 * np.clip((60 - y) / 40, 0, 1))
        beside_spine = np.clip((100 - np.abs(x)) / 30, 0, 1)
        loin = (10 + 24 * lumbar) * np.clip((-4 - y) / 28, 0, 1) * beside_spine
        wall = 10 + 2 * lumbar + latissimus + loin
        spine = ellipsoid(self.grid, (0, -62, 0), (44, 46, 900), power=2.6)
        inside = self._rough(self.fields["muscle"] + wall, 0.8, 50)
        self.fields["cavity"] = smooth_max(inside, -spine, 24)

    def _bones_and_back_muscles(self) -> None:
        z, x, y = self.grid.open()
        sides = [ellipsoid(self.grid, (s * 32, -63, 0), (27, 21, 900), 2.3) for s in (1, -1)]
        erector = self._rough(np.minimum(*sides), 2.5, 30)
        self.fields["erector"] = smooth_max(erector, self.fields["muscle"] + 2, 6)
        band = np.maximum(np.abs(self.fields["muscle"] + 6.5) - 4, np.abs(x) - 15)
        self.fields["sternum"] = np.maximum(np.maximum(band, 74 - z), 60 - y)

    def _diaphragm(self) -> None:
        """Height of every point over the diaphragm: two domes, steep to the sides and the back."""
        z, x, y = self.grid.open()
        right = self._dome(x, y, 72 * self.size, self.apex)
        left = self._dome(-x, y, 76 * self.size, self.apex - np.clip(self.rng.normal(13, 4), 4, 22))
        height = smooth_max(right, left, 16) + 3 * self._noise(90)
        self.over_diaphragm = ((z - height) * 0.62).astype(np.float32)
        self.fields["lungs"] = smooth_max(-self.over_diaphragm, self.fields["cavity"] - 2, 6)

    def _dome(self, x: np.ndarray, y: np.ndarray, centre: float, apex: float) -> np.ndarray:
        aside, ahead = (x - centre) / self.size, (y - 62) / self.size
        steep = np.where(aside > 0, 0.021, 0.0042)
        slope = np.where(ahead > 0, 0.0035, 0.0082)
        return apex - steep * aside**2 - slope * ahead**2

    def _kidneys(self) -> None:
        shapes, sinuses = [], []
        for side in (1, -1):
            centre = self._near(side * 70, -4, -4 if side > 0 else 6)
            tilt = rotation(about_x=-14, about_y=side * 14, about_z=side * 35)
            radii = (26, 31, 56) * self.rng.normal(1, 0.05, 3) * self.size
            body = ellipsoid(self.grid, centre, radii, 2.1, tilt)
            inward = np.array((-side * 17, 9, 0))
            hilum = ellipsoid(self.grid, centre + inward, (15, 9, 27), 2, tilt)
            shapes.append(smooth_max(body, -(hilum + 2), 8))
            sinuses.append(ellipsoid(self.grid, centre + 0.75 * inward, (15, 13, 32), 2, tilt))
        self.fields["kidneys"] = self._rough(np.minimum(*shapes), 1.0, 30)
        self.fields["sinus"] = self._rough(np.minimum(*sinuses), 3.5, 16)

    def _great_vessels(self) -> None:
        aorta = [(-4, 32, -140), (-6, 33, -60), (-5, 31, 0), (-4, 30, 60), (-8, 27, 180)]
        cava = [(24, 28, -140), (25, 29, -60), (26, 34, 0), (28, 42, 50), (26, 56, 96)]
        self.cava = np.array(cava, float) + self._near(0, 0, 0, spread=2)
        radius = self.rng.normal(10.5, 1) * np.array([0.85, 0.9, 1, 1.1, 1.2])
        self.tubes["aorta"] = curve(aorta + self._near(0, 0, 0, spread=2), radius)
        self.tubes["cava"] = curve(self.cava, self.rng.normal(11, 1))

    def _stomach(self) -> None:
        path = [
            self._near(-60, 36, 80),
            self._near(-66, 48, 52),
            self._near(-58, 85, 25),
            self._near(-34, 112, 2),
            self._near(2, 108, -6),
            self._near(24, 88, 4),
        ]
        widths = np.array([33, 31, 28, 23, 17, 9]) * self.rng.uniform(0.8, 1.15)
        distance = curve(path, widths).distance(self.grid, 16)
        distance = smooth_max(distance, self.over_diaphragm + 5, 14)
        self.fields["stomach"] = self._rough(distance, 3.0, 45)

    def _gallbladder(self) -> None:
        neck, fundus = self._near(36, 84, 10), self._near(58, 122, -26)
        path = [neck, 0.6 * neck + 0.4 * fundus, 0.25 * neck + 0.75 * fundus, fundus]
        width = self.rng.uniform(9, 16) * np.array([0.4, 0.8, 1, 0.85])
        distance = curve(path, width, step=4).distance(self.grid, 14)
        self.fields["gallbladder"] = self._rough(distance, 1.0, 24)

    def _liver(self) -> None:
        """What lies right of the medial border, under the diaphragm and within the wall."""
        z, x, y = self.grid.open()
        rows = np.array(BORDER_X, float) + self._border_variation()
        border = RectBivariateSpline(BORDER_Z, BORDER_Y, rows, kx=2, ky=2)
        medial = border(np.clip(z.ravel(), -75, 110), np.clip(y.ravel(), -40, 170))
        medial = self._rough((medial[:, None, :] * self.size - x) * 0.68, 2.5, 55)
        bounds = smooth_max(self.fields["cavity"] + 2, self.over_diaphragm + 1.0, 10)
        bounds = smooth_max(bounds, -(y + 46) * 0.9, 20)
        bounds = smooth_max(bounds, (self.rng.normal(-76, 8) - z) * 0.9, 20)
        for name, gap, width in (("kidneys", 4, 8), ("stomach", 1, 8), ("gallbladder", 1, 5)):
            bounds = smooth_max(bounds, gap - self.fields[name], width)
        bounds = smooth_max(bounds, -2 - self.tubes["cava"].distance(self.grid, 12), 3)
        bounds = smooth_max(bounds, -self._fissure(), 3)
        self.fields["liver"] = self._grown(bounds, medial, self.rng.normal(1580, 210))

    def _grown(self, bounds: np.ndarray, medial: np.ndarray, volume_ml: float) -> np.ndarray:
        """Move the medial border, by 12 mm at most, until the liver has its volume."""
        low, high = -12.0, 12.0
        for _ in range(5):
            shift = (low + high) / 2
            liver = smooth_max(medial + shift, bounds, 10)
            if (liver < 0).sum() * COARSE_MM**3 / 1000 > volume_ml:
                low = shift
            else:
                high = shift
        return liver

    def _border_variation(self) -> np.ndarray:
        """Lets the left lobe and the lower tip of the right lobe be long or short."""
        rng, y, z = self.rng, np.array(BORDER_Y), np.array(BORDER_Z)[:, None]
        left = rng.normal(0, 9) * np.clip((y - 60) / 70, 0, 1) * np.clip((z + 10) / 40, 0, 1)
        tip = rng.normal(0, 12) * np.clip((-10 - z) / 40, 0, 1)
        return left + tip + rng.normal(0, 4)

    def _fissure(self) -> np.ndarray:
        """The cleft of the falciform ligament, open to the visceral surface."""
        z, x, y = self.grid.open()
        lean = self.rng.normal(0.15, 0.06)
        centre = self.rng.normal(-2, 4)
        plane = np.abs(x - centre + lean * (y - 110) - 6 * np.sin((y + z) / 25)) - 1.6
        bound = np.maximum(np.abs(y - 104) - 20, z - self.rng.normal(34, 5))
        return np.maximum(plane, 0.5 * bound).astype(np.float32)

    def _spleen(self) -> None:
        centre = self._near(-106, 14, 40)
        radii = np.array((50, 62, 56)) * self.rng.normal(1, 0.09) * self.size
        distance = ellipsoid(self.grid, centre, radii, 2.2, rotation(about_x=20, about_y=-12))
        distance = smooth_max(distance, self.fields["cavity"] + 3, 8)
        distance = smooth_max(distance, self.over_diaphragm + 1.5, 8)
        for name, gap in (("stomach", 4), ("kidneys", 4)):
            distance = smooth_max(distance, gap - self.fields[name], 10)
        hilum = ellipsoid(self.grid, centre + (52, 16, 0), (34, 32, 70))
        self.fields["spleen"] = self._rough(smooth_max(distance, -hilum, 12), 1.8, 36)

    def _colon(self) -> None:
        path = [
            self._near(104, 52, -125),
            self._near(106, 60, -85),
            self._near(94, 66, -52),
            self._near(72, 108, -52),
            self._near(20, 138, -56, spread=8),
            self._near(-40, 140, -44, spread=8),
            self._near(-90, 116, 14, spread=6),
            self._near(-106, 88, 46),
            self._near(-120, 54, 14),
            self._near(-120, 34, -60),
            self._near(-118, 34, -130),
        ]
        widths = np.array([25, 24, 22, 19, 17, 18, 20, 20, 15, 13, 12])
        pieces = curve(path, widths * self.rng.uniform(0.85, 1.1), step=8)
        # Haustra: the colon is a chain of pouches.
        pouches = 1 + 0.14 * np.sin(2.1 * np.arange(len(pieces.start)))
        pieces = replace(
            pieces,
            start_radius=pieces.start_radius * pouches,
            end_radius=pieces.end_radius * pouches,
        )
        colon = self._rough(pieces.distance(self.grid, 14), 1.5, 18)
        self.fields["colon"] = self._inside_abdomen(colon)

    def _small_bowel(self) -> None:
        for group, path in enumerate(self._loop_paths()):
            loop = curve(path, self.rng.uniform(9.5, 13.5, len(path)), step=7)
            distance = self._rough(loop.distance(self.grid, 14), 1.5, 16)
            self.fields[f"bowel {group}"] = self._inside_abdomen(distance)

    def _inside_abdomen(self, distance: np.ndarray) -> np.ndarray:
        distance = smooth_max(distance, self.fields["cavity"] + 3, 8)
        return smooth_max(distance, self.over_diaphragm + 5, 8)

    def _loop_paths(self) -> list[np.ndarray]:
        """Loops of small bowel: a wandering tour of a jittered lattice, cut into groups."""
        rng, pitch = self.rng, 27
        lattice = np.mgrid[-98:76:pitch, 50:125:pitch, -135:16:pitch].reshape(3, -1).T
        x, y, z = lattice.T
        left = lattice[((z < -45) | (x < 15)) & ((y > 60) | (np.abs(x) > 40) | (z < -60))]
        tour = [left[rng.integers(len(left))]]
        while len(left) > 1:
            left = left[(left != tour[-1]).any(axis=1)]
            away = np.linalg.norm(left - tour[-1], axis=1) + rng.exponential(pitch / 4, len(left))
            tour.append(left[away.argmin()])
        points = np.array(tour) + rng.normal(0, 6, (len(tour), 3))
        return np.array_split(points, BOWEL_GROUPS)

    def _pancreas_and_duodenum(self) -> None:
        head, tail = self._near(34, 62, 0, spread=3), self._near(-74, 30, 38, spread=4)
        pancreas = curve(
            [head + (2, -4, -22), head, (12, 70, 14), (-22, 62, 22), tail], [10, 13, 8, 9, 8]
        )
        self.fields["pancreas"] = self._rough(pancreas.distance(self.grid, 14), 2.2, 13)
        duodenum: list[Point] = [
            head + (12, 18, 8),
            head + (20, 0, -8),
            head + (16, -10, -36),
            (0, 50, -42),
        ]
        self.fields["duodenum"] = curve(duodenum, 11).distance(self.grid, 14)

    def _deep_muscles(self) -> None:
        psoas, crura = [], []
        for s in (1, -1):
            psoas.append(
                curve([(s * 25, -4, 22), (s * 35, -3, -30), (s * 45, 6, -140)], (6, 17, 25))
            )
            crura.append(curve([(s * 12, 22, 0), (s * 17, 34, 40), (s * 16, 46, 72)], 3.5))
        self.fields["psoas"] = joined(*psoas).distance(self.grid, 16)
        self.tubes["crura"] = joined(*crura)

    def _heart(self) -> None:
        self.heart_centre = self._near(-28, 96, self.apex + 36)
        heart = ellipsoid(self.grid, self.heart_centre, (66, 56, 52), 2.2, rotation(about_z=25))
        above = smooth_max(heart, 3 - self.over_diaphragm, 6)
        self.fields["heart"] = smooth_max(above, self.fields["cavity"] + 4, 10)
        # The lungs leave free the heart, the fat around it and the great vessels.
        pericardium = smooth_min(heart - 5, self._mediastinum(), 34)
        self.fields["lungs"] = smooth_max(self.fields["lungs"], -pericardium, 5)

    def _mediastinum(self) -> np.ndarray:
        back = ellipsoid(self.grid, (-6, 34, 150), (20, 30, 120))
        front = ellipsoid(self.grid, (0, self.front - 20, 150), (44, 22, 120))
        return np.minimum(back, front)

    def _liver_vessels(self) -> None:
        hilum, confluence = self._near(26, 78, 26, spread=3), self._near(6, 60, 6, spread=3)
        trunk: list[Point] = [
            (8, 60, -120),
            (7, 58, -50),
            confluence,
            0.5 * (confluence + hilum),
            hilum,
        ]
        splenic: list[Point] = [confluence, (-30, 50, 20), (-72, 30, 36)]
        self.tubes["portal trunk"] = joined(curve(trunk, [3.5, 5, 6.5, 7, 6.5]), curve(splenic, 4))
        mouth = self.cava[-1] + (0, 0, -14)
        for name, root, count in (("portal", hilum, 75), ("hepatic", mouth, 55)):
            self.tubes[name] = tree(self.rng, root, self._points_in("liver", -5, count), 1.3, 7.5)

    def _abdominal_vessels(self) -> None:
        right_renal = curve([(50, 8, -2), (36, 22, 2), (25, 30, 5)], [4.5, 4, 4])
        left_renal = curve([(-50, 8, 6), (-28, 32, 8), (-6, 47, 8), (18, 38, 7)], [4.5, 4, 3.5, 4])
        self.tubes["renal veins"] = joined(right_renal, left_renal)
        self.tubes["adrenals"] = joined(
            curve([(38, 20, 50), (36, 26, 38), (42, 16, 28)], 2.2),
            curve([(-30, 28, 40), (-36, 30, 32), (-44, 18, 24)], 2.4),
        )
        celiac = curve([(-5, 34, 26), (-4, 52, 28), (-10, 58, 28)], [4, 3.5, 3])
        mesenteric = curve([(-4, 34, 12), (-5, 48, 4), (-6, 52, -50), (0, 56, -120)], 3.2)
        gut = self.rng.uniform((-85, 55, -125), (60, 135, 25), (110, 3))
        branches = tree(self.rng, (2, 54, -30), gut, 1.3, 4)
        self.tubes["mesenteric"] = joined(celiac, mesenteric, branches)

    def _lung_vessels(self) -> None:
        sides = []
        for side in (1, -1):
            tips = self._points_in("lungs", -4, 110, side=side)
            sides.append(tree(self.rng, (side * 45, 45, 190), tips, 1.1, 8, step=12))
        self.tubes["lung vessels"] = joined(*sides)

    def _points_in(self, name: str, depth: float, count: int, side: int = 0) -> np.ndarray:
        """Draw points (count, 3) in an organ, for 1 in its right and for -1 in its left half."""
        inside = self.fields[name] < depth
        if side:
            inside &= (side * self.grid.x > 0)[None, :, None]
        return draw_points(self.rng, self.grid, inside, count)
