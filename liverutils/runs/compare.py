"""Two runs on the same patients: is the difference more than chance?"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from liverutils.errors import BadInput
from liverutils.runs.logged import LoggedRun
from liverutils.scoring import mean_interval, summarise


def score_table(runs: dict[str, LoggedRun]) -> pd.DataFrame:
    """Summarise the held-out patients of every run: `scoring.summarise` with the column `run`.

    Runs without scored patients are left out.

    Raises:
        BadInput: No run was scored, or not all on the same patients and data.
    """
    scored = {name: run for name, run in runs.items() if "patients" in run.tables}
    check_comparable(scored)
    rows = [summarise(run.tables["patients"]).assign(run=name) for name, run in scored.items()]
    return pd.concat(rows, ignore_index=True)


def check_comparable(runs: dict[str, LoggedRun]) -> None:
    """Refuse runs whose scores cannot be set side by side.

    Raises:
        BadInput: No run; no table of patients, or one with a patient twice; different patients
            scored or held out; data of different fingerprints. What one run logged and another
            did not counts as different.
    """
    if not runs:
        raise BadInput("No run with scored patients to compare.", fault="no_runs")
    scored = {name: _scored_patients(run) for name, run in runs.items()}
    (first, reference), *others = runs.items()
    for name, run in others:
        if different := scored[first] ^ scored[name]:
            raise BadInput(
                f"Runs {first} and {name} were scored on different patients "
                f"({len(different)} of them in one only, such as {min(different)}): "
                "compare runs of the same split.",
                fault="different_patients",
            )
        if reference.record.held_out != run.record.held_out:
            raise BadInput(
                f"Runs {first} and {name} held out different patients in training, so one of them "
                "may have learnt from patients it is scored on: compare runs of the same split.",
                fault="different_patients",
            )
        if reference.record.fingerprint != run.record.fingerprint:
            raise BadInput(
                f"Runs {first} and {name} were made from different data (fingerprints "
                f"{reference.record.fingerprint} and {run.record.fingerprint}): compare runs of "
                "one data set.",
                fault="different_data",
            )


def comparable_groups(runs: dict[str, LoggedRun]) -> list[dict[str, LoggedRun]]:
    """Sort the runs with one row per scored patient into groups that may be compared.

    The largest group comes first; see `check_comparable` for what may be compared.
    """
    groups: dict[tuple, dict[str, LoggedRun]] = {}
    for name, run in runs.items():
        if run.has("patients.patient") and run.tables["patients"]["patient"].is_unique:
            same = (_scored_patients(run), run.record.held_out, run.record.fingerprint)
            groups.setdefault(same, {})[name] = run
    return sorted(groups.values(), key=len, reverse=True)


def compare_runs(
    runs: dict[str, LoggedRun],
    score: str = "liver_dice",
    *,
    baseline: str | None = None,
) -> pd.DataFrame:
    """Compare runs pair by pair on the same patients.

    Args:
        runs: Two or more, scored on the same patients of the same data.
        score: Column of `<run>_patients.csv`.
        baseline: Compare every other run with this one only; by default every pair.

    Returns:
        One row per pair: `run`, `other`, `score`, `patients`; `difference`, the mean over patients
        of run − other, with `low` and `high` of its paired 95 % interval; `p` of Wilcoxon's
        signed-rank test, two-sided; `p_holm`, corrected for the number of rows. With five patients
        or fewer p cannot fall below 0.06.

    Raises:
        BadInput: Fewer than two runs, an unknown baseline or score, runs that are not comparable,
            or a score that is infinite or undefined for some patient.
    """
    check_comparable(runs)
    if len(runs) < 2 or (baseline is not None and baseline not in runs):
        raise BadInput(
            f"Nothing to compare: the runs are {', '.join(runs)}"
            + (f", the baseline is {baseline}." if baseline else "; two are needed."),
            fault="no_runs",
        )
    scores = paired_scores(runs, score)
    pairs = (
        list(combinations(runs, 2))
        if baseline is None
        else [(name, baseline) for name in runs if name != baseline]
    )
    table = pd.DataFrame(
        {"run": run, "other": other, "score": score}
        | compare_pair(scores[run].to_numpy(), scores[other].to_numpy())
        for run, other in pairs
    )
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def paired_scores(runs: dict[str, LoggedRun], score: str) -> pd.DataFrame:
    """Return one score of all runs: a row per patient, a column per run.

    Raises:
        BadInput: A run lacks the score, or it is infinite or undefined for some patient.
    """
    for name, run in runs.items():
        if score not in run.tables["patients"]:
            raise BadInput(f"{name}_patients.csv has no column {score}.", fault="no_scores")
    columns = {
        name: run.tables["patients"].set_index("patient")[score] for name, run in runs.items()
    }
    scores = pd.DataFrame(columns)
    not_finite = ~np.isfinite(scores.to_numpy(float))
    if not_finite.any():
        raise BadInput(
            f"{score} is infinite or undefined for {not_finite.any(axis=1).sum()} of "
            f"{len(scores)} patients, so it has no mean difference: compare a bounded score such "
            "as Dice or surface Dice.",
            fault="not_finite",
        )
    return scores


def compare_pair(scores: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Compare two scores of the same patients in the same order; see `compare_runs`."""
    differences = scores - others
    interval = mean_interval(differences, scale="difference")
    # The test is undefined where no patient differs at all.
    p = wilcoxon(differences).pvalue if differences.any() else 1.0
    return {
        "patients": len(differences),
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p": float(p),
    }


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p values for their number (Holm 1979): ranked, times the number still to test."""
    order = np.argsort(p_values)
    steps = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * steps))
    return corrected


def _scored_patients(run: LoggedRun) -> frozenset[str]:
    patients = run.tables.get("patients", pd.DataFrame()).get("patient", pd.Series(dtype=str))
    if len(patients) == 0 or patients.duplicated().any():
        raise BadInput(
            f"{run.name}_patients.csv is missing or does not hold one row per patient: score the "
            "run's held-out patients first.",
            fault="no_patients",
        )
    return frozenset(patients.astype(str))
