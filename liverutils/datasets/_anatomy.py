"""The phantom's anatomy: where organs, bones and vessels lie in one synthetic abdomen.

Shapes are signed distances in mm, negative inside, on a coarse grid: smooth surfaces lose nothing
there, and blending them is cheap. Coordinates are anatomical millimetres: the origin is the centre
of the vertebral body at the level of the kidneys; x grows to the patient's right, y to the front, z
to the head. Arrays are laid out (Z, X, Y), so that one slice is one piece of memory.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.interpolate import CubicSpline, RectBivariateSpline

COARSE_MM = 4.0
RIB_PERIOD = 27.0
RIB_DEPTH = 5.0
RIB_RADIUS = 3.0
FAR = 60.0

# Loops of different groups are kept apart by a film of fat.
BOWEL_GROUPS = 4

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm along z, x and y."""

    z: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def spanning(cls, low: tuple, high: tuple, step: float) -> "Grid":
        """Cover the box from `low` to `high`, both (z, x, y) in mm, in steps of `step` mm."""
        axes = (
            np.arange(a, b + step, step, dtype=np.float32) for a, b in zip(low, high, strict=True)
        )
        return cls(*axes)

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three axes, z first."""
        return self.z, self.x, self.y

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along z, x and y."""
        return len(self.z), len(self.x), len(self.y)

    def box(self, low, high) -> Box:
        """The voxels whose centres lie between `low` and `high`, both (z, x, y) in mm."""
        return tuple(
            slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b, side="right")))
            for axis, a, b in zip(self.axes, low, high, strict=True)
        )

    def within(self, box: Box) -> "Grid":
        """The part of the grid inside `box`."""
        return Grid(*(axis[part] for axis, part in zip(self.axes, box, strict=True)))

    def open(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates z, x, y, shaped to broadcast against each other."""
        return self.z[:, None, None], self.x[None, :, None], self.y[None, None, :]


def upsample(values: np.ndarray, coarse: Grid, fine: Grid) -> np.ndarray:
    """Interpolate `values` on `coarse` at the points of `fine` (Keys' cubic convolution, 1981)."""
    wz, wx, wy = (_cubic_weights(f, c) for f, c in zip(fine.axes, coarse.axes, strict=True))
    in_z = np.tensordot(wz, values, axes=1)
    return np.matmul(np.matmul(wx, in_z), wy.T)


def _cubic_weights(fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    step = coarse[1] - coarse[0]
    t = np.abs(np.clip(fine, coarse[0], coarse[-1])[:, None] - coarse[None]) / step
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0)).astype(np.float32)


def smooth_max(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Intersection of two shapes, rounded over `width` mm (Quilez' polynomial smooth maximum)."""
    blend = np.maximum(width - np.abs(a - b), 0) / width
    return np.maximum(a, b) + blend * blend * (width / 4)


def smooth_min(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Union of two shapes, rounded over `width` mm."""
    return -smooth_max(-a, -b, width)


def ellipsoid(grid: Grid, centre, radii, power: float = 2.0, tilt: np.ndarray | None = None):
    """Distance to a superellipsoid; `centre` and `radii` are (x, y, z), `tilt` a rotation matrix.

    The distance is of first order: exact at the surface and in direction, approximate elsewhere.
    """
    z, x, y = grid.open()
    offset = [axis - np.float32(c) for axis, c in zip((x, y, z), centre, strict=True)]
    if tilt is not None:
        offset = [sum(np.float32(row[i]) * offset[i] for i in range(3)) for row in tilt]
    radii = np.asarray(radii, np.float32)
    scaled = [np.abs(o) / r for o, r in zip(offset, radii, strict=True)]
    norm = sum(s**power for s in scaled) ** (1 / power)
    slope = np.sqrt(sum((s / r) ** 2 for s, r in zip(scaled, radii, strict=True)))
    return (norm - 1) * norm / np.maximum(slope, 1e-3)


def rotation(about_x: float = 0, about_y: float = 0, about_z: float = 0) -> np.ndarray:
    """Rotation matrix from angles in degrees, applied about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate((about_x, about_y, about_z)):
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


@dataclass(frozen=True)
class Tubes:
    """Straight pieces of tube: ends (N, 3) as (x, y, z) in mm and their radii (N,) in mm."""

    start: np.ndarray
    end: np.ndarray
    start_radius: np.ndarray
    end_radius: np.ndarray

    def distance(self, grid: Grid, margin: float) -> np.ndarray:
        """Distance to the nearest tube, right up to `margin` mm outside it and FAR beyond."""
        out = np.full(grid.shape, FAR, np.float32)
        if not out.size:
            return out
        low, high = self._spans(margin)
        first = np.array([axis[0] for axis in grid.axes])
        last = np.array([axis[-1] for axis in grid.axes])
        for i in np.flatnonzero(((high > first) & (low < last)).all(axis=1)):
            box = grid.box(low[i], high[i])
            piece = out[box]
            np.minimum(piece, self._piece_distance(i, grid.within(box)), out=piece)
        return out

    def box(self, grid: Grid, margin: float) -> Box:
        """The part of `grid` within `margin` mm of the tubes."""
        low, high = self._spans(margin)
        here = (high[:, 0] > grid.z[0]) & (low[:, 0] < grid.z[-1])
        if not here.any():
            return (slice(0, 0),) * 3
        return grid.box(low[here].min(axis=0), high[here].max(axis=0))

    def _spans(self, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (N, 3) of the boxes around the pieces, as (z, x, y)."""
        reach = np.maximum(self.start_radius, self.end_radius)[:, None] + margin
        low, high = np.minimum(self.start, self.end), np.maximum(self.start, self.end)
        return (low - reach)[:, [2, 0, 1]], (high + reach)[:, [2, 0, 1]]

    def _piece_distance(self, i: int, grid: Grid) -> np.ndarray:
        z, x, y = grid.open()
        ax, ay, az = (np.float32(v) for v in self.start[i])
        ux, uy, uz = (np.float32(v) for v in self.end[i] - self.start[i])
        length2 = max(ux * ux + uy * uy + uz * uz, np.float32(1e-6))
        x, y, z = x - ax, y - ay, z - az
        t = np.clip((ux * x + uy * y + uz * z) / length2, 0, 1)
        across = (x - t * ux) ** 2 + (y - t * uy) ** 2 + (z - t * uz) ** 2
        radius = np.float32(self.start_radius[i])
        return np.sqrt(across) - (radius + t * np.float32(self.end_radius[i] - radius))


def curve(points, radii, step: float = 6.0) -> Tubes:
    """A smooth tube through `points` (N, 3) with `radii` (N,) or one radius, all in mm."""
    points = np.asarray(points, float)
    radii = np.broadcast_to(np.asarray(radii, float), len(points))
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places = np.linspace(0, along[-1], max(2, int(along[-1] / step) + 1))
    path = CubicSpline(along, points)(places)
    width = np.interp(places, along, radii)
    return Tubes(path[:-1], path[1:], width[:-1], width[1:])


def tree(
    rng: np.random.Generator,
    root,
    tips: np.ndarray,
    tip_radius: float,
    root_radius: float,
    step: float = 7.0,
) -> Tubes:
    """A vessel tree from `root` to every one of `tips` (N, 3), in mm.

    Tips join, nearest to the root first, where the way along the tree stays short. Radii follow
    Murray's law (1926): a parent's radius to a power is the sum of its children's. The power is
    the one at which the trunk is `root_radius` wide.
    """
    nodes, parents, paths = [np.asarray(root, float)], [-1], [0.0]
    for tip in tips[np.argsort(np.linalg.norm(tips - nodes[0], axis=1))]:
        gaps = np.linalg.norm(np.array(nodes) - tip, axis=1)
        joint = int(np.argmin(gaps + 0.25 * np.array(paths)))
        count = max(1, round(gaps[joint] / step))
        begin = nodes[joint]
        bend = rng.normal(0, 0.08 * gaps[joint], 3)
        parent = joint
        for share in np.arange(1, count + 1) / count:
            nodes.append(begin + share * (tip - begin) + np.sin(np.pi * share) * bend)
            parents.append(parent)
            paths.append(paths[parent] + gaps[joint] / count)
            parent = len(nodes) - 1
    nodes, parents = np.array(nodes), np.array(parents)
    radius = _murray_radii(parents, tip_radius, root_radius)
    return Tubes(nodes[parents[1:]], nodes[1:], radius[1:], radius[1:])


def _murray_radii(parents: np.ndarray, tip_radius: float, root_radius: float) -> np.ndarray:
    leaves = np.zeros(len(parents))
    leaves[np.setdiff1d(np.arange(len(parents)), parents)] = 1
    for node in range(len(parents) - 1, 0, -1):
        leaves[parents[node]] += leaves[node]
    return tip_radius * leaves ** (np.log(root_radius / tip_radius) / np.log(leaves[0]))


def joined(*parts: Tubes) -> Tubes:
    """Several sets of tubes as one."""
    names = ("start", "end", "start_radius", "end_radius")
    return Tubes(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


@dataclass(frozen=True)
class Noise:
    """Smooth noise of about unit standard deviation, defined everywhere on the body."""

    knots: Grid
    values: np.ndarray

    @classmethod
    def over(cls, rng: np.random.Generator, grid: Grid, wavelength: float) -> "Noise":
        """Draw noise that varies over about `wavelength` mm, for the extent of `grid`."""
        pitch = wavelength / 2
        low = [axis[0] - 2 * pitch for axis in grid.axes]
        high = [axis[-1] + 2 * pitch for axis in grid.axes]
        knots = Grid.spanning(low, high, pitch)
        # Cubic interpolation keeps about two thirds of white noise's standard deviation in 3D.
        return cls(knots, 1.5 * rng.standard_normal(knots.shape, dtype=np.float32))

    def at(self, grid: Grid) -> np.ndarray:
        """The noise at the voxels of `grid`."""
        low = [axis[0] - 2 * self.pitch for axis in grid.axes]
        high = [axis[-1] + 2 * self.pitch for axis in grid.axes]
        box = self.knots.box(low, high)
        return upsample(self.values[box], self.knots.within(box), grid)

    @property
    def pitch(self) -> float:
        """Distance between knots in mm."""
        return float(self.knots.z[1] - self.knots.z[0])


@dataclass(frozen=True)
class Anatomy:
    """One abdomen.

    Attributes:
        grid: The coarse grid of the fields.
        fields: Organ name to distance in mm on `grid`.
        tubes: Vessel name to its tubes; these are too thin for the coarse grid.
        dome: z of the top of the liver in mm.
        floor: z of the lower end of liver and kidneys in mm.
        disc_period: Height of a vertebra with its disc in mm.
        width: Largest width of the body in mm.
        heart: Centre of the heart (x, y, z) in mm.
        front: y of the front of the abdominal muscles in mm.
        back: y of the skin of the back in mm.
        belly: y of the skin of the belly in mm.
        gas_level: y above which the stomach holds gas, in mm.
    """

    grid: Grid
    fields: dict[str, np.ndarray]
    tubes: dict[str, Tubes]
    dome: float
    floor: float
    disc_period: float
    width: float
    front: float
    back: float
    belly: float
    gas_level: float
    heart: np.ndarray
    _known_corners: dict[tuple[str, float], tuple[list, list]] = field(default_factory=dict)

    def distance(self, name: str, grid: Grid, margin: float = 6.0) -> tuple[Box, np.ndarray]:
        """The part of `grid` within `margin` mm of an organ, and the distances to it there."""
        box = grid.box(*self._corners(name, margin))
        part = grid.within(box)
        if 0 in part.shape:
            return box, np.empty(part.shape, np.float32)
        reach = 2 * COARSE_MM
        coarse = self.grid.box(
            [axis[0] - reach for axis in part.axes], [axis[-1] + reach for axis in part.axes]
        )
        return box, upsample(self.fields[name][coarse], self.grid.within(coarse), part)

    def _corners(self, name: str, margin: float) -> tuple[list[float], list[float]]:
        """Lowest and highest corner (z, x, y) of what lies within `margin` mm of an organ."""
        if (name, margin) not in self._known_corners:
            near = self.fields[name] < margin + COARSE_MM
            spans = [np.flatnonzero(near.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
            axes = self.grid.axes
            low = [a[max(s[0] - 1, 0)] for a, s in zip(axes, spans, strict=True)]
            high = [a[min(s[-1] + 1, len(a) - 1)] for a, s in zip(axes, spans, strict=True)]
            self._known_corners[name, margin] = low, high
        return self._known_corners[name, margin]


def rib_distance(
    z: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    outside_cavity: np.ndarray,
    half_width: float,
    front: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest rib, and how far along its rib each point lies (0 spine, 1 front).

    Points are given by their coordinates and their distance to the cavity, all (N,) in mm. Ribs
    run in the wall, `RIB_DEPTH` outside the cavity, and drop from the spine to the side.
    """
    middle = front / 2 - 36
    along = np.arctan2(np.abs(x) / half_width, (middle - y) / (front - middle)) / np.pi
    drop = 105 * np.minimum(along / 0.68, 1) ** 0.7 - 190 * np.maximum(along - 0.68, 0)
    height = z + drop
    number = np.round(height / RIB_PERIOD)
    # Ribs 11 and 12, the lowest two, end free at the side.
    reach = np.where(number <= 2, 0.42, np.where(number <= 3, 0.58, 0.93))
    across = (outside_cavity - RIB_DEPTH) / RIB_RADIUS
    upright = (height - number * RIB_PERIOD) / 6.2
    distance = (np.sqrt(across**2 + upright**2) - 1) * RIB_RADIUS
    beyond = np.maximum((along - reach) * 200, np.where(number < 2, FAR, 0))
    return np.maximum(distance, beyond), along


def spine_distances(grid: Grid, period: float) -> dict[str, np.ndarray]:
    """Distances to the vertebrae's "bone", the "disc"s and the spinal "canal" on `grid`.

    `period` is the height of a vertebra with its disc in mm.
    """
    z, x, y = grid.open()
    y = y - 3 * np.cos((z - 10) / 60)
    # 0 in the middle of a vertebra, -0.5 and 0.5 in the middle of a disc.
    level = (z / period + 0.5) % 1 - 0.5
    waist = 1.03 - 0.10 * np.cos(2 * np.pi * level)
    across = (np.abs(x) / (24 * waist)) ** 2.4 + (np.abs(y) / (17.5 * waist)) ** 2.4
    canal = (np.sqrt((x / 11.5) ** 2 + ((y + 25) / 8.5) ** 2) - 1) * 9
    column = np.maximum((across ** (1 / 2.4) - 1) * 17, -canal)
    into_disc = (0.37 - np.abs(level)) * period
    bone = np.minimum(np.maximum(column, -into_disc), _arch(x, y, level, canal, period))
    parts = {"bone": bone, "disc": np.maximum(column, into_disc), "canal": canal}
    return {name: np.broadcast_to(part, grid.shape) for name, part in parts.items()}


def _arch(x, y, level, canal, period: float) -> np.ndarray:
    """Distance to what stands behind a vertebral body: arch, its processes and the facets."""
    arch = np.maximum(
        np.maximum(np.abs(canal - 3.2) - 3.2, y + 14), _slab(level, 0.02, 0.24) * period
    )
    lean = (level + 0.16 - 0.004 * (y + 35)) * period
    spinous = np.maximum(np.maximum(np.abs(x) - 3, np.abs(y + 47) - 17), np.abs(lean) - 6.5)
    wing = np.maximum(np.abs(np.abs(x) - 25) - 12, np.abs(y + 24 + 0.15 * np.abs(x)) - 3.2)
    wing = np.maximum(wing, _slab(level, -0.08, 0.13) * period)
    facet = np.hypot((np.abs(x) - 14) * 0.8, (y + 31) * 1.3) - 4.5
    facet = np.maximum(facet, (0.3 - np.abs(level)) * period)
    return np.minimum(np.minimum(arch, spinous), np.minimum(wing, facet))


def _slab(level: np.ndarray, offset: float, half_thickness: float) -> np.ndarray:
    return np.abs(level + offset) - half_thickness


def make_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient's anatomy. Liver volume is about 1200 to 2000 ml."""
    return _Builder(rng).build()


# The liver's medial border: x in mm where the liver begins, by y (columns, from the back to the
# front) and z (rows, from the tip to the dome).
_BORDER_Y = (-40.0, 10.0, 50.0, 90.0, 130.0, 170.0)
_BORDER_Z = (-75.0, -50.0, -30.0, -12.0, 5.0, 20.0, 38.0, 60.0, 110.0)
_BORDER_X = (
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


class _Builder:
    """Builds the organs one after the other; later ones make room for earlier ones."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.size = np.clip(rng.normal(1.01, 0.035), 0.93, 1.08)
        self.grid = Grid.spanning((-152, -212, -140), (160, 212, 236), COARSE_MM)
        self.apex = rng.normal(102, 6)
        self.fields: dict[str, np.ndarray] = {}
        self.tubes: dict[str, Tubes] = {}

    def build(self) -> Anatomy:
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
        erector = [ellipsoid(self.grid, (s * 32, -63, 0), (27, 21, 900), 2.3) for s in (1, -1)]
        erector = self._rough(np.minimum(*erector), 2.5, 30)
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
        rows = np.array(_BORDER_X, float) + self._border_variation()
        border = RectBivariateSpline(_BORDER_Z, _BORDER_Y, rows, kx=2, ky=2)
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
        rng, y, z = self.rng, np.array(_BORDER_Y), np.array(_BORDER_Z)[:, None]
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
        duodenum = [head + (12, 18, 8), head + (20, 0, -8), head + (16, -10, -36), (0, 50, -42)]
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
        trunk = [(8, 60, -120), (7, 58, -50), confluence, 0.5 * (confluence + hilum), hilum]
        splenic = [confluence, (-30, 50, 20), (-72, 30, 36)]
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
        places = np.argwhere(inside)
        chosen = places[self.rng.integers(len(places), size=count)]
        spread = self.rng.uniform(-0.5, 0.5, (count, 3))
        first = np.array([axis[0] for axis in self.grid.axes])
        return (first + (chosen + spread) * COARSE_MM)[:, [1, 2, 0]]
