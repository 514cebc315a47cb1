"""Logs of others read, and runs compared only where that means something."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import wilcoxon

from liverutils.errors import BadInput
from liverutils.figures import contact_sheet, contact_sheets
from liverutils.files import write_json
from liverutils.models import build_model, save_weights
from liverutils.runs import (
    LoggedRun,
    RunLogs,
    RunRecord,
    compare_pair,
    compare_runs,
    holm,
    load_runs,
    paired_scores,
    read_record,
    read_run,
    run_table,
    score_table,
)
from liverutils.runs.compare import check_comparable
from liverutils.runs.logged import gather
from liverutils.runs.logs import find_runs
from liverutils.scoring import score_patient


@pytest.fixture
def foreign_logs(tmp_path):
    """A folder of logs as earlier projects left them."""
    write = {
        "ResNet18_train.csv": "epoch,step,loss\n0,0,3\n0,1,1\n1,0,0.5\n1,1,0.25\n",
        "ResNet18_val.csv": "epoch, val_loss, lr\n0, 0.9, 1e-3\n1, 1.1, 1e-4\n",
        "ResNet18_test.csv": "epoch,test_loss,test_accuracy\n0,0.8,0.5\n1,1.2,0.6\n",
        "ResNet18_runtime.csv": "epoch,runtime\n0,30\n1,60\n",
        "ResNet18_hyperparams.csv": "0.001,0.001,16,2\n",
        "ResNet18_per_class_accuracy.csv": "epoch,no liver,liver\n0,0.5,0.5\n",
        "init/ResNet18_init_hyperparams.csv": "batch_size,optimizer\n16,Adam\n",
        "init/ResNet18_init_val.csv": "epoch,val_loss\n0,0.7\n",
        "seed1/UNet_test.csv": "epoch,dice_avg_class_1\n0,0.8\n",
        "seed2/UNet_test.csv": "epoch,dice_avg_class_1\n0,0.9\n",
        "notes.csv": "what,ever\n1,2\n",
        "_val.csv": "epoch,val_loss\n0,1\n",
    }
    for name, text in write.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_runs_are_found_in_nested_folders(foreign_logs):
    assert list(find_runs(foreign_logs)) == [
        "ResNet18",
        "ResNet18_init",
        "seed1/UNet",
        "seed2/UNet",
    ]


def test_a_run_may_have_a_folder_of_its_own(tmp_path):
    """In the course's layout, beside the flat one, with two runs of one name in two folders."""
    for name in ("UNet/UNet", "AlexNet", "a/MultiView", "b/MultiView/MultiView"):
        path = tmp_path / f"{name}_val.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"epoch,val_loss\n0,{len(name)}\n")
    runs = load_runs(tmp_path)
    assert list(runs) == ["AlexNet", "UNet", "a/MultiView", "b/MultiView"]
    losses = {name: run.tables["val"].val_loss.item() for name, run in runs.items()}
    assert losses == {"AlexNet": 7, "UNet": 9, "a/MultiView": 11, "b/MultiView": 21}
    for name in ("UNet", "AlexNet"):
        assert read_run(tmp_path, name)["val"].val_loss.item() == losses[name]


def test_the_same_run_in_both_layouts_is_read_twice(tmp_path):
    logs = RunLogs(tmp_path, "UNet")
    logs.write("val", pd.DataFrame({"epoch": [0], "val_loss": [1.0]}))
    (tmp_path / "UNet_val.csv").write_text("epoch,val_loss\n0,2\n")
    runs = load_runs(tmp_path)
    assert {name: run.tables["val"].val_loss.item() for name, run in runs.items()} == {
        "UNet": 2,
        "UNet/UNet": 1,
    }
    assert read_run(tmp_path, "UNet")["val"].val_loss.item() == 1


