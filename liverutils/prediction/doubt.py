"""What to think of an answer whose truth nobody has drawn."""

from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from liverutils.prediction.network import (
    TEST_TIME_CHANGES,
    UNCHANGED,
    Changes,
    TrainedNetwork,
    cut_batches,
    slice_probabilities,
)
from liverutils.scans import LIVER, VIEW_AXES, Case
from liverutils.slices import Resampler, apply_window

LOOKS = 24  # slices that are looked at again: enough to tell, few beside the hundreds of a scan
GOOD_DICE = 0.85  # of a liver that can be used
FALSE_ALARMS = 0.05  # share of the good answers that may be doubted


def liver_agreement(network: TrainedNetwork, case: Case, labels: np.ndarray) -> float:
    """Return how far a network agrees with itself about a liver that it found.

    Slices through that liver are looked at twice, plainly and averaged over test-time changes.
    Zenk et al. 2025, https://doi.org/10.1016/j.media.2024.103392, found such agreement to be the
    best simple sign of a segmentation that failed.

    Args:
        network: That found it.
        case: The scan.
        labels: (X, Y, Z) what it found; of a network of several views the first one looks again.

    Returns:
        The Dice between the two livers on at most `LOOKS` slices, at the network's picture size:
        1 where turning and zooming change nothing, 0 where no liver was found.
    """
    view = network.views[0]
    others = tuple(axis for axis in range(3) if axis != VIEW_AXES[view])
    found = np.flatnonzero((labels >= LIVER).any(axis=others))
    if not len(found):
        return 0.0
    chosen = np.unique(np.linspace(found[0], found[-1], LOOKS).round().astype(int)).tolist()
    resampler = Resampler.for_scan(case.image.shape, case.spacing, view, network.data["size"])
    overlap = sizes = 0
    for (raw,) in cut_batches(network, case, view, resampler, chosen):
        images = apply_window(raw.to(network.device), network.data["window"])
        plain, changed = (_liver(network, images, how) for how in (UNCHANGED, TEST_TIME_CHANGES))
        overlap += int((plain & changed).sum())
        sizes += int(plain.sum() + changed.sum())
    return 2 * overlap / sizes if sizes else 0.0


def _liver(network: TrainedNetwork, images: Tensor, changes: Changes) -> Tensor:
    return slice_probabilities(network, images, changes).argmax(1) >= LIVER


def least_agreement(weights: Path | str) -> float | None:
    """Return the agreement below which an answer of these weights is to be doubted.

    It is such that `FALSE_ALARMS` of the good answers (liver Dice of `GOOD_DICE` or more) lie below
    it, among the scans away from home on which the run was measured: `<run>_elsewhere.csv` beside
    the weights. None where there is no such table, or no good answer in it.
    """
    weights = Path(weights)
    path = weights.with_name(f"{weights.stem}_elsewhere.csv")
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    good = table.agreement[table.liver_dice >= GOOD_DICE]
    return float(good.quantile(FALSE_ALARMS)) if len(good) else None
