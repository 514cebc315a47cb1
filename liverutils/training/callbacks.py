"""What happens around the epochs of every run: seeds, checks, scores, logs, checkpoints."""

import time
from pathlib import Path
from typing import Any, Never

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.optimizer import OptimWrapper
from fastai.torch_core import set_seed
from torch import Tensor

from liverutils.models import save_weights
from liverutils.runs import RunLogs
from liverutils.training.scorers import name_slices

STEPS_BETWEEN_CHECKS = 50


class EpochSeed(Callback):
    """Seed each epoch by its number, so that a resumed run draws what it would have drawn."""

    order = -20

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_epoch(self) -> None:
        """Seed Python, NumPy and torch."""
        set_seed(self.seed * 10_000 + self.epoch)


class StepLosses(Callback):
    """Keep the loss of every training step of the epoch, and stop the run when one is not finite.

    The losses stay on the device and are looked at every 50 steps, so the device need not wait.
    """

    def before_train(self) -> None:
        """Start the epoch's list."""
        self.losses: list[Tensor] = []
        self._n_checked = 0

    def after_loss(self) -> None:
        """Keep the loss."""
        if self.training:
            self.losses.append(self.loss.detach())
            if len(self.losses) - self._n_checked >= STEPS_BETWEEN_CHECKS:
                self._check()

    def after_train(self) -> None:
        """Check the rest of the epoch."""
        self._check()

    def _check(self) -> None:
        fresh = self.losses[self._n_checked :]
        if fresh:
            bad = ~torch.isfinite(torch.stack(fresh)).cpu()
            if bad.any():
                self._stop(self._n_checked + int(bad.int().argmax()))
        self._n_checked = len(self.losses)

    def _stop(self, step: int) -> Never:
        loader = self.dls.train
        rows = loader.order[step * loader.bs : (step + 1) * loader.bs]
        named = name_slices(loader.dataset.slices.iloc[rows.numpy()])
        raise FloatingPointError(
            f"The loss is {float(self.losses[step])} in epoch {self.epoch}, batch {step} (slices "
            f"{named}): lower the learning rate or look at these slices; the weights of the best "
            "finished epoch are kept."
        )


class WriteLogs(Callback):
    """Write `_train`, `_val`, `_runtime` and the scorer's own tables after every epoch."""

    order = 60

    def __init__(self, logs: RunLogs, first_epoch: int) -> None:
        self.logs, self.first_epoch = logs, first_epoch
        self.tables: dict[str, pd.DataFrame] = {}

    def before_epoch(self) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def after_epoch(self) -> None:
        """Add the epoch to the tables and write them."""
        runtime = time.perf_counter() - self._start
        losses = torch.stack(self.learn.step_losses.losses).cpu().double().numpy()
        steps = self.epoch * len(losses) + np.arange(len(losses))
        self._add("train", {"epoch": self.epoch, "step": steps, "loss": losses})
        scorer = self.learn.scorer
        selection = {"selection_score": scorer.selection_score}
        self._add("val", {"epoch": [self.epoch]} | scorer.log_row("val") | selection)
        self._add("runtime", {"epoch": [self.epoch], "runtime": [runtime]})
        for kind, columns in scorer.tables.items():
            self._add(kind, {"epoch": self.epoch} | columns)

    def _add(self, kind: str, columns: dict[str, Any]) -> None:
        if kind not in self.tables:
            self.tables[kind] = self.logs.before_epoch(kind, self.first_epoch)
        self.tables[kind] = pd.concat([self.tables[kind], pd.DataFrame(columns)], ignore_index=True)
        self.logs.write(kind, self.tables[kind])


class KeepBest(Callback):
    """Keep the weights of the best validation epoch; stop when it lies `patience` epochs back.

    The best has the highest selection score of the learner's scorer; of equals, the lowest
    validation loss. The weights are kept in half precision, and what is scored later is what was
    kept.
    """

    order = 61

    def __init__(self, path: Path, facts: dict[str, Any], patience: int | None = None) -> None:
        self.path, self.facts, self.patience = path, facts, patience
        self.best, self.best_loss, self.best_epoch = -1.0, np.inf, -1

    def after_epoch(self) -> None:
        """Compare this epoch's score with the best."""
        score, loss = self.learn.scorer.selection_score, self.learn.scorer.scores["loss"]
        if (score, -loss) > (self.best, -self.best_loss):
            self.best, self.best_loss, self.best_epoch = score, loss, self.epoch
            chosen = {"epoch": self.epoch, "validation_score": score}
            save_weights(self.model, self.path, self.facts | chosen, half=True)

    def is_over(self) -> bool:
        """Whether training should stop."""
        return self.patience is not None and self.learn.epoch - self.best_epoch >= self.patience


