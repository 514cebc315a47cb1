"""All volume metrics against the surface-distance package and MONAI, on the same pair of masks.

The masks are a liver-sized lump in 512×512×400 voxels. The prediction is the true mask moved and
grown; once more, in a fifth of the slices, since it takes the others long, with one voxel in 300
wrong.

The others compute Dice, average surface distance, HD95 and surface Dice; ours are these and IoU,
precision, recall, pixel accuracy and the difference of the volumes.
"""

import warnings
from collections.abc import Callable, Iterator

import monai.metrics
import numpy as np
import surface_distance
import torch
from scipy import ndimage

from liverutils.scoring import score_volume
from tests.benchmarks.common import alternate, report

SHAPE, SPACING = (512, 512, 400), (0.743, 0.743, 0.6)
TOLERANCE_MM = 2.0

Pair = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Compare on the lump and on the noisy one."""
    warnings.simplefilter("ignore")  # The others use names that SciPy and MONAI give up.
    rows = []
    for masks, pair in mask_pairs():
        for other, score in OTHERS.items():
            rows.append(measure(masks, pair, other, score))
            report("metrics_speed", rows)


def mask_pairs() -> Iterator[tuple[str, Pair]]:
    """Yield a predicted and a true mask, first smooth, then noisy."""
    true = lump()
    predicted = np.roll(ndimage.binary_dilation(true, iterations=2), (3, -2, 1), (0, 1, 2))
    yield "grown and moved", (predicted, true)
    fifth = np.s_[..., 160:240]
    true, predicted = true[fifth].copy(), predicted[fifth].copy()
    noise = np.random.default_rng(0).random(true.shape, dtype=np.float32) < 1 / 300
    yield "with noise", (predicted ^ noise, true)


def lump() -> np.ndarray:
    """A smooth random body of about 2.6 litres, bool `SHAPE`."""
    noise = np.random.default_rng(0).normal(size=[size // 8 for size in SHAPE])
    smooth = ndimage.zoom(ndimage.gaussian_filter(noise, 2), 8, order=1)
    at = np.indices(SHAPE, sparse=True)
    centre, radius = (230, 250, 200), (130, 110, 150)
    away = sum(((a - c) / r) ** 2 for a, c, r in zip(at, centre, radius, strict=True))
    return away + 0.2 * smooth / smooth.std() < 0.85


def measure(masks: str, pair: Pair, other: str, score: Callable[..., None]) -> dict:
    """Time our metrics against another package's."""
    timed = alternate(lambda: score_volume(*pair, SPACING), lambda: score(*pair), pairs=3)
    shape = "×".join(map(str, pair[0].shape))
    return {"masks": masks, "voxels": shape, "other": other} | timed


def with_surface_distance(predicted: np.ndarray, true: np.ndarray) -> None:
    """Score as the surface-distance package does."""
    distances = surface_distance.compute_surface_distances(true, predicted, SPACING)
    surface_distance.compute_dice_coefficient(true, predicted)
    surface_distance.compute_average_surface_distance(distances)
    surface_distance.compute_robust_hausdorff(distances, 95)
    surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM)


def with_monai(predicted: np.ndarray, true: np.ndarray) -> None:
    """Score as MONAI does, called directly."""
    pair = [torch.from_numpy(mask)[None, None] for mask in (predicted, true)]
    options = {"include_background": True, "spacing": SPACING}
    monai.metrics.compute_dice(*pair)
    monai.metrics.compute_average_surface_distance(*pair, symmetric=True, **options)
    monai.metrics.compute_hausdorff_distance(*pair, percentile=95, **options)
    monai.metrics.compute_surface_dice(*pair, [TOLERANCE_MM], use_subvoxels=True, **options)


OTHERS = {"surface-distance": with_surface_distance, "MONAI": with_monai}

if __name__ == "__main__":
    main()