def test_a_run_writes_all_it_has_into_its_own_folder(tmp_path):
    logs = RunLogs(tmp_path, "UNet")
    logs.write("val", pd.DataFrame({"epoch": [0], "val_loss": [1.0]}))
    logs.write_run(RunRecord(best_epoch=3))
    assert sorted(path.name for path in (tmp_path / "UNet").iterdir()) == [
        "UNet_run.json",
        "UNet_val.csv",
    ]
    assert {logs.weights.parent, logs.checkpoint.parent} == {tmp_path / "UNet"}
    assert read_record(tmp_path, "UNet").best_epoch == 3


@pytest.mark.parametrize(("scores", "expected"), [("0.5\n0.7\n", 0.7), ("0.6\n", 0.6)])
def test_a_test_table_may_lack_its_epochs(tmp_path, scores, expected):
    (tmp_path / "UNet_val.csv").write_text("epoch,val_loss\n0,2\n1,1\n")
    (tmp_path / "UNet_test.csv").write_text(f"dice_avg_class_1\n{scores}")
    row = run_table(load_runs(tmp_path)).iloc[0]
    assert row["test_dice_avg_class_1"] == expected


def test_a_test_table_of_unknown_epochs_is_named(tmp_path):
    (tmp_path / "UNet_val.csv").write_text("epoch,val_loss\n0,2\n1,1\n2,1\n")
    (tmp_path / "UNet_test.csv").write_text("dice_avg_class_1\n0.5\n0.7\n")
    with pytest.raises(BadInput, match="UNet_test.csv has no column epoch"):
        run_table(load_runs(tmp_path))


INSIDE = {
    "scores": [{"val": 5}, {"val": {"loss": "low"}}, {"val": None, "test": [1]}],
    "split": [{"test": 5}, {"test": "anna"}],
    "cost": [{"parameters": "many"}, {"gflops": [1]}],
    "files": [{"UNet_val.csv": 5}],
    "data": [{"source": 5}, {"fingerprint": ["a"]}],
    "best_epoch": [True, "3", 1.5],
}


@pytest.mark.parametrize(("part", "value"), [(p, v) for p, vs in INSIDE.items() for v in vs])
def test_a_record_that_is_damaged_inside_ends_in_a_sentence(tmp_path, part, value):
    (tmp_path / "UNet_val.csv").write_text("epoch,val_loss\n0,1\n")
    (tmp_path / "UNet_run.json").write_text(json.dumps({"run_name": "UNet", part: value}))
    with pytest.raises(BadInput, match=f"UNet_run.json holds .* as {part}") as refused:
        run_table(load_runs(tmp_path))
    assert refused.value.fault == "broken_log"


def test_files_of_another_run_are_named(tmp_path):
    """The weights, best and last, and the gallery are of the run that run.json tells of."""
    write_json(tmp_path / "logs" / "UNet" / "UNet_run.json", {"run_id": "mine"})
    (tmp_path / "logs" / "UNet" / "UNet_val.csv").write_text("epoch,val_loss\n0,1\n")
    panel = np.zeros((8, 8), np.uint8)
    for run_id, is_named in (("mine", False), ("other", True), (None, True)):
        for which in ("", "_last"):
            path = tmp_path / "logs" / "UNet" / f"UNet{which}.safetensors"
            save_weights(build_model("UNet", width=2), path, {"run_id": run_id})
        (tmp_path / "gallery" / "UNet").mkdir(parents=True, exist_ok=True)
        Image.fromarray(panel).save(tmp_path / "gallery" / "UNet" / "anna_3.png")
        contact_sheet(tmp_path / "gallery", "UNet", run_id=run_id)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            load_runs(tmp_path / "logs")
            sheets = contact_sheets(tmp_path / "gallery", tmp_path / "logs")
        named = " ".join(str(warning.message) for warning in said)
        assert list(sheets) == ([] if is_named else ["UNet"])
        for file in ("UNet.safetensors", "UNet_last.safetensors", "contact_sheet.png"):
            assert (file in named) == is_named


