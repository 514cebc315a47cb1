"""The held-out patients scored, whatever the learner answers."""

import pandas as pd

from liverutils.prediction.classes import score_labels
from liverutils.prediction.held_out import Predict, predict_volume, score_masks
from liverutils.prediction.views import score_views
from liverutils.runs import RunLogs
from liverutils.slices import SliceStore
from liverutils.training import CourseLearner


def score_test(
    learn: CourseLearner, store: SliceStore, logs: RunLogs, predict: Predict | None = None
) -> pd.DataFrame:
    """Score the test patients once, with the kept weights, and write all that the logs say of them.

    Args:
        learn: A trained learner of any kind.
        store: The store it was trained on.
        logs: Where the run writes.
        predict: Segments one scan in another way than from its slices alone, such as a cascade.

    Returns:
        What `_patients` has: of a classifier a row per patient, see `classes.patient_table`; of a
        segmentation a row per scan, see `scoring.score_patient`; of several views a row per scan
        and view, "fused" among them, of which the logs have the fused ones.
    """
    if learn.dls.facts["data"]["target"] == "label":
        return score_labels(learn, logs)
    if predict is None and len(store.info.views) > 1:
        return score_views(learn, store, logs)
    return score_masks(learn, store, logs, predict or predict_volume)
