"""Classifiers trained as the notebooks do it: scores, logs, resuming, sampling, time budgets."""

import numpy as np
import pandas as pd
import pytest
import torch
from doubles import DieAfter
from fastai.callback.core import Callback
from torch import nn

from liverutils.errors import BadInput
from liverutils.models import build_model
from liverutils.prediction import score_test, slice_table
from liverutils.prediction.classes import patient_table
from liverutils.runs import RunLogs, read_record, read_run
from liverutils.runs.logs import find_runs
from liverutils.scoring import SLICE_CLASSES, score_auc, score_classes
from liverutils.slices import Augment, slice_loaders, split_patients
from liverutils.training import callbacks, classification_learner, train

EPOCHS = 3
SELECTION = {"val": ["selection_score"], "test": []}
CLASSES = list(SLICE_CLASSES)


def make_learner(store, *, lr=1e-3, sampling="natural", class_weights="none"):
    split = split_patients(store.slices, seed=0)
    dls = slice_loaders(
        store, split, batch_size=16, target="label", sampling=sampling, augment=Augment()
    )
    torch.manual_seed(0)
    model = build_model("AlexNet", hidden=16)
    return classification_learner(dls, model, lr=lr, class_weights=class_weights)


@pytest.fixture(scope="module")
def finished(smoke_store, tmp_path_factory):
    """A run of three epochs, scored on the held-out patients."""
    logs = RunLogs(tmp_path_factory.mktemp("logs"), "AlexNet")
    learn = make_learner(smoke_store)
    train(learn, EPOCHS, logs=logs)
    patients = score_test(learn, smoke_store, logs)
    return learn, logs, patients


def test_logs_are_those_of_the_design(finished):
    learn, logs, patients = finished
    assert list(find_runs(logs.folder)) == ["AlexNet"]
    tables = read_run(logs.folder, "AlexNet")
    assert list(tables["train"].columns) == ["epoch", "step", "loss"]
    for part in ("val", "test"):
        columns = ["loss", "accuracy", "balanced_accuracy", "majority_balanced_accuracy"]
        columns = [f"{part}_{name}" for name in [*columns, "auc_lesion", "ece"]]
        assert list(tables[part].columns) == ["epoch", *columns, *SELECTION[part]]
    assert list(tables["per_class_accuracy"].columns) == ["epoch", *CLASSES]
    assert tables["per_class_accuracy"].epoch.tolist() == [0, 1, 2]
    assert list(tables["confusion"].columns) == ["epoch", "true", *CLASSES]
    assert tables["confusion"].true.tolist() == CLASSES * EPOCHS
    assert (tables["confusion"].groupby("epoch")[CLASSES].sum().sum(axis=1) == 15).all()
    pd.testing.assert_frame_equal(tables["patients"], patients, check_dtype=False)
    assert set(patients.patient) == set(learn.dls.facts["split"]["test"])
    assert not logs.checkpoint.exists()


def test_epoch_scores_are_those_of_its_confusion(finished):
    _, logs, _ = finished
    tables = read_run(logs.folder, "AlexNet")
    for epoch, rows in tables["confusion"].groupby("epoch"):
        counts = rows[CLASSES].to_numpy()
        accuracy = np.diag(counts) / counts.sum(1)
        logged = tables["per_class_accuracy"].set_index("epoch").loc[epoch]
        assert logged.to_numpy() == pytest.approx(accuracy, nan_ok=True)
        val = tables["val"].set_index("epoch").loc[epoch]
        assert val.val_accuracy == pytest.approx(np.trace(counts) / counts.sum())
        assert val.val_balanced_accuracy == pytest.approx(np.nanmean(accuracy))
        assert val.selection_score == val.val_balanced_accuracy
        assert val.val_majority_balanced_accuracy == 1 / (counts.sum(1) > 0).sum()


def test_best_epoch_is_chosen_on_validation(finished):
    learn, logs, _ = finished
    val = read_run(logs.folder, "AlexNet")["val"]
    best = val[val.val_balanced_accuracy == val.val_balanced_accuracy.max()]
    assert learn.best_epoch == int(best.val_loss.idxmin())


