"""All volume metrics against the surface-distance package, on the same pair of masks.

python tests/benchmarks/metrics_speed.py [FOLDER of a 3D-IRCADb-01 patient]

Without a folder the masks are a liver-sized lump in 512×512×119 voxels. The prediction is the true
mask moved and grown; once more with one voxel in 300 of the volume wrong.
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import surface_distance
from scipy import ndimage
from threadpoolctl import threadpool_limits

from liverutils.datasets.sources import find_cases
from liverutils.metrics import score_volume

SHAPE, SPACING = (512, 512, 119), (0.743, 0.743, 1.6)
ROUNDS = 3


def lump() -> np.ndarray:
    """A smooth random body of about 1.9 litres, bool `SHAPE`."""
    noise = np.random.default_rng(0).normal(size=[size // 4 for size in SHAPE])
    smooth = ndimage.zoom(ndimage.gaussian_filter(noise, 3), 4.3, order=1)
    smooth = smooth[tuple(slice(0, size) for size in SHAPE)] / smooth.std()
    at = np.indices(SHAPE, sparse=True)
    centre, radius = (230, 250, 60), (130, 110, 55)
    away = sum(((a - c) / r) ** 2 for a, c, r in zip(at, centre, radius, strict=True))
    return away + 0.2 * smooth < 0.85


def with_surface_distance(predicted: np.ndarray, true: np.ndarray, spacing: tuple) -> None:
    """Its Dice, average distance, HD95 and surface Dice."""
    distances = surface_distance.compute_surface_distances(true, predicted, spacing)
    surface_distance.compute_dice_coefficient(true, predicted)
    surface_distance.compute_average_surface_distance(distances)
    surface_distance.compute_robust_hausdorff(distances, 95)
    surface_distance.compute_surface_dice_at_tolerance(distances, 2)


def seconds(score: Callable, *pair: np.ndarray | tuple) -> float:
    """Time one call."""
    start = time.perf_counter()
    score(*pair)
    return time.perf_counter() - start


def compare(name: str, predicted: np.ndarray, true: np.ndarray, spacing: tuple) -> None:
    """Print the best times of alternating rounds and their ratio."""
    pair = predicted, true, spacing
    rounds = [
        (seconds(score_volume, *pair), seconds(with_surface_distance, *pair)) for _ in range(ROUNDS)
    ]
    ours, theirs = np.min(rounds, axis=0)
    print(
        f"{name} {true.shape}: all volume metrics {ours:.2f} s, surface-distance {theirs:.2f} s, "
        f"ratio {ours / theirs:.2f} (target: at most 1.00)"
    )


def main(folder: str | None = None) -> None:
    """Compare on a lump, or on the liver of the patient in `folder`."""
    warnings.simplefilter("ignore", DeprecationWarning)  # surface-distance's, of SciPy's names
    true, spacing = lump(), SPACING
    if folder:
        case = find_cases("ircadb", Path(folder))[0].load()
        true, spacing = case.mask > 0, case.spacing
    predicted = np.roll(ndimage.binary_dilation(true, iterations=2), (3, -2, 1), (0, 1, 2))
    noise = np.random.default_rng(0).random(true.shape) < 1 / 300
    with threadpool_limits(1):
        compare("grown and moved", predicted, true, spacing)
        compare("with noise", predicted ^ noise, true, spacing)


if __name__ == "__main__":
    main(*sys.argv[1:])
