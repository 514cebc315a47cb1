"""Feeding batches from our slice store, against MONAI's cache and against reading slice by slice.

MONAI keeps the same pictures, windowed, in a CacheDataset; flips, turns, scales and shifts them,
changes brightness and contrast and adds noise in the same ranges, one by one; and batches them in
the thread of a ThreadDataLoader, with worker processes or without. "Geometry" leaves brightness,
contrast and noise to ours. The earlier projects cut each slice out of its compressed volume
whenever it was asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import CacheDataset, ThreadDataLoader, set_track_meta
from monai.transforms import (
    Compose,
    Lambda,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
    ScaleIntensityRanged,
)
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from liverutils.course import find_course_cases, open_course_store
from liverutils.models import build_model
from liverutils.slices import (
    Augment,
    SliceLoader,
    SliceSet,
    SliceStore,
    apply_window,
    slice_loaders,
    split_patients,
)
from liverutils.training import choose_device, segmentation_learner, use_fastest_settings
from tests.benchmarks._fresh import in_fresh_process, memory_mb
from tests.benchmarks.common import alternate, report
from tests.benchmarks.epoch_speed import shorten_epoch, train_epoch, train_step, wait_for

BATCH = 16
AUGMENT = Augment(flip=0.5)
CHANGES_OF_VALUES = (
    RandScaleIntensityd("image", AUGMENT.contrast, prob=1),
    RandShiftIntensityd("image", 2 * AUGMENT.brightness, prob=1),
    RandGaussianNoised("image", prob=1, std=2 * AUGMENT.noise),
)
READ_ONE_BY_ONE = 48


def main() -> None:
    """Compare how fast batches come, how fast a network trains on them, and their memory."""
    stores = [open_store(size) for size in (128, 256)]
    report("data_pipeline", [row for store in stores for row in feed(store)])
    report("data_pipeline_training", [train(store) for store in stores])
    report("data_pipeline_memory", [measure_memory(store, n) for store in stores for n in LOADERS])


def open_store(size: int) -> SliceStore:
    """Open the phantom's store of pictures of `size` pixels."""
    return open_course_store("phantom", "data", "axial", size)


def feed(store: SliceStore) -> Iterator[dict]:
    """Time an epoch of batches without a network; yield a row for each other way."""
    ours = our_loader(store)
    others = {
        "MONAI": monai_loader(ours.dataset),
        "MONAI, 2 workers": monai_loader(ours.dataset, workers=2),
        "MONAI, geometry": monai_loader(ours.dataset, values=[]),
        "nibabel": DataLoader(SlicesOfVolumes(store), BATCH),
    }
    for name, other in others.items():
        timed = alternate(partial(exhaust, ours), partial(exhaust, other))
        images, other_images = len(ours) * BATCH, len(other) * BATCH
        yield {
            "other": name,
            "pixels": store.info.size,
            "images_per_s": images / timed["ours_s"],
            "other_images_per_s": other_images / timed["other_s"],
            "ratio": timed["ratio"] * images / other_images,
            "lowest_ratio": timed["lowest_ratio"] * images / other_images,
        }


def exhaust(batches: Iterable) -> None:
    """Take one batch after the other."""
    for _ in batches:
        pass


def our_loader(store: SliceStore) -> SliceLoader:
    """Return the loader of the training slices."""
    split, device = split_patients(store.slices), choose_device("auto")
    return slice_loaders(store, split, batch_size=BATCH, augment=AUGMENT, device=device).train


