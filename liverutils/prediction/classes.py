"""Classes of slices: predicted, and scored on the held-out patients."""

import numpy as np
import pandas as pd
import torch

from liverutils.prediction.held_out import predict_slices, score_slices
from liverutils.runs import RunLogs
from liverutils.scoring import SLICE_CLASSES
from liverutils.slices import SliceSet
from liverutils.training import CourseLearner

LESION = SLICE_CLASSES.index("liver with lesion")


def classify_slices(learn: CourseLearner, slices: SliceSet) -> np.ndarray:
    """Return the probabilities (N, 3) float32 of `scoring.SLICE_CLASSES` for each slice."""
    return torch.cat([batch.cpu() for batch in predict_slices(learn, slices)]).numpy()


def slice_table(learn: CourseLearner, slices: SliceSet) -> pd.DataFrame:
    """Classify slices; return one row per slice, in their order.

    Returns:
        `patient`, `volume`, `index`, `true` and `predicted` class (0, 1, 2), and the probability of
        each class under its name in `scoring.SLICE_CLASSES`.
    """
    probabilities = classify_slices(learn, slices)
    return slices.slices[["patient", "volume", "index"]].assign(
        true=slices.slices.label,
        predicted=probabilities.argmax(1),
        **dict(zip(SLICE_CLASSES, probabilities.T, strict=True)),
    )


def patient_table(slices: pd.DataFrame) -> pd.DataFrame:
    """Score each patient's slices.

    Args:
        slices: From `slice_table`.

    Returns:
        One row per patient: `slices`, `accuracy`; `slices_class_{0,1,2}` and
        `accuracy_class_{0,1,2}`, NaN for a class the patient does not have; `has_lesion`, and
        `lesion_probability`, the highest of any slice.
    """
    rows = []
    for patient, own in slices.groupby("patient", sort=False):
        right = own.predicted == own.true
        row = {"patient": patient, "slices": len(own), "accuracy": right.mean()}
        for number in range(len(SLICE_CLASSES)):
            row[f"slices_class_{number}"] = int((own.true == number).sum())
            row[f"accuracy_class_{number}"] = right[own.true == number].mean()
        row["has_lesion"] = bool((own.true == LESION).any())
        row["lesion_probability"] = own[SLICE_CLASSES[LESION]].max()
        rows.append(row)
    return pd.DataFrame(rows)


def score_labels(learn: CourseLearner, logs: RunLogs) -> pd.DataFrame:
    """Score the test patients; write `_test`, `_slices`, `_patients` and the run's final times.

    `_test.csv` has the kept epoch's scores over all slices; that of a run with a time budget stays
    as `training.TimeBudget` wrote it. `_slices.csv` is the `slice_table` of the test patients,
    `_patients.csv` their `patient_table`, which is returned.
    """
    score_slices(learn, logs)
    slices = slice_table(learn, learn.dls.test.dataset)
    patients = patient_table(slices)
    logs.write("slices", slices)
    logs.write("patients", patients)
    logs.finish(learn.run_record)
    return patients
