"""Two tasks on three views: the network, its loss, its scores, and views put together again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from doubles import DieAfter
from torch import nn

from liverutils.errors import BadInput
from liverutils.models import TwoTasks, build_model, load_weights, save_weights
from liverutils.prediction import predict_views, score_detection, score_test
from liverutils.prediction.views import fill_gaps, fuse_views
from liverutils.runs import RunLogs, read_run
from liverutils.scans import VIEW_AXES, take_plane
from liverutils.scoring import score_images, score_volume
from liverutils.slices import (
    Augment,
    SliceStore,
    build_store,
    join_views,
    slice_loaders,
    split_patients,
)
from liverutils.sources import find_cases
from liverutils.training import multitask_learner, train
from liverutils.training.scorers import tumor_aucs

EPOCHS = 2


@pytest.fixture(scope="module")
def stores(smoke_raw, smoke_store) -> list[SliceStore]:
    """The smallest cohort in three views."""
    cases = find_cases("phantom-smoke", smoke_raw)
    others = [
        build_store(cases, smoke_raw.parent / f"{view}-64", view=view, size=64, progress=False)
        for view in ("coronal", "sagittal")
    ]
    return [smoke_store, *others]


@pytest.fixture(scope="module")
def joined(stores, tmp_path_factory) -> SliceStore:
    return join_views(stores, tmp_path_factory.mktemp("joined") / "views", every=4)


def make_learner(store):
    split = split_patients(store.slices, seed=0)
    dls = slice_loaders(store, split, batch_size=16, target="both", augment=Augment())
    torch.manual_seed(0)
    return multitask_learner(dls, build_model("MultiView", width=4), lr=3e-3)


@pytest.fixture(scope="module")
def finished(joined, tmp_path_factory):
    """A run of two epochs, scored on the held-out patients."""
    logs = RunLogs(tmp_path_factory.mktemp("logs"), "MultiView")
    learn = make_learner(joined)
    train(learn, EPOCHS, logs=logs)
    return learn, logs, score_test(learn, joined, logs)


# --- Network and loss -------------------------------------------------------------------------


def test_the_network_draws_and_tells(tmp_path):
    model = build_model("MultiView", in_channels=3, classes=3, width=4, depth=3)
    logits, tumor_logits = model(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 3, 32, 32) and tumor_logits.shape == (2,)
    save_weights(model, tmp_path / "m.safetensors", {})
    again, _ = load_weights(tmp_path / "m.safetensors")
    x = torch.randn(2, 3, 32, 32)
    for output, expected in zip(again(x), model.eval()(x), strict=True):
        assert torch.equal(output, expected)


def test_dropout_acts_in_training_only():
    model, x = build_model("MultiView", width=4, dropout=0.5), torch.randn(4, 1, 32, 32)
    assert not torch.equal(model(x)[1], model(x)[1])
    model.eval()
    assert torch.equal(model(x)[1], model(x)[1])


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_loss_of_two_tasks_is_their_weighted_sum(weight):
    # An undecided network: ln 3 for each pixel, ln 2 for each slice.
    outputs = torch.zeros(4, 3, 8, 8), torch.zeros(4)
    targets = torch.zeros(4, 8, 8, dtype=torch.int64), torch.tensor([0, 1, 2, 2])
    loss = TwoTasks(nn.CrossEntropyLoss(), weight)(outputs, targets)
    assert loss.item() == pytest.approx(np.log(3) + weight * np.log(2), rel=1e-6)


def test_only_lesions_count_as_tumour_for_the_loss():
    sure = torch.tensor([-20.0, -20.0, 20.0])
    outputs = torch.zeros(3, 3, 4, 4), sure
    masks = torch.zeros(3, 4, 4, dtype=torch.int64)
    right = TwoTasks(nn.CrossEntropyLoss(), 1.0)(outputs, (masks, torch.tensor([0, 1, 2])))
    wrong = TwoTasks(nn.CrossEntropyLoss(), 1.0)(outputs, (masks, torch.tensor([0, 2, 1])))
    assert right.item() == pytest.approx(np.log(3), abs=1e-6)
    assert wrong.item() == pytest.approx(np.log(3) + 40 / 3, abs=1e-4)


# --- Scores of single pictures ----------------------------------------------------------------


def test_scores_of_pictures():
    masks = torch.zeros(3, 4, 4, dtype=torch.int64)
    masks[0, :2], masks[1, :1] = 1, 2
    logits = torch.zeros(3, 3, 4, 4)
    logits[:, 0] = 10
    logits[0, :, 0] = torch.tensor([0.0, 10.0, 0.0])[:, None]  # half of the liver is found
    scores = {name: values.tolist() for name, values in score_images(logits, masks).items()}
    assert scores["liver_iou"] == [0.5, 0, 1]
    assert scores["tumor_iou"] == [1, 0, 1]
    assert scores["tumor_peak"] == pytest.approx([1 / (2 + np.exp(10))] * 3)
    assert scores["confidence"] == pytest.approx([1 / (1 + 2 * np.exp(-10))] * 3)


def test_a_patient_is_as_suspicious_as_its_worst_slice():
    images = pd.DataFrame(
        {
            "patient": ["ill", "ill", "ill", "well", "well"],
            "label": [0, 1, 2, 1, 1],
            "tumor_probability": [0.6, 0.2, 0.7, 0.65, 0.1],
        }
    )
    aucs = tumor_aucs(images)
    assert aucs == {"tumor_auc_per_slice": 1.0, "tumor_auc_per_patient": 1.0}
    images.loc[2, "tumor_probability"] = 0.3
    assert tumor_aucs(images) == {"tumor_auc_per_slice": 0.5, "tumor_auc_per_patient": 0.0}
    assert np.isnan(tumor_aucs(images[:3])["tumor_auc_per_patient"])


def test_detection_is_told_by_slice_and_by_patient():
    images = pd.DataFrame(
        {
            "patient": [f"{i}" for i in range(8) for _ in range(4)],
            "view": ["axial", "axial", "coronal", "coronal"] * 8,
            "label": [1, 2, 1, 2] * 4 + [1, 1, 1, 1] * 4,
            "tumor_probability": [0.1, 0.9, 0.9, 0.1] * 4 + [0.2, 0.2, 0.2, 0.2] * 4,
        }
    )
    table = score_detection(images)
    assert table.auc.to_dict() == {
        "slice, axial": 1.0,
        "slice, coronal": 0.0,
        "slice, all views": 0.5,
        "patient": 1.0,
    }
    assert table.loc["patient", ["cases", "with_tumor", "low", "high"]].tolist() == [8, 4, 1, 1]
    alone = score_detection(images[images.patient == "0"])
    assert np.isnan(alone.auc["patient"]) and alone.auc["slice, axial"] == 1


def test_every_slice_of_a_validation_is_scored(finished):
    learn, _, _ = finished
    learn.validate(dl=learn.dls.test)
    images = learn.scorer.images
    assert len(images) == len(learn.dls.test.dataset)
    assert images.tumor_probability.between(0, 1).all()
    assert learn.scorer.scores["liver_iou_per_image"] == pytest.approx(images.liver_iou.mean())


# --- Views as one set -------------------------------------------------------------------------


def test_joined_views_are_the_slices_of_all(stores, joined):
    assert joined.slices.view.value_counts()["axial"] == len(stores[0])
    for store in stores:
        view = store.info.view
        of_view = joined.slices.view == view
        kept = joined.slices[of_view]["index"].to_numpy()
        if view != "axial":
            assert (kept % 4 == 2).all()
        rows = np.flatnonzero(store.slices["index"].isin(kept))
        assert np.array_equal(joined.images[of_view], store.images[rows])
        assert np.array_equal(joined.masks[of_view], store.masks[rows])


def test_a_joined_store_is_made_once_and_again_for_other_slices(stores, tmp_path):
    first = join_views(stores, tmp_path / "views", every=4)
    made = (tmp_path / "views" / "store.json").stat().st_mtime_ns
    join_views(stores, tmp_path / "views", every=4)
    assert (tmp_path / "views" / "store.json").stat().st_mtime_ns == made
    assert len(join_views(stores, tmp_path / "views", every=8)) < len(first)


def test_a_view_twice_cannot_be_joined(stores, tmp_path):
    with pytest.raises(BadInput, match="axial, axial"):
        join_views([stores[0], stores[0]], tmp_path / "views")


def test_no_patient_is_on_both_sides(joined):
    dls = make_learner(joined).dls
    train_slices, valid, test = (part.dataset.slices for part in dls)
    assert set(train_slices.view) == {"axial", "coronal", "sagittal"}
    assert not set(train_slices.patient) & (set(valid.patient) | set(test.patient))


# --- Views as one volume ----------------------------------------------------------------------


def cut(probabilities: torch.Tensor, view: str) -> list[torch.Tensor]:
    """The planes of a volume of probabilities (3, X, Y, Z) along a view's axis."""
    return list(probabilities.unbind(VIEW_AXES[view] + 1))


