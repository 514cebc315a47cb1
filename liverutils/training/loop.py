"""The one way to train a learner."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
from fastai.callback import schedule  # noqa: F401  (gives Learner its fit_one_cycle)
from fastai.callback.core import Callback

from liverutils.errors import BadInput
from liverutils.locks import held_alone
from liverutils.models import load_weights, network_cost, save_weights
from liverutils.runs import RunLogs, RunRecord
from liverutils.slices import SliceLoader
from liverutils.training.callbacks import (
    KeepBest,
    ReduceOnPlateau,
    TensorBoard,
    TimeBudget,
    WriteLogs,
    learning_rates,
)
from liverutils.training.checkpoint import Checkpoint
from liverutils.training.learners import CourseLearner


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
    keep_last: bool = False,
) -> None:
    """Train on a one-cycle schedule, log every epoch, and leave the best epoch's weights in place.

    After each epoch the run's CSVs, its best weights and a checkpoint are written; a run that died
    goes on from the checkpoint, also if it died while it was scored. What scores the test patients
    removes the checkpoint; without `resume` none stays.

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
            `training.TimeBudget`. 0 is no budget.
        keep_last: Write the last epoch's weights too, as `<run>_last` beside the best.

    Raises:
        FloatingPointError: A loss that is not finite; the sentence names the batch.
        BadInput: no_epochs; in_use, another process trains a run of this name here;
            broken_checkpoint; folder_in_use.
    """
    if epochs < 1 and not minutes:
        raise BadInput(f"epochs is {epochs}: train for at least 1.", fault="no_epochs")
    planned = _schedule_facts(encoder_lr, reduce_on_plateau)
    record = planned_record(learn, logs.name, epochs, minutes, planned)
    learn.create_opt()
    learn.opt.set_hyper("lr", slice(encoder_lr, learn.lr) if encoder_lr else learn.lr)
    rates = learning_rates(learn.opt)
    keep_best = KeepBest(logs.weights, record.as_json, patience)
    callbacks: list[Callback] = [keep_best]
    if reduce_on_plateau:
        callbacks.append(ReduceOnPlateau(reduce_on_plateau))
    if tensorboard_dir:
        callbacks.append(TensorBoard(Path(tensorboard_dir), logs.name))
    checkpoint = Checkpoint(logs.checkpoint, record.as_json, sys.maxsize if minutes else epochs)
    busy = (
        f"The run {logs.name} is just being trained in {logs.home}: wait for it, or take another "
        "run_name."
    )
    with held_alone(logs.home / "training", busy):
        with learn.added_cbs([*callbacks, checkpoint]):
            learn.first_epoch = checkpoint.load() if resume else 0
            logs.begin(record, checkpoint.run_id)
            checkpoint.run_id = keep_best.facts["run_id"] = logs.run_id
            logs.write("hyperparams", pd.DataFrame([record.training | asdict(learn.settings)]))
            write_logs = WriteLogs(logs, learn.first_epoch)
            if checkpoint.is_done:
                pass  # It died later, while it was scored.
            elif minutes:
                budget = TimeBudget(minutes, logs, learn.first_epoch)
                with learn.no_bar(), learn.no_logging():  # A bar counts towards a known end.
                    learn.fit(sys.maxsize, rates, cbs=[write_logs, budget])
            elif reduce_on_plateau:
                # At the checkpoint's rates, if there is one.
                learn.fit(epochs, learning_rates(learn.opt), cbs=write_logs)
            else:
                learn.fit_one_cycle(epochs, rates, cbs=write_logs)
            learn.first_epoch = 0
        if keep_last:
            last = logs.weights.with_stem(f"{logs.name}_last")
            named = replace(record, run_name=last.stem, run_id=logs.run_id)
            save_weights(learn.model, last, named.as_json, half=True)
        _finish(learn, logs, record)
        if not resume:
            logs.checkpoint.unlink(missing_ok=True)


def _finish(learn: CourseLearner, logs: RunLogs, record: RunRecord) -> None:
    """Take the best epoch's weights and write what the run was."""
    best, best_facts = load_weights(logs.weights)
    learn.model.load_state_dict(best.state_dict())
    learn.best_epoch = best_facts["epoch"]
    print(
        f"Kept: epoch {learn.best_epoch} of 0 to {learn.epoch}, with "
        f"{best_facts['validation_score']:.3f} ({learn.scorer.selected_by})."
    )
    learn.run_record = replace(
        record,
        run_id=logs.run_id,
        settings=asdict(learn.settings),
        best_epoch=learn.best_epoch,
        cost=_cost(learn, logs),
        scores=_scores_of_kept_epoch(learn),
    )
    logs.write_run(learn.run_record)


def _schedule_facts(encoder_lr: float | None, reduce_on_plateau: int | None) -> dict[str, Any]:
    """What differs from one rate in one cycle, for the logs."""
    facts: dict[str, Any] = {"encoder_lr": encoder_lr} if encoder_lr else {}
    if reduce_on_plateau:
        facts["optimizer"] = f"Adam, reduced after {reduce_on_plateau} epochs without a better one"
    return facts


def _cost(learn: CourseLearner, logs: RunLogs) -> dict[str, float]:
    """What the network costs, and how many training slices passed per second of an epoch."""
    images, _ = next(iter(learn.dls.valid))
    seconds = pd.read_csv(logs.path("runtime")).runtime.median()
    slices = len(learn.dls.train.dataset) + len(learn.dls.valid.dataset)
    measured = network_cost(learn.model, images, learn.settings)
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


def planned_record(
    learn: CourseLearner, name: str, epochs: int, minutes: float, more: dict[str, Any]
) -> RunRecord:
    """What makes this run itself: network, data, split and training."""
    batches = learn.dls.facts
    training = {
        "learning_rate": learn.lr,
        "weight_decay": learn.wd,
        "batch_size": learn.dls.train.bs,
        "epochs": None if minutes else epochs,
        "minutes": minutes or None,
        "optimizer": "Adam, constant learning rate" if minutes else "Adam, one cycle",
    }
    training |= {key: batches[key] for key in batches if key not in ("data", "split")}
    return RunRecord(
        run_name=name,
        model=learn.model.recipe,
        data=batches["data"],
        split=batches["split"],
        training=training | learn.facts | more,
    )
