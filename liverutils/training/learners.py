"""fastai Learners for the course."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fastai.callback import schedule  # noqa: F401  (gives Learner its fit_one_cycle)
from fastai.callback.core import CancelEpochException
from fastai.learner import Learner, ValueMetric
from fastai.optimizer import OptimWrapper
from fastai.torch_core import trainable_params
from torch import Tensor, nn

from liverutils.errors import BadInput
from liverutils.models import Settings, TwoTasks, build_loss
from liverutils.runs import RunRecord
from liverutils.scoring import SLICE_CLASSES
from liverutils.slices import SliceLoaders
from liverutils.training.callbacks import EpochSeed, KeepBest, StepLosses, WriteLogs
from liverutils.training.precision import use_settings
from liverutils.training.scorers import ClassScores, MultiTaskScores, PatientScores, Scorer


class CourseLearner(Learner):
    """A fastai Learner that can begin at a later epoch, without replaying those before it.

    Attributes:
        dls: The loaders, of a split by patient.
        scorer: Scores each validation.
        settings: How the network is computed; `use_settings` sets them.
        facts: What this kind of learner adds to what the logs say of the training.
        run_record: What the run was, as run.json has it; from `train` on.
        best_epoch: The epoch whose weights the model has; from `train` on.
        first_epoch: The epoch that a fit begins with.
        step_losses, keep_best, write_logs: fastai hangs each callback on its learner; the last two
            are there while `train` runs.
    """

    dls: SliceLoaders
    scorer: Scorer
    settings: Settings
    facts: dict[str, Any]
    run_record: RunRecord
    best_epoch: int
    first_epoch = 0
    step_losses: StepLosses
    keep_best: KeepBest
    write_logs: WriteLogs

    def _do_fit(self) -> None:
        if self.first_epoch and hasattr(self, "progress"):
            self.progress.mbar.update(0)  # A bar that is not started at 0 does not start at all.
        for epoch in range(self.first_epoch, self.n_epoch):
            self.epoch = epoch
            self._with_events(self._do_epoch, "epoch", CancelEpochException)


def segmentation_learner(
    dls: SliceLoaders,
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
        loss: A name that `models.build_loss` knows.
        lr: Peak of the one-cycle schedule.
        weight_decay: Of Adam.
        seed: What the epochs' seeds are made of.
        splitter: Divides the parameters into groups, the first layers' first, that can be frozen
            and have learning rates of their own.
    """
    shown = {"liver_dice": "dice_present_class_1", "tumour_dice": "dice_present_class_2"}
    learn = _learner(dls, model, build_loss(loss), PatientScores(), shown, lr, weight_decay, seed)
    learn.splitter = splitter
    learn.facts = {"loss": loss, "seed": seed}
    return learn


def multitask_learner(
    dls: SliceLoaders,
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
        loss: Of the segmentation; a name that `models.build_loss` knows.
        tumor_weight: Of the second task, see `models.TwoTasks`.
        lr: Peak of the one-cycle schedule.
        weight_decay: Of Adam.
        seed: What the epochs' seeds are made of.
    """
    shown = {
        "liver_dice": "dice_present_class_1",
        "tumour_dice": "dice_present_class_2",
        "tumour_auc": "tumor_auc_per_slice",
    }
    both = TwoTasks(build_loss(loss), tumor_weight)
    learn = _learner(dls, model, both, MultiTaskScores(), shown, lr, weight_decay, seed)
    learn.facts = {"loss": loss, "tumor_weight": tumor_weight, "seed": seed}
    return learn


def classification_learner(
    dls: SliceLoaders,
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
    shown = {"balanced_accuracy": "balanced_accuracy", "of_majority": "majority_balanced_accuracy"}
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
    dls: SliceLoaders,
    model: nn.Module,
    loss_func: nn.Module,
    scorer: Scorer,
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


def _score(scorer: Scorer, name: str) -> float:
    return scorer.scores[name]
