"""Training as the notebooks do it: logs, resuming, NaN, settings, and the held-out patients."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from doubles import DieAfter
from fastai.callback.core import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from liverutils.errors import BadInput
from liverutils.figures import draw_gallery
from liverutils.locks import held_alone
from liverutils.models import Settings, build_model, load_weights
from liverutils.models.resnet_segmentation import encoder_and_head
from liverutils.prediction import score_test
from liverutils.prediction.held_out import predict_volume
from liverutils.runs import RunLogs, read_record, read_run
from liverutils.scoring import PatientCounts
from liverutils.slices import Augment, slice_loaders, split_patients
from liverutils.training import choose_device, segmentation_learner, train, use_settings
from liverutils.training.precision import try_settings
from liverutils.training.scorers import PatientScores

EPOCHS = 3


def make_learner(store, *, lr=1e-3, seed=0, width=8):
    split = split_patients(store.slices, seed=0)
    dls = slice_loaders(store, split, batch_size=16, augment=Augment())
    torch.manual_seed(seed)
    return segmentation_learner(dls, build_model("UNet", width=width), lr=lr, seed=seed)


@pytest.fixture(scope="module")
def finished(smoke_store, tmp_path_factory):
    """A run of three epochs, scored on the held-out patients."""
    logs = RunLogs(tmp_path_factory.mktemp("logs"), "UNet")
    learn = make_learner(smoke_store)
    train(learn, EPOCHS, logs=logs)
    patients = score_test(learn, smoke_store, logs)
    return learn, logs, patients


def test_logs_are_those_of_the_design(finished):
    learn, logs, _ = finished
    tables = read_run(logs.folder, "UNet")
    assert list(tables["train"].columns) == ["epoch", "step", "loss"]
    assert tables["train"].epoch.tolist() == np.repeat(range(3), len(learn.dls.train)).tolist()
    assert tables["train"].step.is_monotonic_increasing
    scores = [
        f"{score}_avg_class_{c}"
        for c in range(3)
        for score in ("dice", "iou", "precision", "recall")
    ]
    for part in ("val", "test"):
        columns = list(tables[part].columns)
        assert columns[0] == "epoch"
        assert set(columns[1:13]) == set(scores)
        rest = ["dice_present_class_1", "dice_present_class_2", f"{part}_loss", f"{part}_accuracy"]
        assert columns[13:] == rest + ["selection_score"] * (part == "val")
    assert tables["val"].epoch.tolist() == [0, 1, 2]
    assert list(tables["runtime"].columns) == ["epoch", "runtime"]
    first = ["learning_rate", "weight_decay", "batch_size", "epochs"]
    assert list(tables["hyperparams"].columns)[:4] == first
    assert set(tables["patients"].patient) == set(learn.dls.facts["split"]["test"])


def test_run_json_says_what_the_run_was(finished, smoke_store):
    learn, logs, _ = finished
    record = read_record(logs.folder, "UNet")
    assert record.data["fingerprint"] == smoke_store.info.fingerprint
    assert set(record.split) == {"train", "valid", "test"}
    assert record.model == {"name": "UNet", "width": 8}
    assert record.training["learning_rate"] == 1e-3
    assert record.machine["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record.cost["parameters"] == sum(p.numel() for p in learn.model.parameters())
    assert min(record.cost.values()) > 0
    assert set(record.scores) == {"train", "val", "test"}
    kept = read_run(logs.folder, "UNet")["val"].set_index("epoch").loc[learn.best_epoch]
    kept = kept.drop("selection_score").to_dict()
    assert record.scores["val"] == pytest.approx(kept, abs=5e-3)  # half precision
    assert record.best_epoch == learn.best_epoch
    assert record.wall_time_s > 0 and record.peak_memory_mb["process"] > 0


def test_a_finished_run_leaves_weights_and_no_checkpoint(finished):
    learn, logs, _ = finished
    assert not logs.checkpoint.exists()
    model, facts = load_weights(logs.weights)
    assert facts["epoch"] == learn.best_epoch
    for name, weight in learn.model.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])


def test_best_epoch_is_chosen_on_validation(finished):
    learn, logs, _ = finished
    val = read_run(logs.folder, "UNet")["val"]
    score = (val.dice_present_class_1 + val.dice_present_class_2) / 2
    assert val.selection_score.tolist() == pytest.approx(score.tolist())
    assert learn.best_epoch == int(val[score == score.max()].val_loss.idxmin())


def scores_of(predicted, true, patients):
    """What the scorer says of label maps: `predicted` and `true` (B, H, W), `patients` (B,)."""
    counts = PatientCounts(int(patients.max()) + 1)
    counts.add(predicted, true, patients)
    scorer = PatientScores()
    scorer._counts, scorer._losses = counts, [torch.tensor(float(len(true)))]
    scorer.learn = SimpleNamespace(dl=SimpleNamespace(dataset=true))
    scorer.after_validate()
    return scorer


def test_an_empty_answer_earns_nothing_and_a_patient_s_slices_are_pooled():
    true = torch.ones(4, 4, 4, dtype=torch.long)
    true[0, 0, 0], true[1, :2] = 2, 2  # patient 0: 1 and 8 pixels of tumour; patient 1: none
    patients = torch.tensor([0, 0, 1, 1])
    nothing = scores_of(true.clamp(max=1), true, patients)
    assert nothing.scores["dice_avg_class_2"] == 0.5  # the rule for empty masks
    assert nothing.scores["dice_present_class_2"] == 0
    assert nothing.selection_score == 0.5  # the liver's
    found = true.clone()
    found[0, 0, 0], found[3, 0] = 1, 2  # one pixel missed, four drawn in the other patient
    half = scores_of(found, true, patients)
    assert half.scores["dice_avg_class_2"] == pytest.approx(16 / 17 / 2)
    assert half.scores["dice_present_class_2"] == pytest.approx(16 / 17)
    assert half.selection_score > nothing.selection_score


def test_what_no_validation_patient_has_does_not_choose():
    true = torch.ones(2, 4, 4, dtype=torch.long)
    true[:, 0] = 0
    scorer = scores_of(true, true, torch.tensor([0, 1]))
    assert np.isnan(scorer.scores["dice_present_class_2"])
    assert scorer.selection_score == 1
    empty = torch.zeros_like(true)
    assert scores_of(empty, empty, torch.tensor([0, 1])).selection_score == 0


def test_of_equal_scores_the_lower_loss_is_kept(smoke_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(PatientScores, "selection_score", 0.5)
    learn, logs = make_learner(smoke_store), RunLogs(tmp_path, "UNet")
    train(learn, EPOCHS, logs=logs, keep_last=True)
    val = read_run(tmp_path, "UNet")["val"]
    assert learn.best_epoch == int(val.val_loss.idxmin())
    assert f"Kept: epoch {learn.best_epoch} of 0 to 2, with 0.500" in capsys.readouterr().out
    last, facts = load_weights(logs.weights.with_stem("UNet_last"))
    assert facts["run_name"] == "UNet_last"
    best, _ = load_weights(logs.weights)
    same = [torch.equal(a, b) for a, b in zip(last.parameters(), best.parameters(), strict=True)]
    assert all(same) == (learn.best_epoch == EPOCHS - 1)


def test_held_out_scores_are_those_of_the_predicted_volumes(finished, smoke_store):
    learn, _, patients = finished
    row = patients.iloc[0]
    slices = learn.dls.test.dataset.of_volume(row.volume)
    predicted = predict_volume(learn, smoke_store, slices) > 0
    true = smoke_store.true_mask(row.volume) > 0
    assert predicted.shape == true.shape
    dice = 2 * (predicted & true).sum() / (predicted.sum() + true.sum())
    assert row.liver_dice == pytest.approx(dice)


def test_gallery_has_a_panel_per_held_out_patient_and_a_sheet(finished, tmp_path):
    learn, _, patients = finished
    sheet = Path(draw_gallery(learn, tmp_path, "UNet").filename)
    panels = list((tmp_path / "UNet").glob("phantom-*.png"))
    assert len(panels) == len(patients)
    assert sheet.is_file()


def test_a_resumed_run_equals_an_uninterrupted_one(finished, smoke_store, tmp_path):
    _, whole, patients = finished
    logs = RunLogs(tmp_path, "UNet")
    learn = make_learner(smoke_store)
    with pytest.raises(KeyboardInterrupt), learn.added_cbs([DieAfter(1)]):
        train(learn, EPOCHS, logs=logs)
    assert logs.checkpoint.exists()
    resumed = make_learner(smoke_store)
    train(resumed, EPOCHS, logs=logs)
    tables, expected = read_run(tmp_path, "UNet"), read_run(whole.folder, "UNet")
    pd.testing.assert_frame_equal(tables["train"], expected["train"])
    pd.testing.assert_frame_equal(tables["val"], expected["val"])
    again = score_test(resumed, smoke_store, logs)
    pd.testing.assert_frame_equal(again, patients)


def test_a_run_that_died_while_it_was_scored_resumes_there(smoke_store, tmp_path, capsys):
    logs = RunLogs(tmp_path, "UNet")
    train(make_learner(smoke_store), 1, logs=logs)  # and then the power failed
    trained, run_id = logs.path("train").read_bytes(), logs.run_id
    learn, logs = make_learner(smoke_store), RunLogs(tmp_path, "UNet")
    train(learn, 1, logs=logs)
    assert "All was trained, up to epoch 0" in capsys.readouterr().out
    assert (logs.path("train").read_bytes(), logs.run_id) == (trained, run_id)
    score_test(learn, smoke_store, logs)
    assert not logs.checkpoint.exists()
    record = read_record(tmp_path, "UNet")
    assert record.run_id == load_weights(logs.weights)[1]["run_id"] == run_id
    assert set(record.files) == {path.name for path in logs.home.glob("*.csv")}

    lesions = logs.path("lesions").read_text()
    logs.path("lesions").write_text(lesions + "someone-else,0,1\n")
    with pytest.warns(UserWarning, match="UNet_lesions.csv is left out: it is not the file"):
        assert "lesions" not in read_run(tmp_path, "UNet")
    logs.path("lesions").write_text(lesions.replace("\n", "\r\n"))  # as git may
    assert "lesions" in read_run(tmp_path, "UNet")

    logs = RunLogs(tmp_path, "UNet")  # Begun anew with other parameters, and killed.
    learn = make_learner(smoke_store, lr=3e-3)
    with pytest.raises(KeyboardInterrupt), learn.added_cbs([DieAfter(0)]):
        train(learn, 2, logs=logs)
    assert logs.run_id != run_id
    assert set(read_run(tmp_path, "UNet")) == {"hyperparams", "train", "val", "runtime"}
    assert read_record(tmp_path, "UNet").run_id == load_weights(logs.weights)[1]["run_id"]

    logs.checkpoint.write_bytes(logs.checkpoint.read_bytes()[:-200])
    with pytest.raises(BadInput, match="Delete it, and the run begins anew") as caught:
        train(make_learner(smoke_store, lr=3e-3), 2, logs=RunLogs(tmp_path, "UNet"))
    assert caught.value.fault == "broken_checkpoint"


def test_two_trainings_of_one_name_and_no_epochs_are_said(smoke_store, tmp_path):
    logs = RunLogs(tmp_path, "UNet")
    learn = make_learner(smoke_store)
    with held_alone(logs.home / "training", "held"), pytest.raises(BadInput) as caught:
        train(learn, 1, logs=logs)
    assert caught.value.fault == "in_use"
    with pytest.raises(BadInput, match="at least 1"):
        train(learn, 0, logs=logs)


def test_tables_that_others_wrote_are_not_overwritten(smoke_store, tmp_path):
    logs = RunLogs(tmp_path, "UNet")
    logs.write("val", pd.DataFrame({"epoch": [0], "val_loss": [1.0]}))
    with pytest.raises(BadInput, match="was not written by this course") as caught:
        train(make_learner(smoke_store), 1, logs=logs)
    assert caught.value.fault == "folder_in_use"
    assert logs.path("val").is_file()


@pytest.mark.parametrize("name", ["../evil", "/evil", "", ".hid", "a/b", "a\\b", 5, "a\nb", None])
def test_a_run_s_name_names_no_other_folder(tmp_path, name):
    with pytest.raises(BadInput) as caught:
        RunLogs(tmp_path, name)
    assert caught.value.fault == "bad_run_name"


class PoisonValidation(Callback):
    """Put a NaN into the second validation."""

    def before_batch(self):
        if not self.training and self.epoch == 1:
            self.learn.xb = (self.x * float("nan"),)


def test_a_loss_of_nan_in_validation_stops_the_run_with_the_batch_named(smoke_store, tmp_path):
    learn, logs = make_learner(smoke_store), RunLogs(tmp_path, "UNet")
    with learn.added_cbs([PoisonValidation()]), pytest.raises(FloatingPointError) as caught:
        train(learn, 3, logs=logs)
    assert "validation loss is nan in epoch 1, batch 0 (slices 003[" in str(caught.value)
    assert read_run(tmp_path, "UNet")["val"].epoch.tolist() == [0]


def test_a_checkpoint_of_other_parameters_is_not_used(smoke_store, tmp_path, capsys):
    logs = RunLogs(tmp_path, "UNet")
    learn = make_learner(smoke_store)
    with pytest.raises(KeyboardInterrupt), learn.added_cbs([DieAfter(0)]):
        train(learn, 2, logs=logs)
    train(make_learner(smoke_store, lr=3e-3), 2, logs=logs)
    assert "starting anew" in capsys.readouterr().out
    assert read_run(tmp_path, "UNet")["val"].epoch.tolist() == [0, 1]


def test_without_resume_a_run_starts_anew(smoke_store, tmp_path, capsys):
    logs = RunLogs(tmp_path, "UNet")
    learn = make_learner(smoke_store)
    with pytest.raises(KeyboardInterrupt), learn.added_cbs([DieAfter(0)]):
        train(learn, 2, logs=logs)
    train(make_learner(smoke_store), 2, logs=logs, resume=False)
    assert "Resuming" not in capsys.readouterr().out


SCRIPT = """
import sys
from pathlib import Path
from liverutils.slices.store import SliceStore
from liverutils.training.loop import train
from liverutils.runs.logs import RunLogs
sys.path.insert(0, sys.argv[3])
from test_learners import make_learner
train(make_learner(SliceStore.open(sys.argv[1])), 200, logs=RunLogs(sys.argv[2], "UNet"))
"""


def test_kill_leaves_whole_files_and_the_run_resumes(smoke_store, tmp_path, capsys):
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(smoke_store.folder), str(tmp_path), here],
        stdout=subprocess.DEVNULL,
    )
    logs = RunLogs(tmp_path, "UNet")
    deadline = time.monotonic() + 120
    while not logs.checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    state = torch.load(logs.checkpoint, weights_only=True)
    assert state["epochs_done"] >= 1
    load_weights(logs.weights)
    logged = read_run(tmp_path, "UNet")["val"].epoch.tolist()
    assert logged == list(range(len(logged)))
    learn = make_learner(smoke_store)
    with pytest.raises(KeyboardInterrupt), learn.added_cbs([DieAfter(state["epochs_done"])]):
        train(learn, 200, logs=logs)
    assert f"Resuming after epoch {state['epochs_done'] - 1}." in capsys.readouterr().out
    done = read_run(tmp_path, "UNet")["val"].epoch.tolist()
    assert done == list(range(state["epochs_done"] + 1))


class PoisonBatch(Callback):
    """Put a NaN into one batch."""

    def before_batch(self):
        if self.training and self.epoch == 1 and self.iter == 1:
            self.learn.xb = (self.x * float("nan"),)


def test_nan_stops_the_run_and_names_the_batch(smoke_store, tmp_path):
    logs = RunLogs(tmp_path, "UNet")
    learn = make_learner(smoke_store)
    with (
        pytest.raises(FloatingPointError, match=r"epoch 1, batch 1 \(slices .*\d\[\d+\]"),
        learn.added_cbs([PoisonBatch()]),
    ):
        train(learn, EPOCHS, logs=logs)
    weights, facts = load_weights(logs.weights)
    assert facts["epoch"] == 0
    assert all(torch.isfinite(w).all() for w in weights.state_dict().values())


def test_patience_stops_a_run_that_no_longer_improves(smoke_store, tmp_path):
    learn = make_learner(smoke_store, lr=1e-12)
    logs = RunLogs(tmp_path, "UNet")
    train(learn, 10, logs=logs, patience=2)
    epochs_done = len(read_run(tmp_path, "UNet")["val"])
    assert epochs_done < 10
    assert epochs_done == learn.best_epoch + 3


def resnet_learner(store, lr=1e-3):
    dls = slice_loaders(store, split_patients(store.slices, seed=0), batch_size=16)
    torch.manual_seed(0)
    model = build_model("ResNet_segmentation", head_width=8)
    return segmentation_learner(dls, model, lr=lr, splitter=encoder_and_head)


class RatesSeen(Callback):
    """Keep the learning rates of each epoch's start."""

    def __init__(self):
        self.rates = {}

    def before_train(self):
        self.rates[self.epoch] = [group["lr"] for group in self.opt.hypers]


