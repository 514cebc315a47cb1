"""A training epoch against bare steps of the same network on one batch in memory, the limit."""

import torch

from liverutils.course import open_course_store
from liverutils.datasets.loaders import Augment, slice_loaders
from liverutils.datasets.splits import Split
from liverutils.learners import segmentation_learner
from liverutils.models import build_model
from liverutils.settings import choose_device, use_fastest_settings
from tests.benchmarks.common import alternate, report

NETWORKS = {"UNet": {"width": 16}, "DeepLabV3Plus_ResNet34": {}}
BATCH = 16


def main() -> None:
    """Compare for each network, size, and with and without augmentation."""
    rows = []
    for augment in (None, Augment()):
        for size in (128, 256):
            for name in NETWORKS:
                rows.append(measure(name, size, augment))
                report("epoch_speed", rows)


def measure(name: str, size: int, augment: Augment | None) -> dict:
    """Time `learn.fit`'s training epoch and as many bare steps on a resident batch."""
    store = open_course_store("phantom", "data", "axial", size)
    # Few patients, so that an epoch is short; validation is not part of what is timed.
    train, (other,) = store.patients[: 640 // size], store.patients[-1:]
    split = Split(tuple(train), (other,), (other,))
    dls = slice_loaders(
        store, split, batch_size=BATCH, augment=augment, device=choose_device("auto")
    )
    learn = segmentation_learner(dls, build_model(name, **NETWORKS[name]))
    trial = use_fastest_settings(learn)
    learn.create_opt()
    learn.n_epoch, learn.epoch = 1, 0

    def epoch() -> None:
        with learn.no_bar(), learn.no_logging():
            learn(["before_fit", "before_epoch"])
            learn._do_epoch_train()
            learn("after_fit")
        _wait(dls.device)

    images, masks = next(iter(slice_loaders(store, split, batch_size=BATCH, device=dls.device)[0]))

    def bare_steps() -> None:
        settings, model = learn.settings, learn.model.train()
        dtype, mixed = getattr(torch, settings.dtype), settings.dtype != "float32"
        for _ in range(len(dls.train)):
            x, y = images.clone(), masks
            if augment is not None:
                x, y = augment(x, y)
            x = x.contiguous(memory_format=settings.memory_format)
            with torch.autocast(dls.device.type, dtype, enabled=mixed):
                output = model(x)
            learn.loss_func(output.float(), y.long()).backward()
            learn.opt.step()
            learn.opt.zero_grad()
        _wait(dls.device)

    timed = alternate(epoch, bare_steps, pairs=3)
    images_per_epoch = len(dls.train) * BATCH
    return {
        "network": name,
        "pixels": size,
        "augmented": augment is not None,
        "settings": f"{trial.dtype[0]}{', channels last' if trial.channels_last[0] else ''}",
        "images_per_s": images_per_epoch / timed["ours_s"],
        "limit_images_per_s": images_per_epoch / timed["other_s"],
        "ratio": timed["ratio"],
        "lowest_ratio": timed["lowest_ratio"],
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
