"""Our recipe for the liver against an earlier project's, in the same time on the same machine.

python -m tests.benchmarks.earlier_recipe [DATA] [MINUTES] [PIXELS]

DATA is a phantom cohort or `lits-png`, which is found where LIVER_CT_REAL_DATA says. Both recipes
train DeepLabV3+ with ResNet-34 from the same random weights on the same patients in batches of 16.
The earlier one: Adam at 3e-4, cross-entropy, float32, neither augmentation nor schedule. Ours is
trained once for MINUTES and once for a third of them, the choice of the settings counted in.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.schedule import combined_cos

from liverutils.course import open_course_store
from liverutils.models import build_model
from liverutils.prediction import predict_labels
from liverutils.slices import Augment, SliceSet, SliceStore, slice_loaders, split_patients
from liverutils.training import (
    CourseLearner,
    choose_device,
    segmentation_learner,
    use_fastest_settings,
)
from tests.benchmarks.common import report

BATCH = 16
POINTS = 12
PEAK_LR = 3e-3


class Stopwatch(Callback):
    """Stop a training after some seconds."""

    order = 70

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._start = time.perf_counter()

    def elapsed(self) -> float:
        """Seconds of training so far."""
        return time.perf_counter() - self._start

    def after_batch(self):
        """Stop when the time is over."""
        if self.training and self.elapsed() >= self.seconds:
            raise CancelFitException


class ScoringStopwatch(Stopwatch):
    """Score the liver on the way, while the watch stands still.

    The patients for validation and for the test are scored on the store's pixels.
    """

    def __init__(self, seconds: float):
        super().__init__(seconds)
        self.curve = []

    def after_batch(self):
        """Score when the time for it has come, stop when it is over."""
        if self.training and self.elapsed() >= self.seconds * (len(self.curve) + 1) / POINTS:
            self._score()
        super().after_batch()

    def _score(self):
        stopped_at = self.elapsed()
        dices = {
            f"{part}_liver_dice": liver_dice(self.learn, getattr(self.dls, part).dataset)
            for part in ("valid", "test")
        }
        self.model.train()
        self.curve.append({"seconds": stopped_at} | dices)
        self._start = time.perf_counter() - stopped_at


class OneCycleByTime(Callback):
    """Raise the learning rate and lower it again, by the share of the time that is gone."""

    def __init__(self, stopwatch: Stopwatch, peak: float):
        self.stopwatch = stopwatch
        self.rate = combined_cos(0.25, peak / 25, peak, peak / 1e5)

    def before_batch(self):
        """Set the learning rate."""
        if self.training:
            share = min(1.0, self.stopwatch.elapsed() / self.stopwatch.seconds)
            self.opt.set_hyper("lr", self.rate(share))


def main(data: str = "phantom", minutes: str = "5", pixels: str = "128") -> None:
    """Train with both recipes, write their curves and what they come to."""
    store = open_course_store(data, data_folder(data), "axial", int(pixels))
    seconds = 60 * float(minutes)
    curves = {
        "earlier": train_earlier(store, seconds),
        "ours": train_ours(store, seconds),
        "ours, a third of the time": train_ours(store, seconds / 3),
    }
    rows = [{"recipe": recipe} | point for recipe, curve in curves.items() for point in curve]
    report(f"earlier_recipe_{data}", rows)
    report(f"earlier_recipe_{data}_summary", [summarise(curves) | {"pixels": int(pixels)}])


def data_folder(data: str) -> Path:
    """Return where the data set lies; phantoms are made below `data`."""
    if data != "lits-png":
        return Path("data")
    if "LIVER_CT_REAL_DATA" not in os.environ:
        sys.exit("Name the folder that holds lits-png-8.zip in LIVER_CT_REAL_DATA.")
    return Path(os.environ["LIVER_CT_REAL_DATA"], "lits-png-8.zip").resolve()


def train_earlier(store: SliceStore, seconds: float) -> list[dict]:
    """Train as the earlier project did; return the curve."""
    learn = make_learner(store, None, (12, 24, 36), loss="cross_entropy", lr=3e-4)
    stopwatch = ScoringStopwatch(seconds)
    fit(learn, stopwatch)
    return stopwatch.curve


def train_ours(store: SliceStore, seconds: float) -> list[dict]:
    """Train as the course does; return the curve."""
    rates = np.maximum(1, np.array([6, 12, 18]) * store.info.size // 512).tolist()
    learn = make_learner(store, Augment(), rates, loss="dice_cross_entropy", lr=PEAK_LR)
    stopwatch = ScoringStopwatch(seconds)
    use_fastest_settings(learn)
    fit(learn, stopwatch, OneCycleByTime(stopwatch, PEAK_LR))
    return stopwatch.curve


def make_learner(
    store: SliceStore, augment: Augment | None, rates: list[int], **options
) -> CourseLearner:
    """Return a learner on the split and the random weights that both recipes share."""
    split = split_patients(store.slices)
    dls = slice_loaders(
        store, split, batch_size=BATCH, augment=augment, device=choose_device("auto")
    )
    torch.manual_seed(0)
    model = build_model("DeepLabV3Plus_ResNet34", decoder_atrous_rates=rates)
    return segmentation_learner(dls, model, **options)


def fit(learn: CourseLearner, *callbacks: Callback) -> None:
    """Train until one of the callbacks, a stopwatch, ends it."""
    with learn.no_bar(), learn.no_logging():
        learn.fit(sys.maxsize, cbs=callbacks)


def liver_dice(learn: CourseLearner, slices: SliceSet) -> float:
    """Mean over patients of the Dice of the liver, tumour included."""
    predicted = predict_labels(learn, slices) > 0
    true = slices.masks[slices.rows.to(slices.masks.device)].cpu().numpy() > 0
    pixels = pd.DataFrame(
        {
            "patient": slices.slices.patient,
            "shared": (predicted & true).sum((1, 2)),
            "both": predicted.sum((1, 2)) + true.sum((1, 2)),
        }
    )
    by_patient = pixels.groupby("patient").sum()
    return float((2 * by_patient.shared / by_patient.both).mean())


def summarise(curves: dict[str, list[dict]]) -> dict:
    """Return the final scores, and when ours reached the earlier recipe's."""
    final = {recipe: curve[-1] for recipe, curve in curves.items()}
    goal = final["earlier"]["test_liver_dice"]
    reached = [
        point["seconds"]
        for recipe in ("ours", "ours, a third of the time")
        for point in curves[recipe]
        if point["test_liver_dice"] >= goal
    ]
    reached_s = min(reached, default=np.nan)
    return {
        "earlier_s": final["earlier"]["seconds"],
        "earlier_dice": goal,
        "ours_dice": final["ours"]["test_liver_dice"],
        "ours_third_dice": final["ours, a third of the time"]["test_liver_dice"],
        "ours_reached_it_s": reached_s,
        "share_of_its_time": reached_s / final["earlier"]["seconds"],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