def test_frozen_encoder_keeps_its_kernels_and_the_head_learns(smoke_store):
    learn = resnet_learner(smoke_store)
    learn.freeze()
    kernels = learn.model.stages[2][0].conv1.weight.detach().clone()
    head = learn.model.head[0].weight.detach().clone()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert torch.equal(learn.model.stages[2][0].conv1.weight, kernels)
    assert not torch.equal(learn.model.head[0].weight, head)
    learn.unfreeze()
    assert all(p.requires_grad for p in learn.model.parameters())


def test_parameter_groups_have_rates_in_equal_ratios(smoke_store, tmp_path):
    learn, seen = resnet_learner(smoke_store), RatesSeen()
    logs = RunLogs(tmp_path, "ResNet_segmentation")
    with learn.added_cbs(seen):
        train(learn, 1, logs=logs, encoder_lr=1e-5, reduce_on_plateau=9)
    assert seen.rates[0] == pytest.approx([1e-5, 1e-4, 1e-3])
    assert read_record(tmp_path, "ResNet_segmentation").training["encoder_lr"] == 1e-5


@pytest.mark.parametrize("deaths", [[], [2, 3]])
def test_rate_falls_on_the_plateau_and_a_resumed_run_knows_it(
    smoke_store, tmp_path, monkeypatch, deaths
):
    falling = property(lambda scorer: 0.5 - 0.01 * scorer.epoch)
    monkeypatch.setattr(PatientScores, "selection_score", falling)
    logs, seen = RunLogs(tmp_path, "UNet"), RatesSeen()
    for epoch in deaths:
        learn = make_learner(smoke_store)
        with pytest.raises(KeyboardInterrupt), learn.added_cbs([seen, DieAfter(epoch)]):
            train(learn, 6, logs=logs, reduce_on_plateau=2)
    learn = make_learner(smoke_store)
    with learn.added_cbs(seen):
        train(learn, 6, logs=logs, reduce_on_plateau=2)
    rates = [seen.rates[epoch][0] for epoch in range(6)]
    assert rates == pytest.approx([1e-3] * 3 + [1e-3 / 3] * 2 + [1e-3 / 9])


