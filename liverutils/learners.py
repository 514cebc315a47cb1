"""fastai Learners for the course, and the one way to train them."""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback import schedule  # noqa: F401  (gives Learner its fit_one_cycle)
from fastai.callback.core import Callback, CancelEpochException
from fastai.data.core import DataLoaders
from fastai.learner import Learner, ValueMetric
from fastai.optimizer import OptimWrapper
from fastai.torch_core import trainable_params
from torch import Tensor, nn

from liverutils.callbacks import (
    Checkpoint,
    ClassScores,
    EpochSeed,
    KeepBest,
    MultiTaskScores,
    PatientScores,
    ReduceOnPlateau,
    StepLosses,
    TensorBoard,
    TimeBudget,
    WriteLogs,
    learning_rates,
)
from liverutils.datasets.loaders import SliceLoader
from liverutils.errors import BadInput
from liverutils.logs import RunLogs
from liverutils.losses import TwoTasks, build_loss
from liverutils.metrics import SLICE_CLASSES
from liverutils.models import load_weights
from liverutils.models.cost import network_cost
from liverutils.settings import Settings, use_settings


class CourseLearner(Learner):
    """A fastai Learner that can begin at a later epoch, without replaying those before it."""

    first_epoch = 0

    def _do_fit(self):
        if self.first_epoch and hasattr(self, "progress"):
            self.progress.mbar.update(0)  # A bar that is not started at 0 does not start at all.
        for epoch in range(self.first_epoch, self.n_epoch):
            self.epoch = epoch
            self._with_events(self._do_epoch, "epoch", CancelEpochException)


def segmentation_learner(
    dls: DataLoaders,
    model: nn.Module,
    *,
    loss: str = "dice_cross_entropy",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
    splitter: Callable[[nn.Module], list] = trainable_params,
) -> CourseLearner:
    """Return a Learner for background, liver and tumour that scores each epoch by patient.

    Args:
        dls: From `slice_loaders` with target="mask".
        model: From `build_model`; logits (B, 3, H, W).
        loss: A name that `losses.build_loss` knows.
        lr: Peak of the one-cycle schedule.
        weight_decay: Of Adam.
        seed: What the epochs' seeds are made of.
        splitter: Divides the parameters into groups, the first layers' first, that can be frozen
            and have learning rates of their own.
    """
    shown = {"liver_dice": "dice_avg_class_1", "tumour_dice": "dice_avg_class_2"}
    learn = _learner(dls, model, build_loss(loss), PatientScores(), shown, lr, weight_decay, seed)
    learn.splitter = splitter
    learn.facts = {"loss": loss, "seed": seed}
    return learn


