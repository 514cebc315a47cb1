"""Segment and score the held-out patients of a store."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from liverutils.prediction.network import class_probabilities
from liverutils.prediction.painter import Painter
from liverutils.runs import RunLogs
from liverutils.scans import TUMOR
from liverutils.scoring import score_lesions, score_patient
from liverutils.slices import SliceLoader, SliceSet, SliceStore
from liverutils.training import CourseLearner

# Segments one scan, as `predict_volume` does.
Predict = Callable[[CourseLearner, SliceStore, SliceSet], np.ndarray]


def predict_slices(learn: CourseLearner, slices: SliceSet) -> Iterator[Tensor]:
    """Yield class probabilities (B, classes, H, W), float32 on the device, batch by batch."""
    model = learn.settings.lay_out(learn.model.eval())
    loader = SliceLoader(slices, bs=learn.dls.train.bs, device=learn.dls.device)
    for images, _ in loader:
        yield class_probabilities(model, images, learn.settings)


def predict_labels(learn: CourseLearner, slices: SliceSet) -> np.ndarray:
    """Return the labels (N, H, W) uint8 of slices, on the store's pixels."""
    labels = [
        probabilities.argmax(1).byte().cpu() for probabilities in predict_slices(learn, slices)
    ]
    return torch.cat(labels).numpy()


def predict_volume(learn: CourseLearner, store: SliceStore, slices: SliceSet) -> np.ndarray:
    """Segment one scan of a store.

    The probabilities, not the labels, are interpolated to the scan's grid, so that the mask's
    outline is not that of the store's larger pixels.

    Args:
        learn: A trained learner.
        store: The store that holds the scan.
        slices: The scan's slices, from `SliceSet.of_volume`.

    Returns:
        Labels (X, Y, Z) uint8 on the scan's own grid, RAS.
    """
    volume, (view,) = slices.slices.volume[0], store.info.views
    painter = Painter(store.resampler(volume, view), view, store.info.volumes[volume].shape)
    first = 0
    for probabilities in predict_slices(learn, slices):
        painter.paint(first, probabilities)
        first += len(probabilities)
    return painter.labels


def score_slices(learn: CourseLearner, logs: RunLogs) -> None:
    """Score the test patients' slices with the kept weights, on the store's pixels; write `_test`.

    That of a run with a time budget stays as `training.TimeBudget` wrote it.
    """
    with learn.no_bar(), learn.no_logging():
        learn.validate(dl=learn.dls.test)
    scores, record = learn.scorer.log_row("test"), learn.run_record
    learn.run_record = replace(record, scores=record.scores | {"test": scores})
    if not record.training["minutes"]:
        logs.write("test", pd.DataFrame([{"epoch": learn.best_epoch} | scores]))


def score_masks(
    learn: CourseLearner,
    store: SliceStore,
    logs: RunLogs,
    predict: Predict = predict_volume,
) -> pd.DataFrame:
    """Score the test patients; write `_test`, `_patients` and `_lesions` and the run's final times.

    `_test.csv` holds the scores on the store's pixels, as `_val.csv` does. `_patients.csv`, which
    is returned, has one row per held-out scan, scored on its own voxel grid by
    `scoring.score_patient`; `_lesions.csv` one row per lesion, true or only predicted.

    Args:
        learn: A trained learner.
        store: The store it was trained on.
        logs: Where the run writes.
        predict: Segments one scan, as `predict_volume` does.
    """
    test = learn.dls.test
    score_slices(learn, logs)
    patients, lesions = [], []
    for volume in test.dataset.slices.volume.unique():
        slices = test.dataset.of_volume(volume)
        names = {"patient": slices.slices.patient[0], "volume": volume}
        spacing = store.info.volumes[volume].spacing
        predicted, true = predict(learn, store, slices), store.true_mask(volume)
        patients.append(names | score_patient(predicted, true, spacing))
        found = score_lesions(predicted == TUMOR, true == TUMOR, spacing)
        lesions.append(found.assign(**names))
    logs.write("patients", pd.DataFrame(patients))
    logs.write("lesions", pd.concat(lesions, ignore_index=True))
    logs.finish(learn.run_record)
    return pd.DataFrame(patients)
