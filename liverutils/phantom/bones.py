"""Ribs and spine, as distances in mm."""

import numpy as np

from liverutils.phantom.shapes import FAR, Grid

RIB_PERIOD = 27.0


RIB_DEPTH = 5.0


RIB_RADIUS = 3.0


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


def _arch(
    x: np.ndarray, y: np.ndarray, level: np.ndarray, canal: np.ndarray, period: float
) -> np.ndarray:
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
