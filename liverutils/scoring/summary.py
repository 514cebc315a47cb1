"""The scores of a cohort, each with its interval over patients."""

import numpy as np
import pandas as pd

from liverutils.errors import BadInput
from liverutils.scoring.intervals import Interval, Scale, mean_interval
from liverutils.scoring.names import DISTANCES, SCORES, STRUCTURES


def summarise(patients: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of a run over its patients.

    Args:
        patients: One row per patient with the columns of `score_patient`, of one structure or both.

    Returns:
        One row per `structure` and `score` with `mean`, `low`, `high` (95 % interval over
        patients), `patients`, and how many of these are `both_empty`, `one_empty`, `infinite` or
        `unknown` (no spacing). The mean is over finite scores; the infinite ones stand beside it.
        The score `pooled_dice` ("global" Dice) takes all patients' voxels as one volume.

    Raises:
        BadInput: No patient, or no column of scores.
    """
    structures = [name for name in STRUCTURES if f"{name}_dice" in patients]
    if not structures or len(patients) == 0:
        raise BadInput(
            f"Nothing to summarise: {len(patients)} patients with the columns {list(patients)}; "
            "expected the columns of score_patient, such as liver_dice.",
            fault="no_scores",
        )
    return pd.DataFrame(
        _summary_row(patients, structure, score)
        for structure in structures
        for score in (*SCORES, "pooled_dice")
    )


def _summary_row(patients: pd.DataFrame, structure: str, score: str) -> dict[str, float | str]:
    values = patients[f"{structure}_{score.removeprefix('pooled_')}"].to_numpy(float)
    empty = patients[f"{structure}_empty"]
    weights = np.ones(len(values))
    if score == "pooled_dice":
        voxels = patients[[f"{structure}_predicted_voxels", f"{structure}_true_voxels"]]
        weights = voxels.sum(axis=1).to_numpy(float)
    usable = np.isfinite(values) & (weights > 0)
    interval = Interval(np.nan, np.nan, np.nan)
    if usable.any():
        interval = mean_interval(values[usable], weights[usable], scale=_scale(score))
    return {
        "structure": structure,
        "score": score,
        **interval._asdict(),
        "patients": len(values),
        "both_empty": int((empty == "both").sum()),
        "one_empty": int((empty == "one").sum()),
        "infinite": int(np.isinf(values).sum()),
        "unknown": int(np.isnan(values).sum()),
    }


def _scale(score: str) -> Scale:
    if score in DISTANCES:
        return "length"
    return "difference" if score == "rvd" else "share"