def test_held_out_scores_follow_from_the_slices(finished):
    learn, logs, patients = finished
    tables = read_run(logs.folder, "AlexNet")
    slices, test = tables["slices"], tables["test"].iloc[0]
    probabilities = slices[CLASSES].to_numpy()
    assert slices.true.tolist() == learn.dls.test.dataset.slices.label.tolist()
    assert test.test_accuracy == pytest.approx((slices.predicted == slices.true).mean())
    assert test.test_auc_lesion == pytest.approx(score_auc(slices.true, probabilities)["auc"][2])
    scores = score_classes(slices.true.to_numpy(), probabilities)
    assert test.test_ece == pytest.approx(scores["ece"], abs=1e-5)
    assert test.epoch == learn.best_epoch
    record = read_record(logs.folder, "AlexNet")
    assert record.scores["test"]["test_loss"] == pytest.approx(test.test_loss)
    assert patients.slices.sum() == len(slices)


def test_patient_table_counts_each_patient_apart():
    slices = pd.DataFrame({
        "patient": ["b", "b", "b", "a"],
        "true": [0, 2, 2, 1],
        "predicted": [0, 2, 1, 0],
        "liver with lesion": [0.1, 0.9, 0.3, 0.2],
    })  # fmt: skip
    table = patient_table(slices).set_index("patient")
    assert table.accuracy.to_dict() == {"b": pytest.approx(2 / 3), "a": 0}
    assert table.loc["b", ["accuracy_class_0", "accuracy_class_2"]].tolist() == [1, 0.5]
    assert np.isnan(table.loc["b", "accuracy_class_1"])
    assert table.has_lesion.to_dict() == {"b": True, "a": False}
    assert table.lesion_probability.to_dict() == {"b": 0.9, "a": 0.2}


def test_a_resumed_run_equals_an_uninterrupted_one(finished, smoke_store, tmp_path):
    _, whole, patients = finished
    logs = RunLogs(tmp_path, "AlexNet")
    learn = make_learner(smoke_store)
    with pytest.raises(KeyboardInterrupt), learn.added_cbs([DieAfter(1)]):
        train(learn, EPOCHS, logs=logs)
    resumed = make_learner(smoke_store)
    train(resumed, EPOCHS, logs=logs)
    again = score_test(resumed, smoke_store, logs)
    pd.testing.assert_frame_equal(again, patients)
    tables, expected = read_run(tmp_path, "AlexNet"), read_run(whole.folder, "AlexNet")
    for kind in ("train", "val", "test", "confusion", "per_class_accuracy", "slices"):
        pd.testing.assert_frame_equal(tables[kind], expected[kind])