def test_missing_files_are_left_out(foreign_logs):
    runs = load_runs(foreign_logs)
    assert set(runs["ResNet18_init"].tables) == {"hyperparams", "val"}
    assert runs["ResNet18_init"].record == RunRecord()
    assert runs["seed2/UNet"].tables["test"]["dice_avg_class_1"].tolist() == [0.9]


def test_hyperparameters_may_lack_their_header(foreign_logs):
    first = read_run(foreign_logs, "ResNet18")["hyperparams"].iloc[0].to_dict()
    assert first == {"learning_rate": 0.001, "weight_decay": 0.001, "batch_size": 16, "epochs": 2}
    other = read_run(foreign_logs / "init", "ResNet18_init")["hyperparams"].iloc[0]
    assert (other["batch_size"], other["optimizer"]) == (16, "Adam")


def test_tables_of_runs_are_put_together(foreign_logs):
    together = gather(load_runs(foreign_logs), "val")
    assert together["run"].tolist() == ["ResNet18", "ResNet18", "ResNet18_init"]
    assert together["val_loss"].tolist() == [0.9, 1.1, 0.7]
    assert together["lr"].isna().tolist() == [False, False, True]
    assert gather(load_runs(foreign_logs), "patients").empty


def test_a_row_per_run_at_its_best_epoch(foreign_logs):
    table = run_table(load_runs(foreign_logs)).set_index("run")
    resnet = table.loc["ResNet18"]
    assert (resnet["epochs"], resnet["minutes"]) == (2, 1.5)
    assert (resnet["train_loss"], resnet["val_loss"], resnet["test_loss"]) == (2, 0.9, 0.8)
    assert table.loc["seed1/UNet", "test_dice_avg_class_1"] == 0.8
    assert np.isnan(table.loc["ResNet18_init", "minutes"])


def test_the_epoch_whose_weights_were_kept_counts(foreign_logs):
    (foreign_logs / "ResNet18_run.json").write_text('{"best_epoch": 1}')
    resnet = run_table(load_runs(foreign_logs)).set_index("run").loc["ResNet18"]
    assert (resnet["train_loss"], resnet["val_loss"], resnet["test_loss"]) == (0.375, 1.1, 1.2)


def test_a_single_run_is_enough(tmp_path):
    (tmp_path / "UNet_val.csv").write_text("epoch,val_loss\n")
    runs = load_runs(tmp_path)
    assert run_table(runs)["epochs"].tolist() == [0]


def test_a_record_comes_back_from_its_file(tmp_path):
    record = RunRecord(model={"name": "UNet"}, split={"test": ["a"]}, best_epoch=0)
    RunLogs(tmp_path, "UNet").write_run(record)
    read = read_record(tmp_path, "UNet")
    assert (read.run_name, read.best_epoch, read.held_out) == ("UNet", 0, {"a"})
    assert read.model == record.model and read.machine["cores"] and read.cost == {}


def test_the_reference_runs_have_records_without_an_unknown_part():
    runs = load_runs(Path(__file__).parents[1] / "logs")
    records = [run.record for run in runs.values() if run.record != RunRecord()]
    assert records and all(record.source and record.held_out for record in records)
    for stem in find_runs(Path(__file__).parents[1] / "logs").values():
        if (path := stem.with_name(f"{stem.name}_run.json")).exists():
            assert RunRecord.read(path).as_json == json.loads(path.read_text())


def test_facts_of_a_run(tmp_path):
    (tmp_path / "UNet_run.json").write_text('{"data": {"fingerprint": "abc"}}')
    assert load_runs(tmp_path)["UNet"].record.fingerprint == "abc"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("UNet_val.csv", ""),
        ("UNet_run.json", "{"),
        ("UNet_run.json", "[1]"),
        ("UNet_run.json", '{"data": [1]}'),
    ],
)
def test_a_broken_log_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=name):
        load_runs(tmp_path)


def test_a_table_without_epochs_is_named(tmp_path):
    (tmp_path / "UNet_val.csv").write_text("loss\n1\n")
    with pytest.raises(BadInput, match="UNet_val.csv has no column epoch"):
        run_table(load_runs(tmp_path))


