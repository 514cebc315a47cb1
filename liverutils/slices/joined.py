"""One store of several views of the same scans."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from liverutils.errors import BadInput
from liverutils.files import write_json, written_aside
from liverutils.folders import check_own
from liverutils.locks import one_at_a_time
from liverutils.slices.info import StoreInfo
from liverutils.slices.store import STORE, SliceStore, open_if


def join_views(stores: Sequence[SliceStore], out: Path | str, *, every: int = 1) -> SliceStore:
    """Join stores that show the same scans in different views, or open the joined store.

    The slices of all views have the same number of pixels; a pixel's size in mm may differ.

    Args:
        stores: The first is kept whole.
        out: Folder of the joined store.
        every: Of the other stores every so many slices is kept: CT voxels are finer within an axial
            slice than between two, so there are more of them. Neighbouring slices are those kept.

    Raises:
        BadInput: The stores are of different scans or sizes, or two show the same view;
            folder_in_use, not_writable, disk_full.
    """
    first, out = stores[0], Path(out)
    _check_same_scans(stores)
    rows = [np.arange(len(first))]
    rows += [np.flatnonzero(s.slices["index"] % every == every // 2) for s in stores[1:]]
    n_slices = sum(map(len, rows))
    views = "+".join(store.info.view for store in stores)
    info = replace(first.info, view=views, every=every, slices=n_slices)
    if store := open_if(out, info.__eq__):
        return store
    check_own(out, STORE, reads=[store.folder for store in stores])
    with one_at_a_time(out):
        if store := open_if(out, info.__eq__):
            return store
        check_own(out, STORE)
        _write_joined(stores, rows, info, out)
        return SliceStore.open(out)


def _write_joined(
    stores: Sequence[SliceStore], rows: Sequence[np.ndarray], info: StoreInfo, out: Path
) -> None:
    """Write the rows kept of each store as one store; the scans' labels are those of the first."""
    with written_aside(out, replace_folder=True) as aside:
        aside.mkdir()
        for name in ("images", "masks"):
            _join_arrays([getattr(store, name) for store in stores], rows, aside / f"{name}.npy")
        tables = [store.slices.iloc[kept] for store, kept in zip(stores, rows, strict=True)]
        pd.concat(tables).to_csv(aside / "slices.csv", index=False)
        shutil.copytree(stores[0].folder / "labels", aside / "labels")
        write_json(aside / "store.json", info.as_json)


def _check_same_scans(stores: Sequence[SliceStore]) -> None:
    views = [store.info.view for store in stores]
    kinds = {(store.info.fingerprint, store.info.size) for store in stores}
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