def test_tensorboard_reads_what_the_logs_say(smoke_store, tmp_path):
    logs = RunLogs(tmp_path / "logs", "UNet")
    with pytest.raises(KeyboardInterrupt):
        learn = make_learner(smoke_store)
        with learn.added_cbs(DieAfter(1)):
            train(learn, EPOCHS, logs=logs, tensorboard_dir=tmp_path)
    train(make_learner(smoke_store), EPOCHS, logs=logs, tensorboard_dir=tmp_path)
    events = EventAccumulator(str(tmp_path / "UNet")).Reload()
    tables = read_run(logs.folder, "UNet")
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == tables["train"].step.tolist()
    assert [event.value for event in losses] == pytest.approx(tables["train"].loss.tolist())
    dice = [event.value for event in events.Scalars("validation/dice_avg_class_1")]
    assert dice == pytest.approx(tables["val"].dice_avg_class_1.tolist())
    assert len(events.Scalars("learning_rate/group_0")) == EPOCHS


def test_every_setting_trains_and_gives_nearly_the_same_loss(smoke_store, tmp_path):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        for channels_last in (False, True):
            learn = make_learner(smoke_store)
            use_settings(learn, Settings(dtype, channels_last))
            logs = RunLogs(tmp_path / f"{dtype}{channels_last}", "UNet")
            train(learn, 1, logs=logs)
            losses[dtype, channels_last] = read_run(logs.folder, "UNet")["train"].loss
    for loss in losses.values():
        assert np.allclose(loss, losses["float32", False], atol=0.02)


def test_trial_leaves_the_model_alone(smoke_store):
    learn = make_learner(smoke_store)
    before = {name: w.clone() for name, w in learn.model.state_dict().items()}
    images, masks = next(iter(learn.dls.train))
    table = try_settings(learn.model, learn.loss_func, images[:4], masks[:4])
    assert set(table.dtype) == {"float32", "bfloat16"}
    assert (table.images_per_second > 0).all()
    assert all(torch.equal(w, before[name]) for name, w in learn.model.state_dict().items())


def test_settings_replace_each_other(smoke_store):
    learn = make_learner(smoke_store)
    for settings in (Settings("bfloat16", True), Settings("float32", False)):
        use_settings(learn, settings)
    names = [type(cb).__name__ for cb in learn.cbs]
    assert names.count("MemoryFormat") == 1
    assert "BFloat16" not in names


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(BadInput, match="no GPU"):
        choose_device("cuda")


def test_the_record_is_json(finished):
    _, logs, _ = finished
    json.loads((logs.home / "UNet_run.json").read_text())
