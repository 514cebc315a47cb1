"""Training, validation and test sets by patient, never by slice."""

from dataclasses import dataclass

import pandas as pd
from sklearn.model_selection import KFold, train_test_split

from liverutils.errors import BadInput

# Fewer patients leave a score too uncertain to compare anything by.
LEAST_TESTED = 32


# As nnU-Net has them.
N_FOLDS, NNUNET_SEED = 5, 12345


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


def nnunet_folds(slices: pd.DataFrame, *, seed: int = 0, valid: float = 0.15) -> list[Split]:
    """Split the volumes in the five folds that nnU-Net makes of them by itself.

    No list of folds was published with MSD's Task03; nnU-Net shuffles the sorted names of the
    volumes with a seed of its own, so that the same volumes always fall into the same folds:
    https://github.com/MIC-DKFZ/nnUNet, nnunetv2/utilities/crossval_split.py. They are its folds
    only where the table holds all of the data set's volumes. What nnU-Net calls the validation set
    of a fold is scored, so it is `test` here; `valid`, which nnU-Net does without, comes from the
    rest. A patient with volumes in two folds is tested in the first of them alone.

    Args:
        slices: A store's table; `patient`, `volume`, `liver_px` and `tumor_px` are used.
        seed: Deals the rest of each fold into training and validation.
        valid: Share of the rest for validation, at least one patient.

    Raises:
        BadInput: too_few_patients.
    """
    owners = slices.groupby("volume").patient.first().sort_index()
    pixels = slices.groupby("patient")[["liver_px", "tumor_px"]].sum()
    load = (pixels.tumor_px / pixels.liver_px.clip(lower=1)).sort_index()
    if len(load) < 2 * N_FOLDS:
        raise BadInput(
            f"{len(load)} patients are too few for {N_FOLDS} folds: there must be {2 * N_FOLDS}.",
            fault="too_few_patients",
        )
    folds: list[Split] = []
    tested: set[str] = set()
    for _, held_out in KFold(N_FOLDS, shuffle=True, random_state=NNUNET_SEED).split(owners):
        test = sorted(set(owners.iloc[held_out]) - tested)
        tested.update(test)
        rest = load.index.difference(test)
        train, validated = _stratified(load[rest], max(1, round(valid * len(rest))), seed)
        folds.append(Split(tuple(train), tuple(validated), tuple(test)))
    return folds


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
