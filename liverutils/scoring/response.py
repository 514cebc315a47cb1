"""Has a tumour grown? RECIST 1.1: target lesions, the sum of their diameters, categories.

Eisenhauer et al. 2009, doi:10.1016/j.ejca.2008.10.026. Lymph nodes and lesions that cannot be
measured have rules of their own there, which nothing here knows.
"""

from typing import Literal

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

Category = Literal["CR", "PR", "SD", "PD"]

CATEGORIES: dict[Category, str] = {
    "CR": "complete response",
    "PR": "partial response",
    "SD": "stable disease",
    "PD": "progressive disease",
}

TARGETS_PER_ORGAN = 2
PARTIAL, PROGRESSIVE, PROGRESSIVE_MM = 0.7, 1.2, 5.0


def least_measurable_mm(slice_mm: float) -> float:
    """Smallest longest diameter that may be measured: 10 mm, or two slices of more than 5 mm."""
    return 10.0 if slice_mm <= 5 else 2 * slice_mm


def choose_targets(lesions: pd.DataFrame, slice_mm: float) -> pd.DataFrame:
    """Return the target lesions of one organ: the two longest of those that may be measured.

    Args:
        lesions: From `measure_lesions`.
        slice_mm: Distance between the slices.
    """
    measurable = lesions[lesions["long_mm"] >= least_measurable_mm(slice_mm)]
    return measurable.nlargest(TARGETS_PER_ORGAN, "long_mm")


def follow_lesions(
    before: pd.DataFrame, after: pd.DataFrame, *, slack_mm: float = 5.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find lesions of one scan in a later one, by their places in mm.

    A later lesion belongs to that earlier one whose place it shares: the centre of one lies no
    further than `slack_mm` outside the radius of the other. Of a lesion that fell into pieces the
    pieces' diameters are added, as RECIST 1.1 has it; of two that grew together one has the
    diameter of both, and the other none.

    Args:
        before: From `measure_lesions`, all or only the target lesions of the earlier scan.
        after: All lesions of the later one, in the same coordinates.
        slack_mm: For breathing and another position on the table.

    Returns:
        `before` with `now_mm` and `now_ml`, 0 where a lesion is gone; and the lesions of `after`
        that belong to none.
    """
    places = ["x_mm", "y_mm", "z_mm"]
    apart = cdist(after[places].to_numpy(float), before[places].to_numpy(float))
    radii = np.maximum.outer(after["long_mm"].to_numpy(float), before["long_mm"].to_numpy(float))
    gap = apart - radii / 2
    belongs = (gap <= slack_mm) & (gap == gap.min(axis=1, initial=np.inf, keepdims=True))
    now = {
        "now_mm": after["long_mm"].to_numpy(float) @ belongs,
        "now_ml": after["volume_ml"].to_numpy(float) @ belongs,
    }
    return before.assign(**now), after[~belongs.any(axis=1)]


def response_category(
    baseline: float,
    now: float,
    *,
    nadir: float | None = None,
    new_lesion: bool = False,
    power: int = 1,
) -> Category:
    """Return the category of the target lesions' sum by RECIST 1.1.

    PD: a new lesion, or at least 20 % and 5 mm above the smallest sum so far. CR: nothing is left.
    PR: at least 30 % below the first sum. Else SD.

    Args:
        baseline: Sum of the longest diameters before treatment, in mm.
        now: The same of the same lesions now.
        nadir: The smallest sum so far, the first one's included; by default that.
        new_lesion: There is one that was not there.
        power: 3 takes volumes in ml, with the thresholds that a sphere of these diameters has,
            −66 % and +73 %; the 5 mm have no match there.
    """
    lowest = baseline if nadir is None else min(nadir, baseline)
    # Sums are rounded decimals: 24 is 20 % above 20, whatever the last bit says.
    close = 1e-9 * max(baseline, now)
    grown = now >= PROGRESSIVE**power * lowest - close
    if power == 1:
        grown = grown and now - lowest >= PROGRESSIVE_MM - close
    if new_lesion or (grown and now > lowest):
        return "PD"
    if now == 0:
        return "CR"
    return "PR" if now <= PARTIAL**power * baseline + close else "SD"
