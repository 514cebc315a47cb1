"""From a trained network and the slices of a scan to a mask on the scan's own voxel grid."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from liverutils.datasets.loaders import SliceLoader, SliceSet
from liverutils.datasets.store import Resampler, SliceStore
from liverutils.datasets.volumes import TUMOR, VIEW_AXES, from_picture
from liverutils.learners import CourseLearner
from liverutils.logs import RunLogs
from liverutils.metrics import score_lesions, score_patient


def predict_slices(learn: CourseLearner, slices: SliceSet) -> Iterator[Tensor]:
    """Yield class probabilities (B, classes, H, W), float32 on the device, batch by batch."""
    settings = learn.settings
    model = learn.model.eval().to(memory_format=settings.memory_format)
    loader = SliceLoader(slices, bs=learn.dls.train.bs, device=learn.dls.device)
    mixed = torch.autocast(
        learn.dls.device.type,
        getattr(torch, settings.dtype),
        enabled=settings.dtype != "float32",
    )
    for images, _ in loader:
        with torch.inference_mode(), mixed:
            logits = model(images.contiguous(memory_format=settings.memory_format))
        yield logits.float().softmax(1)


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
    scan = store.info["volumes"][slices.slices.volume[0]]
    view = store.info["view"]
    spacing = scan["spacing"] or (1.0, 1.0, 1.0)
    resampler = Resampler.for_scan(scan["shape"], spacing, view, store.info["size"])
    rows, columns = (torch.from_numpy(m).to(learn.dls.device) for m in resampler.back())
    mask = np.zeros(scan["shape"], np.uint8)
    planes = np.moveaxis(mask, VIEW_AXES[view], 0)
    indices = iter(slices.slices["index"])
    for probabilities in predict_slices(learn, slices):
        for picture in probabilities:
            index = next(indices)
            if picture.argmax(0).any():
                labels = (rows @ picture @ columns.T).argmax(0).to(torch.uint8)
                planes[index] = from_picture(labels.cpu().numpy())
    return mask


def score_held_out(learn: CourseLearner, store: SliceStore, logs: RunLogs) -> pd.DataFrame:
    """Score the test patients; write `_test`, `_patients` and `_lesions` and the run's final times.

    `_test.csv` holds the scores on the store's pixels, as `_val.csv` does. `_patients.csv`, which
    is returned, has one row per held-out scan, scored on its own voxel grid by
    `metrics.score_patient`; `_lesions.csv` one row per lesion, true or only predicted.
    """
    test = learn.dls[2]
    learn.validate(dl=test)
    learn.run_facts["scores"]["test"] = learn.scorer.log_row("test")
    logs.write("test", pd.DataFrame([{"epoch": learn.best_epoch} | learn.scorer.log_row("test")]))
    patients, lesions = [], []
    for volume in test.dataset.slices.volume.unique():
        slices = test.dataset.of_volume(volume)
        names = {"patient": slices.slices.patient[0], "volume": volume}
        spacing = store.info["volumes"][volume]["spacing"]
        predicted, true = predict_volume(learn, store, slices), store.true_mask(volume)
        patients.append(names | score_patient(predicted, true, spacing))
        found = score_lesions(predicted == TUMOR, true == TUMOR, spacing)
        lesions.append(found.assign(**names))
    logs.write("patients", pd.DataFrame(patients))
    logs.write("lesions", pd.concat(lesions, ignore_index=True))
    logs.write_run(learn.run_facts)
    return pd.DataFrame(patients)
