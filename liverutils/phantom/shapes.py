"""Grids, distances to simple shapes, tubes and smooth noise: what organs are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

COARSE_MM = 4.0


FAR = 60.0


Box = tuple[slice, slice, slice]


# Three numbers, in the order that is said beside them.
Point = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm along z, x and y."""

    z: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def spanning(cls, low: Sequence[float], high: Sequence[float], step: float) -> "Grid":
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

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box:
        """The voxels whose centres lie between `low` and `high`, both (z, x, y) in mm."""
        z, x, y = (
            slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b, side="right")))
            for axis, a, b in zip(self.axes, low, high, strict=True)
        )
        return z, x, y

    def within(self, box: Box) -> "Grid":
        """The part of the grid inside `box`."""
        return Grid(*(axis[part] for axis, part in zip(self.axes, box, strict=True)))

    def open(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates z, x, y, shaped to broadcast against each other."""
        return self.z[:, None, None], self.x[None, :, None], self.y[None, None, :]


def draw_points(rng: np.random.Generator, grid: Grid, inside: np.ndarray, count: int) -> np.ndarray:
    """Draw points (count, 3), as (x, y, z) in mm, in those voxels of `grid` that are `inside`."""
    places = np.argwhere(inside)
    chosen = places[rng.integers(len(places), size=count)]
    spread = rng.uniform(-0.5, 0.5, (count, 3))
    first = np.array([axis[0] for axis in grid.axes])
    return (first + (chosen + spread) * COARSE_MM)[:, [1, 2, 0]]


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


def ellipsoid(
    grid: Grid,
    centre: Point,
    radii: Point,
    power: float = 2.0,
    tilt: np.ndarray | None = None,
) -> np.ndarray:
    """Distance to a superellipsoid; `centre` and `radii` are (x, y, z), `tilt` a rotation matrix.

    The distance is of first order: exact at the surface and in direction, approximate elsewhere.
    """
    z, x, y = grid.open()
    offset: list = [axis - np.float32(c) for axis, c in zip((x, y, z), centre, strict=True)]
    if tilt is not None:
        offset = [sum(np.float32(row[i]) * offset[i] for i in range(3)) for row in tilt]
    sizes = np.asarray(radii, np.float32)
    scaled = [np.abs(o) / r for o, r in zip(offset, sizes, strict=True)]
    norm = sum(s**power for s in scaled) ** (1 / power)
    slope = np.sqrt(sum((s / r) ** 2 for s, r in zip(scaled, sizes, strict=True)))
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
        for i in np.flatnonzero(((high > first) & (low < last)).all(axis=1)).tolist():
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


def curve(points: Sequence[Point] | np.ndarray, radii: ArrayLike, step: float = 6.0) -> Tubes:
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
    root: Point,
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
    places, joints = np.array(nodes), np.array(parents)
    radius = _murray_radii(joints, tip_radius, root_radius)
    return Tubes(places[joints[1:]], places[1:], radius[1:], radius[1:])


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