def test_validation_and_test_never_see_augmentation(finished):
    learn, _, _ = finished
    assert learn.dls.train.dataset.augment is not None
    for loader in (learn.dls.valid, learn.dls.test):
        first, second = ([images for images, _ in loader] for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        rows = loader.dataset.rows
        shown = torch.cat(first)[:, 0]
        raw = loader.dataset.images[rows].float()
        inside = (raw > -100) & (raw < 240)
        assert torch.allclose(shown[inside], (raw[inside] - 70) / 170, atol=1e-6)


def test_nothing_to_tell_apart_is_said(smoke_store):
    split = split_patients(smoke_store.slices, seed=0)
    dls = slice_loaders(smoke_store, split, batch_size=16, target="label")
    dls.train.dataset.labels[:] = 1
    with pytest.raises(BadInput, match="slices of the training patients are of class 'liver'"):
        classification_learner(dls, build_model("ResNet18"))


def test_unknown_choices_are_said(smoke_store):
    with pytest.raises(BadInput, match="class_weights is 'heavy'"):
        make_learner(smoke_store, class_weights="heavy")
    with pytest.raises(BadInput, match="sampling is 'fair'"):
        make_learner(smoke_store, sampling="fair")


def test_balanced_sampling_draws_the_classes_alike_and_only_in_training(smoke_store):
    learn = make_learner(smoke_store, sampling="balanced")
    torch.manual_seed(0)
    labels = torch.cat(
        [learn.dls.train.dataset.labels[learn.dls.train.get_idxs()] for _ in range(50)]
    )
    share = torch.bincount(labels) / len(labels)
    assert share.tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    assert learn.dls.valid.get_idxs().tolist() == list(range(len(learn.dls.valid.dataset)))
    assert learn.dls.facts["sampling"] == "balanced"


def test_balanced_weights_make_the_classes_weigh_alike(smoke_store):
    learn = make_learner(smoke_store, class_weights="balanced")
    slices = torch.bincount(learn.dls.train.dataset.labels)
    weights = learn.loss_func.weight
    assert (weights * slices).tolist() == pytest.approx([float(slices.sum()) / 3] * 3)


def test_a_validation_loss_that_is_not_finite_stops_the_run(smoke_store, tmp_path):
    learn = make_learner(smoke_store)

    class Poison(Callback):
        def before_validate(self):
            nn.init.constant_(self.model.features[0].weight, float("nan"))

    said = pytest.raises(FloatingPointError, match="validation loss is nan in epoch 0")
    with said, learn.added_cbs([Poison()]):
        train(learn, 1, logs=RunLogs(tmp_path, "AlexNet"))


class Clock:
    """A clock that ticks one second with each look at it."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1
        return self.now


@pytest.fixture
def seconds_per_epoch(monkeypatch):
    """Have every epoch take one second: the log's clock is looked at when it starts and ends."""
    monkeypatch.setattr(callbacks, "time", Clock())
    return 1


def test_a_time_budget_scores_the_test_on_the_way(smoke_store, tmp_path, seconds_per_epoch):
    logs = RunLogs(tmp_path, "fixed")
    learn = make_learner(smoke_store)
    train(learn, 2, logs=logs, minutes=7.5 / 60)
    score_test(learn, smoke_store, logs)
    tables = read_run(tmp_path, "fixed")
    test = tables["test"]
    first = ["epoch", "test_phase", "test_loss", "test_accuracy", "time_elapsed"]
    assert list(test.columns)[:5] == first
    assert test.test_phase.tolist() == [0.5, 0.75, 1.0]
    assert test.time_elapsed.tolist() == [4, 6, 8]
    assert test.epoch.tolist() == [3, 5, 7]
    assert len(tables["val"]) == 8  # the budget, not `epochs`, ends the run
    assert learn.opt.hypers[0]["lr"] == learn.lr
    assert "constant" in tables["hyperparams"].optimizer[0]


def test_phases_that_pass_in_one_epoch_are_scored_in_it(smoke_store, tmp_path, seconds_per_epoch):
    logs = RunLogs(tmp_path, "short")
    train(make_learner(smoke_store), 2, logs=logs, minutes=0.5 / 60)
    test = read_run(tmp_path, "short")["test"]
    assert test.test_phase.tolist() == [0.5, 0.75, 1.0]
    assert test.epoch.tolist() == [0, 0, 0]


def test_a_resumed_budget_counts_what_was_spent(smoke_store, tmp_path, seconds_per_epoch):
    tables = {}
    for name, dies in (("whole", []), ("resumed", [DieAfter(2)])):
        logs = RunLogs(tmp_path, name)
        learn = make_learner(smoke_store)
        if dies:
            with pytest.raises(KeyboardInterrupt), learn.added_cbs(dies):
                train(learn, 2, logs=logs, minutes=4 / 60)
            learn = make_learner(smoke_store)
        train(learn, 2, logs=logs, minutes=4 / 60)
        tables[name] = read_run(tmp_path, name)
    for kind in ("train", "val", "test"):
        pd.testing.assert_frame_equal(tables["resumed"][kind], tables["whole"][kind])


def test_slices_are_classified_in_their_order(finished):
    learn, _, _ = finished
    test = learn.dls.test.dataset
    table = slice_table(learn, test)
    assert table["index"].tolist() == test.slices["index"].tolist()
    one = slice_table(learn, test.of_volume(test.slices.volume.iloc[-1]))
    same = table[table.volume == one.volume[0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, same, atol=1e-5)
