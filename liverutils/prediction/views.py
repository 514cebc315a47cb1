"""One network for three views: their slices as one set, its answers as one volume."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from liverutils.prediction.held_out import predict_slices, score_masks
from liverutils.runs import RunLogs
from liverutils.scans import TUMOR, VIEW_AXES, View
from liverutils.scoring import Interval, bootstrap_auc, score_patient
from liverutils.slices import SliceSet, SliceStore
from liverutils.training import CourseLearner


def predict_views(
    learn: CourseLearner, store: SliceStore, slices: SliceSet
) -> dict[str, np.ndarray]:
    """Segment one scan from each of its views, and from all of them together.

    Args:
        learn: A trained learner.
        store: The joined store that holds the scan.
        slices: The scan's slices in all views, from `SliceSet.of_volume`.

    Returns:
        View, or "fused" → labels (X, Y, Z) uint8 on the scan's own grid, RAS.
    """
    volume = slices.slices.volume[0]
    planes = {
        view: _predict_planes(learn, store, slices.of_volume(volume, view))
        for view in slices.slices.view.unique()
    }
    return fuse_views(planes, store.info.volumes[volume].shape)


def fuse_views(
    planes: Mapping[View, Iterable[Tensor]], shape: Sequence[int]
) -> dict[str, np.ndarray]:
    """Average what several views say of each voxel, and label it by the most probable class.

    Besides the labels, 6 bytes per voxel are held: the sum of the views in half precision.

    Args:
        planes: View → class probabilities (3, A, B) of each plane of the volume along the view's
            axis, in order, A and B its other two axes.
        shape: (X, Y, Z) of the volume.

    Returns:
        View, or "fused" → labels (X, Y, Z) uint8.
    """
    total = torch.zeros(3, *shape, dtype=torch.float16)
    labels = {name: np.zeros(shape, np.uint8) for name in (*planes, "fused")}
    for view, of_view in planes.items():
        axis = VIEW_AXES[view]
        for index, plane in enumerate(of_view):
            total.select(axis + 1, index).add_(plane)
            np.moveaxis(labels[view], axis, 0)[index] = plane.argmax(0)
    for index in range(shape[0]):
        labels["fused"][index] = total[:, index].argmax(0)
    return labels


def _predict_planes(learn: CourseLearner, store: SliceStore, slices: SliceSet) -> Iterator[Tensor]:
    """Yield class probabilities (3, A, B) of every plane of a scan, from its slices of one view."""
    view, volume = slices.slices[["view", "volume"]].iloc[0]
    resampler = store.resampler(volume, view)
    rows, columns = (torch.from_numpy(m).to(learn.dls.device) for m in resampler.back())
    pictures = chain.from_iterable(predict_slices(learn, slices))
    # Turned back from what `scans.as_picture` shows.
    planes = ((rows @ picture @ columns.T).mT.flip(1, 2).cpu() for picture in pictures)
    known = zip(slices.slices["index"], planes, strict=True)
    return fill_gaps(known, store.info.volumes[volume].shape[VIEW_AXES[view]])


def fill_gaps(known: Iterable[tuple[int, Tensor]], n_planes: int) -> Iterator[Tensor]:
    """Yield `n_planes` planes: the known ones, those between interpolated, the ends repeated.

    Args:
        known: (index, plane) in rising order, at least one.
        n_planes: How many there are in all.
    """
    known = iter(known)
    index, plane = next(known)
    yield from [plane] * (index + 1)
    for next_index, next_plane in known:
        for weight in np.linspace(0, 1, next_index - index + 1)[1:]:
            yield torch.lerp(plane, next_plane, float(weight))
        index, plane = next_index, next_plane
    yield from [plane] * (n_planes - 1 - index)


def score_detection(images: pd.DataFrame, score: str = "tumor_probability") -> pd.DataFrame:
    """How well tumour is told from none: by slice, in each view and in all, and by patient.

    Args:
        images: A row per slice, as `training.MultiTaskScores.images`.
        score: The column that is to be high where there is a tumour. A patient's is that of the
            most suspicious slice.

    Returns:
        A row for each with the number of slices or patients (`cases`), how many `with_tumor`, and
        `auc` with `low` and `high`, patients drawn with replacement; NaN where there is one kind of
        case only.
    """
    tables = {f"slice, {view}": table for view, table in images.groupby("view", sort=False)}
    tables["slice, all views"] = images
    tables["patient"] = images.groupby("patient", as_index=False)[["label", score]].max()
    return pd.DataFrame(_detection_row(table, score) for table in tables.values()).set_index(
        pd.Index(tables, name="told by")
    )


def _detection_row(table: pd.DataFrame, score: str) -> dict[str, float]:
    tumor = table.label == TUMOR
    interval = Interval(np.nan, np.nan, np.nan)
    if tumor.any() and not tumor.all():
        interval = bootstrap_auc(tumor, table[score], table.patient)
    area = dict(zip(("auc", "low", "high"), interval, strict=True))
    return {"cases": len(table), "with_tumor": int(tumor.sum())} | area


def score_views(learn: CourseLearner, store: SliceStore, logs: RunLogs) -> pd.DataFrame:
    """Score the test patients from each view and from all together, each scan predicted once.

    The logs are those of `score_masks` for the views together.

    Args:
        learn: A trained learner.
        store: The joined store it was trained on.
        logs: Where the run writes.

    Returns:
        One row per scan and `view`, "fused" among them, with the scores of `score_patient`.
    """
    rows = []

    def predict_fused(learn: CourseLearner, store: SliceStore, slices: SliceSet) -> np.ndarray:
        labels = predict_views(learn, store, slices)
        fused = labels.pop("fused")
        patient, volume = slices.slices[["patient", "volume"]].iloc[0]
        true, spacing = store.true_mask(volume), store.info.volumes[volume].spacing
        for view, predicted in labels.items():
            names = {"patient": patient, "volume": volume, "view": view}
            rows.append(names | score_patient(predicted, true, spacing))
        return fused

    fused = score_masks(learn, store, logs, predict_fused)
    return pd.concat([pd.DataFrame(rows), fused.assign(view="fused")], ignore_index=True)