def test_identical_views_give_the_same_labels():
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(3, 6, 7, 8, generator=generator).softmax(0)
    labels = fuse_views({view: cut(volume, view) for view in VIEW_AXES}, (6, 7, 8))
    assert set(labels) == {*VIEW_AXES, "fused"}
    assert len(np.unique(labels["fused"])) == 3
    for of_view in labels.values():
        assert np.array_equal(of_view, volume.argmax(0).numpy())


def test_two_views_outvote_one_by_their_probabilities():
    def constant(*probabilities):
        return torch.tensor(probabilities).view(3, 1, 1, 1).expand(3, 2, 2, 2)

    sure, doubtful = constant(0.0, 0.1, 0.9), constant(0.6, 0.4, 0.0)
    planes = {"axial": cut(sure, "axial"), "coronal": cut(doubtful, "coronal")}
    labels = fuse_views(planes, (2, 2, 2))
    assert (labels["axial"] == 2).all() and (labels["coronal"] == 0).all()
    assert (labels["fused"] == 2).all()


def test_gaps_between_planes_are_filled_linearly():
    known = [(1, torch.tensor(0.0)), (3, torch.tensor(1.0)), (4, torch.tensor(0.0))]
    assert [float(plane) for plane in fill_gaps(known, 6)] == [0, 0, 0.5, 1, 0, 0]


