"""A training epoch against bare steps of the same network on one batch in memory, the limit.

The bare steps have the epoch's loss, optimiser, number format and memory layout; where the epoch
augments, they change their one batch anew each time.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from fastai.torch_core import to_float
from torch import Tensor

from liverutils.course import open_course_store
from liverutils.models import Settings, build_model
from liverutils.slices import (
    Augment,
    SliceLoader,
    SliceStore,
    apply_window,
    slice_loaders,
    split_patients,
)
from liverutils.training import (
    CourseLearner,
    choose_device,
    classification_learner,
    segmentation_learner,
    use_fastest_settings,
    use_settings,
)
from tests.benchmarks.common import alternate, report, seconds_of

NETWORKS = {
    "UNet": {"width": 16},
    "DeepLabV3Plus_ResNet34": {},
    "DeepLabV3Plus_EfficientNet": {},
    "DeepLabV3Plus_MobileNet": {},
    "ResNet18": {},
}
CLASSIFIERS = ("ResNet18",)
# An epoch takes about so long, but has no fewer batches than that.
SECONDS, BATCHES = 1.2, 3
PAIRS = 11  # single ones scatter by a tenth where two cores are all there is


def main() -> None:
    """Compare for each network, size, and with and without augmentation."""
    rows = []
    for size in (128, 256):
        store = open_course_store("phantom", "data", "axial", size)
        for name in NETWORKS:
            for row in measure(name, store):
                rows.append(row)
                report("epoch_speed", rows)


def measure(name: str, store: SliceStore) -> Iterator[dict]:
    """Yield a row without and one with augmentation, under the settings fastest without."""
    settings = None
    for augment in (None, Augment()):
        learn = make_learner(name, store, augment)
        if settings is None:
            use_fastest_settings(learn)
            settings = learn.settings
        yield compare(learn, settings) | {"network": name, "pixels": store.info.size}


def make_learner(name: str, store: SliceStore, augment: Augment | None) -> CourseLearner:
    """Return a learner in batches of the same number of pixels for each size."""
    dls = slice_loaders(
        store,
        split_patients(store.slices),
        batch_size=2048 // store.info.size,
        target="label" if name in CLASSIFIERS else "mask",
        augment=augment,
        device=choose_device("auto"),
    )
    learner = classification_learner if name in CLASSIFIERS else segmentation_learner
    return learner(dls, build_model(name, **NETWORKS[name]))


def compare(learn: CourseLearner, settings: Settings) -> dict:
    """Time training epochs and as many bare steps."""
    use_settings(learn, settings)
    learn.create_opt()
    bare_step = make_bare_step(learn)
    bare_step()
    shorten_epoch(learn, max(BATCHES, round(SECONDS / seconds_of(bare_step))))
    batches = len(learn.dls.train)

    def bare_steps() -> None:
        for _ in range(batches):
            bare_step()
        wait_for(learn.dls.device)

    timed = alternate(lambda: train_epoch(learn), bare_steps, PAIRS)
    images = batches * learn.dls.train.bs
    return {
        "augmented": learn.dls.train.dataset.augment is not None,
        "settings": settings.dtype + (", channels last" if settings.channels_last else ""),
        "batches": batches,
        "images_per_s": images / timed["ours_s"],
        "limit_images_per_s": images / timed["other_s"],
        "ratio": timed["ratio"],
        "lowest_ratio": timed["lowest_ratio"],
    }


def shorten_epoch(learn: CourseLearner, batches: int) -> None:
    """Train on the first slices only, as many as fill `batches`."""
    train = learn.dls.train
    n = batches * train.bs
    few = replace(
        train.dataset,
        slices=train.dataset.slices.head(n),
        neighbours=train.dataset.neighbours[:n],
    )
    learn.dls.loaders[0] = SliceLoader(
        few, bs=train.bs, shuffle=True, drop_last=True, device=train.device
    )


def train_epoch(learn: CourseLearner) -> None:
    """Train as `learn.fit` does in one epoch, without its validation."""
    learn.n_epoch, learn.epoch = 1, 0
    with learn.no_bar(), learn.no_logging():
        learn(["before_fit", "before_epoch"])
        learn._do_epoch_train()
        learn("after_fit")
    wait_for(learn.dls.device)


def make_bare_step(learn: CourseLearner) -> Callable[[], None]:
    """Return a training step on one batch that is never replaced."""
    dataset, device = learn.dls.train.dataset, learn.dls.device
    batch = dataset.gather(range(learn.dls.train.bs))
    values, masks, labels = (part.to(device) for part in batch)
    images = apply_window(values, dataset.window)
    learn.settings.lay_out(learn.model).train()

    def bare_step() -> None:
        x, y = dataset.augment(images, masks) if dataset.augment else (images, masks)
        train_step(learn, x, labels if dataset.target == "label" else y.long())

    return bare_step


def train_step(learn: CourseLearner, images: Tensor, targets: Tensor) -> None:
    """Make one training step without fastai, but with the learner's loss and optimiser."""
    settings = learn.settings
    images = settings.lay_out_batch(images)
    with settings.autocast(images.device):
        output = learn.model(images)
    learn.loss_func(to_float(output), targets).backward()
    learn.opt.step()
    learn.opt.zero_grad()


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; the CPU has already."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
