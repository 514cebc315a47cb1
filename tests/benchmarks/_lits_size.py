"""A slice store of LiTS's size on a machine whose memory and disk it does not fit.

Its pictures are holes in sparse files, which read as zeros: what is measured is our own work and
memory, not the speed of a disk.
"""

import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import psutil
import torch

from liverutils.files import write_json
from liverutils.slices import Augment, SliceStore, loaders, slice_loaders, split_patients
from tests.benchmarks._fresh import memory_mb, peak_anonymous_mb, restart_peak

PATIENTS, SLICES_EACH, PIXELS = 131, 443, 512
BATCH = 16
EPOCH_SECONDS = 60

# What the driver leaves of a T4's 16 GB.
T4_BYTES = 15360 * 2**20


def write_sparse_store(folder: Path, patients: int, slices: int, pixels: int) -> Path:
    """Write a store whose pictures take no room on disk; its table is like a real one's."""
    folder.mkdir(parents=True)
    n_slices = patients * slices
    for name, dtype in (("images", np.int16), ("masks", np.uint8)):
        shape = (n_slices, pixels, pixels)
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
    patient, index = np.divmod(np.arange(n_slices), slices)
    liver_px = np.where((index > slices // 3) & (index < slices * 2 // 3), pixels**2 // 10, 0)
    load = np.random.default_rng(0).uniform(0, 0.3, patients)[patient]
    tumor_px = np.where(index % 4 == 0, (load * liver_px).astype(int), 0)
    table = pd.DataFrame(
        {
            "patient": [f"lits-{number:03d}" for number in patient],
            "volume": [f"volume-{number}" for number in patient],
            "view": "axial",
            "index": index,
            "position_mm": 1.5 * index,
            "spacing": 0.75 * 512 / pixels,
            "liver_px": liver_px,
            "tumor_px": tumor_px,
            "label": (liver_px > 0).astype(int) + (tumor_px > 0),
        }
    )
    table.to_csv(folder / "slices.csv", index=False, float_format="%.6g")
    facts = {"source": "lits", "fingerprint": "", "view": "axial", "size": pixels}
    scan = {"shape": [512, 512, slices], "spacing": [0.75, 0.75, 1.5]}
    facts |= {"intensity": "HU", "slices": n_slices, "volumes": dict.fromkeys(table.volume, scan)}
    write_json(folder / "store.json", facts)
    return folder


def measure_epoch(folder: Path) -> dict:
    """Open the store, and gather and prepare batches of a shuffled epoch while the time lasts.

    No network takes them: its step costs the same in any data set.
    """
    restart_peak()
    before = memory_mb()
    clock = [time.perf_counter()]
    store = SliceStore.open(folder)
    clock.append(time.perf_counter())
    split = split_patients(store.slices)
    clock.append(time.perf_counter())
    dls = slice_loaders(store, split, batch_size=BATCH, augment=Augment())
    clock.append(time.perf_counter())
    held = []
    for _ in dls.train:
        clock.append(time.perf_counter())
        held.append(memory_mb()["RssAnon"] - before["RssAnon"])
        if clock[-1] - clock[4] > EPOCH_SECONDS:
            break
    open_s, split_s, loaders_s, first_batch_s = np.diff(clock[:5])
    images_per_s = BATCH * (len(held) - 1) / (clock[-1] - clock[4])
    first, second = np.array_split(held, 2)
    return {
        "slices": len(store),
        "store_gib": _gib(store),
        "memory_gib": psutil.virtual_memory().total / 2**30,
        "open_s": open_s,
        "split_s": split_s,
        "loaders_s": loaders_s,
        "first_batch_s": first_batch_s,
        "batches": len(held),
        "images_per_s": images_per_s,
        "whole_epoch_min": len(dls.train.dataset) / images_per_s / 60,
        "peak_mb": memory_mb()["VmHWM"] - before["VmRSS"],
        "peak_anonymous_mb": peak_anonymous_mb() - before["RssAnon"],
        "highest_first_half_mb": first.max(),
        "highest_second_half_mb": second.max(),
        "verdict": "bounded" if second.max() < 1.1 * first.max() else "grows",
    }


def place_on_t4(folder: Path) -> dict:
    """Ask the loaders where they would put this store with a T4's memory free.

    PyTorch's meta device stands for the GPU: what is copied to it takes no memory.
    """
    store, device = SliceStore.open(folder), torch.device("meta")
    with mock.patch.object(loaders, "_free_memory", return_value=T4_BYTES):
        images, masks = loaders._place(store, device)
    is_resident = images.device == device
    batch_bytes = BATCH * (images[0].nbytes + masks[0].nbytes)
    # One is being gathered and one is used beside those that wait.
    ahead = 0 if is_resident else (loaders.BATCHES_AHEAD + 2) * batch_bytes
    return {
        "pixels": store.info.size,
        "store_gib": _gib(store),
        "limit_gib": loaders.RESIDENT_SHARE * T4_BYTES / 2**30,
        "store_lies": "on the GPU" if is_resident else "in the files, memory-mapped",
        "gathered_ahead_mb": ahead / 2**20,
    }


def _gib(store: SliceStore) -> float:
    return (store.images.nbytes + store.masks.nbytes) / 2**30