@pytest.mark.parametrize("folder", ["", "missing"])
def test_a_folder_without_logs_is_refused(tmp_path, folder):
    with pytest.raises(BadInput, match="No logs in"):
        load_runs(tmp_path / folder)


def test_no_facts_are_no_error(tmp_path):
    assert read_record(tmp_path, "UNet") == RunRecord()


# Comparisons


def run_of(name, scores, patients=None, fingerprint="abc", held_out=None):
    patients = [f"p{i}" for i in range(len(scores))] if patients is None else patients
    table = pd.DataFrame({"patient": patients, "liver_dice": scores})
    split = {"test": patients if held_out is None else held_out}
    record = RunRecord(data={"fingerprint": fingerprint}, split=split)
    return LoggedRun(name, {"patients": table}, record)


def scores_of(seed, n=20, gain=0.0):
    """Scores of patients of very different difficulty, and a run better by `gain` on each."""
    difficulty = np.random.default_rng(0).uniform(0.2, 0.9, n)
    return difficulty + gain + np.random.default_rng(seed).normal(0, 0.01, n)


def test_a_small_gain_on_every_patient_is_seen():
    runs = {"A": run_of("A", scores_of(1, gain=0.03)), "B": run_of("B", scores_of(2))}
    row = compare_runs(runs).iloc[0]
    assert (row["run"], row["other"], row["patients"]) == ("A", "B", 20)
    assert row["low"] < 0.03 < row["high"]
    assert row["low"] > 0
    assert row["p"] < 0.001
    assert row["p"] == row["p_holm"] == wilcoxon(scores_of(1, gain=0.03), scores_of(2)).pvalue
    # Unpaired, the difficulty of patients would drown it.
    assert np.std(scores_of(1)) / np.sqrt(20) > 0.03


def test_patients_are_matched_by_name_not_by_row():
    a = run_of("A", [0.1, 0.5, 0.9], ["x", "y", "z"])
    b = run_of("B", [0.9, 0.1, 0.5], ["z", "x", "y"])
    row = compare_runs({"A": a, "B": b}).iloc[0]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)


def test_more_comparisons_need_more_evidence():
    runs = {name: run_of(name, scores_of(i, gain=0.005 * i)) for i, name in enumerate("ABC")}
    pairs = compare_runs(runs)
    assert list(zip(pairs["run"], pairs["other"], strict=True)) == [
        ("A", "B"),
        ("A", "C"),
        ("B", "C"),
    ]
    assert (pairs["p_holm"] >= pairs["p"]).all()
    assert pairs["p_holm"].min() == pytest.approx(3 * pairs["p"].min())
    against = compare_runs(runs, baseline="A")
    assert list(zip(against["run"], against["other"], strict=True)) == [("B", "A"), ("C", "A")]
    assert against["p_holm"].min() == pytest.approx(2 * against["p"].min())


def test_holm_by_hand():
    assert holm(np.array([0.04, 0.01, 0.03, 0.5])) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = [rng.normal(0.1, 0.2, 40) for _ in range(200)]
    pairs = [compare_pair(draw, np.zeros(40)) for draw in draws]
    covered = np.mean([pair["low"] <= 0.1 <= pair["high"] for pair in pairs])
    assert 0.89 <= covered <= 0.99


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (run_of("B", [0.1, 0.2], ["p0", "p9"]), "different_patients"),
        (run_of("B", [0.1], ["p0"]), "different_patients"),
        (run_of("B", [0.1, 0.2], held_out=["p0", "p1", "p2"]), "different_patients"),
        (run_of("B", [0.1, 0.2], fingerprint="xyz"), "different_data"),
        (run_of("B", [0.1, 0.2], fingerprint=None), "different_data"),
        (run_of("B", [0.1, 0.2], ["p0", "p0"]), "no_patients"),
        (LoggedRun("B", {}), "no_patients"),
        (LoggedRun("B", {"patients": pd.DataFrame({"case": ["p0"]})}), "no_patients"),
    ],
)
def test_runs_that_cannot_be_compared(other, fault):
    runs = {"A": run_of("A", [0.1, 0.2]), "B": other}
    for compare in (check_comparable, compare_runs):
        with pytest.raises(BadInput) as error:
            compare(runs)
        assert error.value.fault == fault


