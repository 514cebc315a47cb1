"""One network for three views: their slices as one set, its answers as one volume."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from liverutils.datasets.loaders import SliceSet
from liverutils.datasets.store import SliceStore
from liverutils.datasets.volumes import TUMOR, VIEW_AXES, View
from liverutils.errors import BadInput
from liverutils.files import one_at_a_time, write_json, written_aside
from liverutils.inference import predict_slices, score_held_out
from liverutils.learners import CourseLearner
from liverutils.logs import RunLogs
from liverutils.metrics import Interval, bootstrap_roc, score_patient


def join_views(stores: Sequence[SliceStore], out: Path | str, *, every: int = 1) -> SliceStore:
    """Join stores that show the same scans in different views, or open the joined store.

    The slices of all views have the same number of pixels; a pixel's size in mm may differ.

    Args:
        stores: The first is kept whole.
        out: Folder of the joined store.
        every: Of the other stores every so many slices is kept: CT voxels are finer within an axial
            slice than between two, so there are more of them. Neighbouring slices are those kept.

    Raises:
        BadInput: The stores are of different scans or sizes, or two show the same view.
    """
    first, out = stores[0], Path(out)
    _check_same_scans(stores)
    rows = [np.arange(len(first))]
    rows += [np.flatnonzero(s.slices["index"] % every == every // 2) for s in stores[1:]]
    n_slices = sum(map(len, rows))
    views = "+".join(store.info["view"] for store in stores)
    info = first.info | {"view": views, "every": every, "slices": n_slices}
    with one_at_a_time(out):
        if not ((out / "store.json").is_file() and SliceStore.open(out).info == info):
            _write_joined(stores, rows, info, out)
        return SliceStore.open(out)


def _write_joined(
    stores: Sequence[SliceStore], rows: Sequence[np.ndarray], info: dict[str, Any], out: Path
) -> None:
    """Write the rows kept of each store as one store; the scans' labels are those of the first."""
    with written_aside(out) as aside:
        aside.mkdir()
        for name in ("images", "masks"):
            _join_arrays([getattr(store, name) for store in stores], rows, aside / f"{name}.npy")
        tables = [store.slices.iloc[kept] for store, kept in zip(stores, rows, strict=True)]
        pd.concat(tables).to_csv(aside / "slices.csv", index=False)
        shutil.copytree(stores[0].folder / "labels", aside / "labels")
        write_json(aside / "store.json", info)


def _check_same_scans(stores: Sequence[SliceStore]) -> None:
    views = [store.info["view"] for store in stores]
    kinds = {(store.info["fingerprint"], store.info["size"]) for store in stores}
    if len(kinds) > 1 or len(set(views)) < len(views):
        raise BadInput(
            f"Stores of the views {', '.join(views)} cannot be joined: take one of each view, of "
            "the same scans and the same size.",
            fault="different_data",
        )


def _join_arrays(arrays: Sequence[np.ndarray], rows: Sequence[np.ndarray], path: Path) -> None:
    ends = np.cumsum([len(kept) for kept in rows])
    shape = (int(ends[-1]), *arrays[0].shape[1:])
    joined = np.lib.format.open_memmap(path, "w+", arrays[0].dtype, shape)
    for array, kept, end in zip(arrays, rows, ends, strict=True):
        # Mode "clip" alone copies straight from file to file.
        np.take(array, kept, axis=0, out=joined[end - len(kept) : end], mode="clip")
    joined.flush()


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
    return fuse_views(planes, store.info["volumes"][volume]["shape"])


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
    # As `volumes.from_picture` turns them.
    planes = ((rows @ picture @ columns.T).mT.flip(1, 2).cpu() for picture in pictures)
    known = zip(slices.slices["index"], planes, strict=True)
    return fill_gaps(known, store.info["volumes"][volume]["shape"][VIEW_AXES[view]])


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
        images: A row per slice, as `callbacks.MultiTaskScores.images`.
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
        interval = bootstrap_roc(tumor, table[score], table.patient).auc
    area = dict(zip(("auc", "low", "high"), interval, strict=True))
    return {"cases": len(table), "with_tumor": int(tumor.sum())} | area


def score_views(learn: CourseLearner, store: SliceStore, logs: RunLogs) -> pd.DataFrame:
    """Score the test patients from each view and from all together, each scan predicted once.

    The logs are those of `inference.score_held_out` for the views together.

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
        true, spacing = store.true_mask(volume), store.info["volumes"][volume]["spacing"]
        for view, predicted in labels.items():
            names = {"patient": patient, "volume": volume, "view": view}
            rows.append(names | score_patient(predicted, true, spacing))
        return fused

    fused = score_held_out(learn, store, logs, predict_fused)
    return pd.concat([pd.DataFrame(rows), fused.assign(view="fused")], ignore_index=True)
