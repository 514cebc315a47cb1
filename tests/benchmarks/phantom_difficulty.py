"""How far an HU threshold gets on the phantom: `python tests/benchmarks/phantom_difficulty.py`.

The threshold is given the true liver and chosen on the very patients it is scored on, so that no
threshold can do better: what lies between two HU values inside the liver is called tumour.
"""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import ndimage

from liverutils.parallel import in_processes
from liverutils.phantom import COHORTS, make_patient
from liverutils.scans import LIVER, TUMOR

EDGES_HU = np.append(np.arange(-60, 241, 4), np.inf)

SMOOTHINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda hu: hu,
    "smoothed over 3 pixels": partial(ndimage.gaussian_filter, sigma=(1.5, 1.5, 0)),
}


def window_dices(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tumour Dice of every window of HU inside the liver: (low edge, high edge)."""
    in_tumor, in_liver = (
        np.append(0, np.cumsum(np.histogram(hu[part], EDGES_HU)[0]))
        for part in (mask == TUMOR, mask >= LIVER)
    )
    hits = np.maximum(in_tumor[None] - in_tumor[:, None], 0)
    called = np.maximum(in_liver[None] - in_liver[:, None], 0)
    return 2 * hits / (called + (mask == TUMOR).sum())


def patient_dices(cohort: str, number: int) -> list[np.ndarray] | None:
    """`window_dices` for each of `SMOOTHINGS`; None for a patient without tumour."""
    case = make_patient(COHORTS[cohort], number)
    if not (case.mask == TUMOR).any():
        return None
    hu = case.image.astype(np.float32)
    return [window_dices(smooth(hu), case.mask) for smooth in SMOOTHINGS.values()]


def main(cohort: str = "phantom") -> None:
    """Print the mean Dice of the best window for all, and with a best window for each patient."""
    numbers = range(COHORTS[cohort].patients)
    found = list(in_processes(partial(patient_dices, cohort), numbers))
    dices = np.array([d for d in found if d is not None])
    print(f"{cohort}: {len(dices)} patients with tumours of {len(found)}")
    for name, of_patients in zip(SMOOTHINGS, dices.swapaxes(0, 1), strict=True):
        mean = of_patients.mean(axis=0)
        low, high = (EDGES_HU[i] for i in np.unravel_index(mean.argmax(), mean.shape))
        own = of_patients.max(axis=(1, 2)).mean()
        print(
            f"  {name}: tumour Dice {mean.max():.3f} with {low:.0f} to {high:.0f} HU, "
            f"{own:.3f} with each patient's own best window"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