def learning_rates(optimizer: OptimWrapper) -> list[float]:
    """Return the learning rate of each parameter group."""
    return [group["lr"] for group in optimizer.hypers]


class ReduceOnPlateau(Callback):
    """Divide the learning rates where `patience` epochs have not raised the validation score.

    fastai's ReduceLROnPlateau counts in itself and would forget when a run is resumed. This one
    counts from the best epoch, which the checkpoint holds, as it holds the rates.
    """

    order = 62

    def __init__(self, patience: int, factor: float = 3.0) -> None:
        self.patience, self.factor = patience, factor

    def after_epoch(self) -> None:
        """Reduce the rates of all parameter groups, or leave them."""
        waited = self.epoch - self.learn.keep_best.best_epoch
        if waited and waited % self.patience == 0:
            rates = [rate / self.factor for rate in learning_rates(self.opt)]
            self.opt.set_hyper("lr", rates)
            print(f"Epoch {self.epoch}: no better for {waited} epochs, rate now {rates[-1]:.2g}.")


class TensorBoard(Callback):
    """Write losses, learning rates and validation scores as TensorBoard reads them.

    Args:
        folder: `tensorboard --logdir` of all runs; this one gets a folder in it.
        run: Name of the run.
    """

    order = 62

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder / run

    def before_fit(self) -> None:
        """Open the event file; what a run that died wrote beyond its checkpoint does not count."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and seldom used

        done = self.learn.first_epoch * len(self.dls.train)
        self.writer = SummaryWriter(self.folder, purge_step=done)

    def before_epoch(self) -> None:
        """Remember the rates that the epoch starts with."""
        self._rates = learning_rates(self.opt)

    def after_epoch(self) -> None:
        """Write the epoch; its scores stand at its last step."""
        losses = torch.stack(self.learn.step_losses.losses).cpu()
        first = self.epoch * len(losses)
        for step, loss in enumerate(losses.tolist(), start=first):
            self.writer.add_scalar("train/loss", loss, step)
        last = first + len(losses) - 1
        for number, rate in enumerate(self._rates):
            self.writer.add_scalar(f"learning_rate/group_{number}", rate, last)
        for name, score in self.learn.scorer.scores.items():
            self.writer.add_scalar(f"validation/{name}", score, last)
        self.writer.flush()

    def after_fit(self) -> None:
        """Close the event file."""
        self.writer.close()


class TimeBudget(Callback):
    """End training when its time is used up; score the test patients on the way.

    After one half, three quarters and all of the time, at the end of the epoch in which it passes,
    the test patients are scored and `_test` gets a row per phase. Epochs count with their
    validation, tests do not; what a resumed run spent before counts.
    """

    order = 61.5  # When the epoch is logged and its weights are kept, before the checkpoint.
    phases = (0.5, 0.75, 1.0)

    def __init__(self, minutes: float, logs: RunLogs, first_epoch: int) -> None:
        self.seconds, self.logs = 60 * minutes, logs
        self.table = logs.before_epoch("test", first_epoch)

    def after_epoch(self) -> None:
        """Score the phases that have passed, and stop after the last."""
        elapsed = self.learn.write_logs.tables["runtime"].runtime.sum()
        passed = [phase for phase in self.phases if elapsed >= phase * self.seconds]
        if due := passed[len(self.table) :]:
            self._score_test(due, elapsed)
        if elapsed >= self.seconds:
            raise CancelFitException

    def _score_test(self, phases: list[float], elapsed: float) -> None:
        with self.learn.validation_context(inner=True):
            self.learn._do_epoch_validate(dl=self.dls.test)
        scores = self.learn.scorer.log_row("test")
        first = ("epoch", "test_phase", "test_loss", "test_accuracy", "time_elapsed")
        columns = dict.fromkeys(first) | scores
        columns |= {"epoch": self.epoch, "test_phase": phases, "time_elapsed": elapsed}
        self.table = pd.concat([self.table, pd.DataFrame(columns)], ignore_index=True)
        self.logs.write("test", self.table)