@pytest.mark.parametrize("options", [{}, {"baseline": "B"}])
def test_one_run_alone_has_nothing_to_compare(options):
    with pytest.raises(BadInput, match="Nothing to compare"):
        compare_runs({"A": run_of("A", [0.1, 0.2])}, **options)


def test_no_runs_are_refused():
    with pytest.raises(BadInput, match="No run"):
        check_comparable({})


def test_infinite_distances_are_not_averaged_away():
    runs = {"A": run_of("A", [1.0, np.inf]), "B": run_of("B", [1.0, 2.0])}
    with pytest.raises(BadInput, match="for 1 of 2 patients"):
        paired_scores(runs, "liver_dice")
    with pytest.raises(BadInput, match="no column tumor_dice"):
        paired_scores(runs, "tumor_dice")


def test_scores_of_logged_runs(tmp_path):
    masks = np.random.default_rng(0).integers(0, 3, (4, 6, 6, 6), np.uint8)
    for run, predicted in (("Good", masks), ("Poor", masks[:, ::-1])):
        rows = [
            {"patient": f"p{i}", **score_patient(predicted[i], masks[i], None)} for i in range(4)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"{run}_patients.csv", index=False)
        facts = {"data": {"fingerprint": "abc"}, "split": {"test": ["p0", "p1", "p2", "p3"]}}
        (tmp_path / f"{run}_run.json").write_text(json.dumps(facts))
    (tmp_path / "Alien_val.csv").write_text("epoch,val_loss\n0,1\n")
    table = score_table(load_runs(tmp_path)).set_index(["run", "structure", "score"])
    assert table.loc[("Good", "tumor", "dice"), "mean"] == 1
    assert table.loc[("Poor", "tumor", "dice"), "mean"] < 1
    assert table.loc[("Poor", "tumor", "hd95_mm"), "unknown"] == 4


def test_damaged_logs_end_in_a_sentence(tmp_path):
    home = tmp_path / "UNet"
    home.mkdir()
    tables = {
        "val": "epoch,val_loss,val_accuracy\n0,0.7,0.5\n1,0.5,0.8\n",
        "train": "epoch,step,loss\n0,0,1.5\n0,1,1.25\n",
        "runtime": "epoch,runtime\n0,3.5\n1,3.25\n",
        "hyperparams": "0.001,0,16,2\n",
        "patients": "patient,liver_dice\na,0.9\nb,0.8\n",
    }
    facts = {"data": {"source": "lits"}, "split": {"test": ["a", "b"]}, "best_epoch": 1}
    files = {home / f"UNet_{kind}.csv": text.encode() for kind, text in tables.items()}
    files[home / "UNet_run.json"] = json.dumps(facts).encode()
    for path, content in files.items():
        path.write_bytes(content)
    draw, refused = np.random.default_rng(0), 0
    for path, whole in list(files.items()) * 25:
        damaged = bytearray(whole)
        for place in draw.integers(0, len(damaged), draw.integers(1, 6)):
            damaged[place] = draw.integers(0, 256)
        path.write_bytes(damaged)
        try:
            run_table(load_runs(tmp_path))
        except BadInput as error:
            assert "\n" not in str(error)
            refused += 1
        path.write_bytes(whole)
    assert refused > 30
    assert len(run_table(load_runs(tmp_path))) == 1


def test_the_courses_reference_is_read():
    runs = load_runs(Path(__file__).parent.parent / "logs")
    assert runs["UNet"].tables["hyperparams"].loss.item() == "dice_cross_entropy"
    assert {"UNet", "AlexNet", "MultiView", "ResUNet_tumor"} <= runs.keys()
