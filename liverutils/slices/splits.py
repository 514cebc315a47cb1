"""Training, validation and test sets by patient, never by slice."""

from dataclasses import dataclass

import pandas as pd
from sklearn.model_selection import train_test_split

from liverutils.errors import BadInput

# Fewer patients leave a score too uncertain to compare anything by.
LEAST_TESTED = 32


@dataclass(frozen=True)
class Split:
    """Patients for training, for choosing the model, and for the final scores."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]


def split_patients(
    slices: pd.DataFrame,
    *,
    seed: int = 0,
    valid: float = 0.15,
    test: float | None = None,
    fraction: float = 1.0,
) -> Split:
    """Split the patients of a slice table, each part with its share of small and large tumours.

    Args:
        slices: A store's table; `patient`, `liver_px` and `tumor_px` are used.
        seed: The same seed and patients give the same split.
        valid: Share of the patients for validation, at least one.
        test: Share of the patients for the test, at least one; by default a quarter, but
            `LEAST_TESTED` patients where these are at most two fifths of all.
        fraction: Share of the training patients that is kept, for learning curves. Validation and
            test patients do not depend on it, and a smaller set is part of every larger one.

    Raises:
        BadInput: Fewer than three patients, or shares that leave no patient for training.
    """
    pixels = slices.groupby("patient")[["liver_px", "tumor_px"]].sum()
    load = (pixels.tumor_px / pixels.liver_px.clip(lower=1)).sort_index()
    if test is None:
        test = max(0.25, LEAST_TESTED / len(load))
        test = test if test <= 0.4 else 0.25
    n_test, n_valid = (max(1, round(share * len(load))) for share in (test, valid))
    if len(load) - n_test - n_valid < 1:
        raise BadInput(
            f"{len(load)} patients are too few to split: training, validation and test need at "
            "least one each. Add patients or lower the shares.",
            fault="too_few_patients",
        )
    rest, tested = _stratified(load, n_test, seed)
    trained, validated = _stratified(load[rest], n_valid, seed)
    return Split(_first(trained, load, fraction, seed), tuple(validated), tuple(tested))


def _stratified(load: pd.Series, n_second: int, seed: int) -> tuple[list[str], list[str]]:
    """Split patients in two, stratified by tumour load as finely as their number allows."""
    n_strata = min(n_second, len(load) - n_second, len(load) // 2, 4)
    strata = pd.qcut(load.rank(method="first"), n_strata, labels=False) if n_strata > 1 else None
    first, second = train_test_split(
        load.index.to_numpy(), test_size=n_second, random_state=seed, stratify=strata
    )
    return sorted(first), sorted(second)


def _first(patients: list[str], load: pd.Series, fraction: float, seed: int) -> tuple[str, ...]:
    """Keep `fraction` of the patients, spread over the tumour load; smaller is nested in larger."""
    if not 0 < fraction <= 1:
        raise BadInput(f"fraction is {fraction}: it must lie above 0 and not above 1.")
    shuffled = pd.Series(patients).sample(frac=1, random_state=seed)
    ordered = load[shuffled].sort_values(kind="stable").index
    # Van der Corput order: any prefix of it is spread evenly over the sorted patients.
    spread = sorted(range(len(ordered)), key=lambda i: int(f"{i:016b}"[::-1], 2))
    n_kept = max(1, round(fraction * len(ordered)))
    return tuple(sorted(ordered[i] for i in spread[:n_kept]))