def monai_loader(
    slices: SliceSet, workers: int = 0, values: Sequence[Callable] = CHANGES_OF_VALUES
) -> ThreadDataLoader:
    """Return MONAI's loader of the same slices; `values` are its changes besides the geometry."""
    set_track_meta(False)  # MONAI is faster without.
    both, size = ["image", "mask"], slices.images.shape[-1]
    changes = [
        Lambda(partial(read_slice, slices)),
        ScaleIntensityRanged("image", *slices.window, -1, 1, clip=True),
        RandFlipd(both, AUGMENT.flip, spatial_axis=1),
        RandAffined(
            both,
            prob=1,
            spatial_size=(size, size),
            rotate_range=np.deg2rad(AUGMENT.rotate),
            scale_range=(AUGMENT.scale,) * 2,
            translate_range=(AUGMENT.shift * size,) * 2,
            mode=("bilinear", "nearest"),
            padding_mode="border",
            cache_grid=True,
        ),
        *values,
    ]
    # Nothing changes what is cached, so that it need not be copied.
    cached = CacheDataset(range(len(slices)), Compose(changes), copy_cache=False, progress=False)
    return ThreadDataLoader(
        cached,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def read_slice(slices: SliceSet, index: int) -> dict[str, Tensor]:
    """Return a slice as MONAI takes it: picture and mask (1, H, W)."""
    images, masks, _ = slices.gather([index])
    return {"image": images[0].cpu(), "mask": masks.cpu()}


class SlicesOfVolumes(Dataset):
    """Some slices, each cut out of its compressed volume, resized and windowed on demand."""

    def __init__(self, store: SliceStore):
        self.cases = {case.volume: case for case in find_course_cases("phantom", "data")}
        chosen = store.slices.sample(READ_ONE_BY_ONE, random_state=0)
        self.places = list(zip(chosen.volume, chosen["index"], strict=True))
        self.size, self.window = store.info.size, our_loader(store).dataset.window

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        volume, index = self.places[number]
        image = self._read(self.cases[volume].image, index, "bilinear")
        mask = self._read(self.cases[volume].mask, index, "nearest")
        return apply_window(image, self.window), mask

    def _read(self, path: Path, index: int, mode: str) -> Tensor:
        picture = np.asarray(nib.load(path).dataobj[..., index], np.float32)
        return F.interpolate(torch.from_numpy(picture)[None, None], self.size, mode=mode)[0]


def train(store: SliceStore) -> dict:
    """Time a training epoch of the same U-Net on our batches and on MONAI's."""
    split, device = split_patients(store.slices), choose_device("auto")
    dls = slice_loaders(store, split, batch_size=BATCH, augment=AUGMENT, device=device)
    learn = segmentation_learner(dls, build_model("UNet", width=16))
    use_fastest_settings(learn)
    learn.create_opt()
    shorten_epoch(learn, batches=2048 // store.info.size)
    theirs = monai_loader(learn.dls.train.dataset)

    def train_on_theirs() -> None:
        learn.model.train()
        for batch in theirs:
            images, masks = batch["image"].to(device), batch["mask"][:, 0].to(device)
            train_step(learn, images, masks.long())
        wait_for(device)

    timed = alternate(lambda: train_epoch(learn), train_on_theirs)
    images = len(learn.dls.train) * BATCH
    return {
        "other": "MONAI",
        "pixels": store.info.size,
        "images_per_s": images / timed["ours_s"],
        "other_images_per_s": images / timed["other_s"],
        "ratio": timed["ratio"],
        "lowest_ratio": timed["lowest_ratio"],
    }


def measure_memory(store: SliceStore, name: str) -> dict:
    """Feed an epoch in a process of its own; return what that process needs for it."""
    size, slices = store.info.size, len(our_loader(store).dataset)
    facts = {
        "loader": name,
        "pixels": size,
        "slices": slices,
        "stored_mb": slices * size**2 * 3 / 2**20,
    }
    return facts | in_fresh_process(feed_and_measure, name, size)


def feed_and_measure(name: str, size: int) -> dict[str, float]:
    """Feed an epoch; return what that adds to this process's peak, and to what is its own.

    The peak holds the pages of memory-mapped files too, which the system takes back when it needs
    them; what is the process's own it cannot take back.
    """
    store = open_store(size)
    before = memory_mb()
    loader = LOADERS[name](store)
    exhaust(loader)
    after = memory_mb()
    return {
        "peak_grown_mb": after["VmHWM"] - before["VmHWM"],
        "own_mb": after["RssAnon"] - before["RssAnon"],
    }


LOADERS = {"ours": our_loader, "MONAI": lambda store: monai_loader(our_loader(store).dataset)}

if __name__ == "__main__":
    main()