class Oracle(nn.Module):
    """Answers each slice with its true mask, which is handed in as the picture."""

    def forward(self, images):
        wanted = (images[:, 0] * 1.5 + 1.5).round().long().clamp(max=2)
        return nn.functional.one_hot(wanted, 3).movedim(-1, 1) * 20.0, torch.zeros(len(images))


def test_a_scan_cut_in_three_views_and_put_back_is_the_scan(stores, tmp_path):
    store = join_views(stores, tmp_path / "views", every=2)
    store = replace(store, images=store.masks.astype(np.int16))
    split = split_patients(store.slices, seed=0)
    dls = slice_loaders(store, split, batch_size=16, target="both", window=(0, 3))
    learn = multitask_learner(dls, Oracle())
    slices = dls.test.dataset.of_volume(dls.test.dataset.slices.volume[0])
    labels = predict_views(learn, store, slices)
    true = store.true_mask(slices.slices.volume[0])
    for predicted in labels.values():
        assert score_volume(predicted > 0, true > 0, None)["dice"] > 0.9
    middle = true.shape[1] // 2
    fused = take_plane(labels["fused"], "coronal", middle) > 0
    assert (fused == (take_plane(true, "coronal", middle) > 0)).mean() > 0.97


# --- A run ------------------------------------------------------------------------------------


def test_a_run_logs_both_tasks(finished, joined):
    learn, logs, views = finished
    tables = read_run(logs.folder, "MultiView")
    logged = {"dice_avg_class_1", "liver_iou_per_image", "confidence_per_image"}
    logged |= {"tumor_auc_per_slice", "tumor_auc_per_patient"}
    assert logged <= set(tables["val"]) and logged <= set(tables["test"])
    assert tables["val"].confidence_per_image.between(1 / 3, 1).all()
    fused = views[views["view"] == "fused"].reset_index(drop=True)
    assert fused.liver_dice.tolist() == pytest.approx(tables["patients"].liver_dice.tolist())
    assert set(views["view"]) == {"axial", "coronal", "sagittal", "fused"}
    assert set(views.patient) == set(learn.dls.facts["split"]["test"])


def test_a_resumed_run_equals_an_uninterrupted_one(finished, joined, tmp_path):
    logs = RunLogs(tmp_path, "MultiView")
    learn = make_learner(joined)
    with pytest.raises(KeyboardInterrupt), learn.added_cbs(DieAfter(0)):
        train(learn, EPOCHS, logs=logs)
    learn = make_learner(joined)
    train(learn, EPOCHS, logs=logs)
    whole = finished[0].model.state_dict()
    for name, weight in learn.model.state_dict().items():
        assert torch.equal(weight, whole[name]), name
