"""How far an HU threshold gets on the phantom: python tests/benchmarks/phantom_difficulty.py.

The threshold is given the true liver, and is chosen on the very patients it is scored on, so that
no threshold can do better: within [low, high] HU of the liver is called tumour.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from scipy import ndimage

from liverutils.datasets.phantom import COHORTS, make_patient
from liverutils.datasets.volumes import LIVER, TUMOR

STEPS_HU = np.arange(-60, 241, 4)


def threshold_dices(cohort_name: str, number: int, smooth_px: float = 0.0) -> np.ndarray | None:
    """Tumour Dice (low, high) of every window of `STEPS_HU`; None for a patient without tumour."""
    case = make_patient(COHORTS[cohort_name], number)
    hu = case.image.astype(np.float32)
    if smooth_px:
        hu = ndimage.gaussian_filter(hu, (smooth_px, smooth_px, 0))
    tumor = hu[case.mask == TUMOR]
    if not len(tumor):
        return None
    edges = np.concatenate([STEPS_HU, [np.inf]])
    in_tumor = np.concatenate([[0], np.cumsum(np.histogram(tumor, edges)[0])])
    in_liver = np.concatenate([[0], np.cumsum(np.histogram(hu[case.mask >= LIVER], edges)[0])])
    hits = in_tumor[None, :] - in_tumor[:, None]
    called = in_liver[None, :] - in_liver[:, None]
    return 2 * np.maximum(hits, 0) / np.maximum(called + len(tumor), 1)


def best_threshold(cohort_name: str, smooth_px: float = 0.0) -> dict[str, float]:
    """Mean tumour Dice over patients: of the best common threshold, and of each patient's best."""
    with ProcessPoolExecutor() as pool:
        make = partial(threshold_dices, cohort_name, smooth_px=smooth_px)
        dices = [d for d in pool.map(make, range(COHORTS[cohort_name].patients)) if d is not None]
    mean = np.mean(dices, axis=0)
    low, high = np.unravel_index(mean.argmax(), mean.shape)
    return {
        "patients": len(dices),
        "low_hu": STEPS_HU[low],
        "high_hu": STEPS_HU[min(high, len(STEPS_HU) - 1)],
        "dice_common": mean.max(),
        "dice_own": np.mean([d.max() for d in dices]),
    }


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "phantom"
    for smooth_px in (0.0, 1.5):
        figures = best_threshold(name, smooth_px)
        text = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        print(f"{name}, smoothed by {smooth_px} px: {text}")