def multitask_learner(
    dls: DataLoaders,
    model: nn.Module,
    *,
    loss: str = "dice_cross_entropy",
    tumor_weight: float = 0.3,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> CourseLearner:
    """Return a Learner that segments liver and tumour and tells which slices show a tumour.

    Args:
        dls: From `slice_loaders` with target="both".
        model: From `build_model`; logits (B, 3, H, W) and of a tumour (B,).
        loss: Of the segmentation; a name that `losses.build_loss` knows.
        tumor_weight: Of the second task, see `losses.TwoTasks`.
        lr: Peak of the one-cycle schedule.
        weight_decay: Of Adam.
        seed: What the epochs' seeds are made of.
    """
    shown = {
        "liver_dice": "dice_avg_class_1",
        "tumour_dice": "dice_avg_class_2",
        "tumour_auc": "tumor_auc_per_slice",
    }
    both = TwoTasks(build_loss(loss), tumor_weight)
    learn = _learner(dls, model, both, MultiTaskScores(), shown, lr, weight_decay, seed)
    learn.facts = {"loss": loss, "tumor_weight": tumor_weight, "seed": seed}
    return learn


def classification_learner(
    dls: DataLoaders,
    model: nn.Module,
    *,
    class_weights: str = "none",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> CourseLearner:
    """Return a Learner that tells slices without liver, with liver, and with lesion apart.

    Args:
        dls: From `slice_loaders` with target="label".
        model: From `build_model`; logits (B, 3).
        class_weights: "balanced" weighs the cross-entropy of each class by the inverse of its share
            of the training slices.
        lr: Peak of the one-cycle schedule.
        weight_decay: Of Adam.
        seed: What the epochs' seeds are made of.

    Raises:
        BadInput: Training, validation or test patients whose slices are all of one class; an
            unknown `class_weights`.
    """
    for part, loader in zip(("training", "validation", "test"), dls, strict=True):
        _check_classes(part, loader.dataset.labels)
    if class_weights not in ("none", "balanced"):
        raise BadInput(f"class_weights is {class_weights!r}: it must be 'none' or 'balanced'.")
    weights = None
    if class_weights == "balanced":
        slices = torch.bincount(dls.train.dataset.labels, minlength=len(SLICE_CLASSES))
        weights = (slices.sum() / len(SLICE_CLASSES) / slices.clamp(min=1)).to(dls.device)
    loss = nn.CrossEntropyLoss(weights)
    shown = {"accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy"}
    learn = _learner(dls, model, loss, ClassScores(), shown, lr, weight_decay, seed)
    learn.facts = {"loss": "cross_entropy", "class_weights": class_weights, "seed": seed}
    return learn


def _check_classes(part: str, labels: Tensor) -> None:
    present = labels.unique().tolist()
    if len(present) < 2:
        raise BadInput(
            f"All {len(labels)} slices of the {part} patients are of class "
            f"'{SLICE_CLASSES[present[0]]}': there is nothing to tell apart; add patients or "
            "change the split's seed.",
            fault="one_class",
        )


def _learner(
    dls: DataLoaders,
    model: nn.Module,
    loss_func: nn.Module,
    scorer: Callback,
    shown: dict[str, str],
    lr: float,
    weight_decay: float,
    seed: int,
) -> CourseLearner:
    """A learner whose progress table shows the scorer's scores: heading → name of the score."""
    learn = CourseLearner(
        dls,
        model.to(dls.device),
        loss_func=loss_func,
        opt_func=partial(OptimWrapper, opt=partial(torch.optim.Adam, fused=True)),
        lr=lr,
        wd=weight_decay,
        cbs=[scorer, StepLosses(), EpochSeed(seed)],
        metrics=[
            ValueMetric(partial(_score, scorer, name), title) for title, name in shown.items()
        ],
    )
    learn.scorer = scorer
    use_settings(learn, Settings())
    return learn


def _score(scorer: Callback, name: str) -> float:
    return scorer.scores[name]


def train(
    learn: CourseLearner,
    epochs: int,
    *,
    logs: RunLogs,
    resume: bool = True,
    patience: int | None = None,
    encoder_lr: float | None = None,
    reduce_on_plateau: int | None = None,
    tensorboard_dir: Path | str | None = None,
    minutes: float = 0,
) -> None:
    """Train on a one-cycle schedule, log every epoch, and leave the best epoch's weights in place.

    After each epoch the run's CSVs, its best weights and a checkpoint are written; a run that died
    goes on from the checkpoint, which is removed when the run is done.

    Args:
        learn: A learner of this module.
        epochs: Epochs in all, those of an interrupted run counted in.
        logs: Where the run writes.
        resume: Go on from the checkpoint of a run that died, if it is of this very run.
        patience: Stop when the validation score has not risen for so many epochs.
        encoder_lr: Learning rate of the first parameter group; those between it and the last, which
            has the learner's own, follow in equal ratios. By default all have the learner's.
        reduce_on_plateau: Instead of the one-cycle schedule, hold the learning rate and reduce it
            when the validation score has not risen for so many epochs.
        tensorboard_dir: Write event files for TensorBoard below this folder too.
        minutes: Train for so long instead of for `epochs`, at a constant learning rate, since a
            schedule would need to know its end; the test patients are scored on the way, see
            `callbacks.TimeBudget`. 0 is no budget.

    Raises:
        FloatingPointError: A loss that is not finite; the sentence names the batch.
    """
    facts = run_facts(learn, epochs, minutes)
    facts["training"] |= _schedule_facts(encoder_lr, reduce_on_plateau)
    learn.create_opt()
    learn.opt.set_hyper("lr", slice(encoder_lr, learn.lr) if encoder_lr else learn.lr)
    rates = learning_rates(learn.opt)
    callbacks = [KeepBest(logs.weights, facts | {"run_name": logs.name}, patience)]
    if reduce_on_plateau:
        callbacks.append(ReduceOnPlateau(reduce_on_plateau))
    if tensorboard_dir:
        callbacks.append(TensorBoard(Path(tensorboard_dir), logs.name))
    checkpoint = Checkpoint(logs.checkpoint, facts)
    with learn.added_cbs([*callbacks, checkpoint]):
        learn.first_epoch = checkpoint.load() if resume else 0
        logs.write("hyperparams", pd.DataFrame([facts["training"] | asdict(learn.settings)]))
        write_logs = WriteLogs(logs, learn.first_epoch)
        if minutes:
            budget = TimeBudget(minutes, logs, learn.first_epoch)
            with learn.no_bar(), learn.no_logging():  # A bar counts towards a known end.
                learn.fit(sys.maxsize, rates, cbs=[write_logs, budget])
        elif reduce_on_plateau:
            learn.fit(epochs, learning_rates(learn.opt), cbs=write_logs)  # the checkpoint's, if any
        else:
            learn.fit_one_cycle(epochs, rates, cbs=write_logs)
        learn.first_epoch = 0
    _finish(learn, logs, facts)


def _finish(learn: CourseLearner, logs: RunLogs, facts: dict[str, Any]) -> None:
    """Take the best epoch's weights and write what the run was; its checkpoint has served."""
    best, best_facts = load_weights(logs.weights)
    learn.model.load_state_dict(best.state_dict())
    learn.best_epoch = best_facts["epoch"]
    learn.run_facts = facts | {
        "settings": asdict(learn.settings),
        "best_epoch": learn.best_epoch,
        "cost": _cost(learn, logs),
        "scores": _scores_of_kept_epoch(learn),
    }
    logs.write_run(learn.run_facts)
    logs.checkpoint.unlink(missing_ok=True)


def _schedule_facts(encoder_lr: float | None, reduce_on_plateau: int | None) -> dict[str, Any]:
    """What differs from one rate in one cycle, for the logs."""
    facts = {"encoder_lr": encoder_lr} if encoder_lr else {}
    if reduce_on_plateau:
        facts["optimizer"] = f"Adam, reduced after {reduce_on_plateau} epochs without a better one"
    return facts


def _cost(learn: CourseLearner, logs: RunLogs) -> dict[str, float]:
    """What the network costs, and how many training slices passed per second of an epoch."""
    images, _ = next(iter(learn.dls.valid))
    seconds = pd.read_csv(logs.path("runtime")).runtime.median()
    slices = len(learn.dls.train.dataset) + len(learn.dls.valid.dataset)
    measured = network_cost(learn.model, images, **asdict(learn.settings))
    return measured | {"images_per_second": slices / seconds}


def _scores_of_kept_epoch(learn: CourseLearner) -> dict[str, dict[str, float]]:
    """Scores of the training slices, as they are without augmentation, and the validation's."""
    plain = replace(learn.dls.train.dataset, augment=None)
    loaders = {
        "train": SliceLoader(plain, bs=learn.dls.valid.bs, device=learn.dls.device),
        "val": learn.dls.valid,
    }
    scores = {}
    for part, loader in loaders.items():
        with learn.no_bar(), learn.no_logging():
            learn.validate(dl=loader)
        scores[part] = learn.scorer.log_row(part)
    return scores


def run_facts(learn: CourseLearner, epochs: int, minutes: float = 0) -> dict[str, Any]:
    """What makes this run itself: network, data, split and training, as JSON can hold it."""
    return {
        "model": learn.model.recipe,
        "data": learn.dls.facts["data"],
        "split": learn.dls.facts["split"],
        "training": {
            "learning_rate": learn.lr,
            "weight_decay": learn.wd,
            "batch_size": learn.dls.train.bs,
            "epochs": None if minutes else epochs,
            "minutes": minutes or None,
            "optimizer": "Adam, constant learning rate" if minutes else "Adam, one cycle",
            "augment": learn.dls.facts["augment"],
            "sampling": learn.dls.facts["sampling"],
        }
        | learn.facts,
    }
