"""Figures over several runs, and the notebook that draws them of anyone's logs."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

from liverutils.course import results, show_runs
from liverutils.figures import network_of, pareto_front, plot_bars, plot_epochs, plot_tradeoff
from liverutils.figures.runs import confusion_of
from liverutils.runs import (
    LoggedRun,
    RunRecord,
    comparable_groups,
    kept_epoch,
    load_runs,
    read_catalogue,
    run_table,
)
from liverutils.scoring import SLICE_CLASSES, score_patient

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "41_performance_comparison.ipynb"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def run_of(name, **tables):
    record = RunRecord.of(tables.pop("record", {}))
    return LoggedRun(name, {kind: pd.DataFrame(table) for kind, table in tables.items()}, record)


# Runs


def test_a_run_has_what_it_logged():
    run = run_of("A", val={"epoch": [0]}, test={"epoch": []}, record={"cost": {"parameters": 7}})
    assert run.has("val") and run.has("val.epoch", "cost.parameters")
    assert not run.has("val.val_loss")
    assert not run.has("test")
    assert not run.has("val.epoch", "cost.gflops")
    assert not run.has("scores")


def test_what_a_run_cost_and_scored_stands_in_its_row():
    facts = {
        "data": {"source": "phantom"},
        "best_epoch": 1,
        "cost": {"parameters": 7},
        "scores": {"train": {"train_loss": 0.2, "iou_avg_class_1": 0.9}},
    }
    run = run_of("A", train={"epoch": [0, 1], "step": [0, 1], "loss": [1.0, 0.5]}, record=facts)
    row = run_table({"A": run}).iloc[0]
    assert (row["data"], row["parameters"]) == ("phantom", 7)
    assert (row["train_loss"], row["train_iou_avg_class_1"]) == (0.2, 0.9)


def test_the_kept_epoch_is_an_epoch_not_a_row():
    run = run_of("A", val={"epoch": [5, 6, 7], "val_loss": [3.0, 1.0, 2.0]})
    assert kept_epoch(run) == 6


def test_runs_of_the_same_patients_and_data_form_a_group():
    def scored(name, patients, fingerprint="x"):
        facts = {"data": {"fingerprint": fingerprint}}
        return run_of(name, patients={"patient": patients}, record=facts)

    runs = {
        "Other": scored("Other", ["p", "q"], "y"),
        "A": scored("A", ["p", "q"]),
        "B": scored("B", ["q", "p"]),
        "Few": scored("Few", ["p"]),
        "Twice": scored("Twice", ["p", "p"]),
        "None": run_of("None"),
    }
    assert [list(group) for group in comparable_groups(runs)] == [["A", "B"], ["Other"], ["Few"]]


# Figures


def test_a_run_belongs_to_its_network():
    runs = ("ResNet18", "ResNet18_init", "seed1/ResNet18_lre3")
    assert {network_of(run) for run in runs} == {"ResNet18"}


def test_runs_of_one_network_share_their_colour_only():
    val = {"epoch": [0, 1], "val_loss": [2.0, 1.0]}
    runs = {name: run_of(name, val=val) for name in ("A", "A_init", "B")}
    lines = plot_epochs(runs, {"val_loss": "loss"}).axes[0].lines
    colours = [tuple(line.get_color()) for line in lines]
    assert colours[0] == colours[1] != colours[2]
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-"]
    assert lines[0].get_xdata().tolist() == [1, 2]


def test_one_loss_that_ran_away_does_not_flatten_the_others():
    val = {"epoch": [0, 1, 2], "val_loss": [2.0, 1.0, 0.5]}
    far = {"epoch": [0, 1, 2], "val_loss": [30.0, 80.0, 1.0]}
    runs = {"A": run_of("A", val=val), "B": run_of("B", val=val)}
    assert plot_epochs(runs, {"val_loss": "loss"}).axes[0].get_yscale() == "linear"
    runs["C"] = run_of("C", val=far)
    assert plot_epochs(runs, {"val_loss": "loss"}).axes[0].get_yscale() == "log"


def test_bars_say_their_values():
    table = pd.DataFrame({"test": [0.5, np.nan]}, index=["A", "B"])
    (ax,) = plot_bars(table, "accuracy").axes
    assert [text.get_text() for text in ax.texts] == ["0.5", ""]
    assert ax.get_xlim() == (0, 1)


def test_the_confusion_is_that_of_the_kept_epoch():
    rows = [{"epoch": epoch, "true": name} for epoch in (0, 1) for name in reversed(SLICE_CLASSES)]
    table = pd.DataFrame(rows).assign(**dict.fromkeys(SLICE_CLASSES, 0), extra=1)
    table.loc[(table.epoch == 0) & (table.true == "liver"), "no liver"] = 4
    kept = LoggedRun("A", {"confusion": table}, RunRecord(best_epoch=0))
    assert confusion_of(kept)[1].tolist() == [4, 0, 0]
    assert confusion_of(LoggedRun("A", {"confusion": table})).sum() == 0


def test_the_front_holds_what_none_beats():
    table = pd.DataFrame(
        {"run": list("CABDE"), "ms": [6, 2, 5, 20, 5], "dice": [0.6, 0.5, 0.62, 0.63, np.nan]}
    )
    assert pareto_front(table, "ms", "dice")["run"].tolist() == ["A", "B", "D"]
    figure = plot_tradeoff(table, {"ms": "ms"}, "dice", "Dice")
    assert {text.get_text() for text in figure.axes[0].texts} == set("ABCDE")


def test_missing_runs_are_named_with_the_command_that_makes_them(monkeypatch):
    shown = []
    monkeypatch.setattr(results, "display", lambda it: shown.append(getattr(it, "data", it)))
    val = {"epoch": [0], "val_loss": [1.0]}
    runs = {"b/A": run_of("b/A", val=val), "a/A": run_of("a/A", val=val), "B": run_of("B")}
    show_runs(list, runs, ["C", "A", "B"], "val.val_loss")
    assert shown == ['*Not in these logs:* `make run RUNS="C B"`', ["b/A", "a/A"]]
    show_runs(list, runs, ["A"], at_least=3)
    assert len(shown) == 2


# The notebook, on logs that the project did not write


def patients(shift):
    masks = np.random.default_rng(0).integers(0, 3, (5, 6, 6, 6), np.uint8)
    rows = [
        {"patient": f"p{i}", "age": 60} | score_patient(np.roll(mask, shift, i % 3), mask, None)
        for i, mask in enumerate(masks)
    ]
    return pd.DataFrame(rows)


def write_foreign_logs(folder):
    """Sub-folders, missing files, extra columns, a hyper-parameter file without its header."""
    texts = {
        "ResNet18_train.csv": "epoch,step,loss,lr\n0,0,3,1\n0,1,1,1\n1,0,0.5,1\n",
        "ResNet18_val.csv": "epoch, val_loss, val_accuracy, f1\n0, 0.9, 0.5, 0\n1, 1.1, 0.6, 0\n",
        "ResNet18_test.csv": "epoch,test_loss,test_accuracy\n0,0.8,0.5\n1,1.2,0.6\n",
        "ResNet18_confusion.csv": "epoch,a,b\n0,1,2\n",
        "deep/ResNet50_val.csv": "epoch,val_loss\n0,0.7\n",
        "deep/ResNet152_per_class_accuracy.csv": "epoch,no liver,liver\n0,0.5,0.5\n",
        "deep/er/AlexNet_lre3_hyperparams.csv": "0.001,0.0,16,2\n",
        "deep/er/AlexNet_lre3_val.csv": "epoch,val_accuracy\n0,0.4\n",
        "DeepLabV3Plus_test.csv": "epoch,test_loss,test_accuracy\n3,0.1,0.9\n",
        "someones_own_net_val.csv": "epoch,val_loss\n0,0.3\n",
        "someones_own_net_run.json": json.dumps({"data": None, "notes": "a run of another kind"}),
        "notes.csv": "what,ever\n1,2\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for number in (1, 2):
        (folder / f"seed{number}").mkdir()
        patients(number).to_csv(folder / f"seed{number}" / "UNet_patients.csv", index=False)


def write_single_run(folder):
    (folder / "UNet_val.csv").write_text("epoch,val_loss,val_accuracy\n0,1,0.5\n1,0.5,0.7\n")
    patients(1).to_csv(folder / "UNet_patients.csv", index=False)


def shown(notebook):
    """What the notebook showed: its texts, and how many figures."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    data = [out.get("data", {}) for out in outputs]
    texts = [out.get("text", "") for out in outputs]
    texts += [each.get("text/markdown", "") + each.get("text/plain", "") for each in data]
    return "\n".join(texts), sum("image/png" in each for each in data)


@pytest.mark.parametrize(
    ("write", "figures", "facts"),
    [
        (
            write_foreign_logs,
            9,
            [
                'make run RUNS="ResNet34 ResNet50 ResNet152"',
                "scored on the same patients: seed1/UNet, seed2/UNet\n",
            ],
        ),
        (
            write_single_run,
            1,
            [
                'make run RUNS="ResNet18 ResNet34 ResNet50 ResNet152"',
                "scored on the same patients: UNet\n",
            ],
        ),
    ],
)
def test_the_comparison_copes_with_logs_of_others(write, figures, facts, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    write(logs)
    done = papermill.execute_notebook(
        str(NOTEBOOK),
        str(tmp_path / "out.ipynb"),
        {"logs_dir": str(logs), "reference_dir": ""},
        kernel_name="python3",
        progress_bar=False,
    )
    text, n_figures = shown(done)
    assert n_figures == figures
    assert [fact for fact in facts if fact not in text] == []
    assert set(load_runs(logs)) <= set(text.split())


def test_every_run_that_the_notebook_asks_for_is_in_the_catalogue():
    cell = next(
        cell.source
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells
        if cell.source.startswith("DEPTHS")
    )
    names = {}
    exec(cell, names)
    wanted = names["CLASSIFIERS"] + names["SEGMENTERS"] + names["RESUNET_SHARES"]
    wanted += [f"{name}_init" for name in names["CLASSIFIERS"]]
    wanted += [
        f"{name}{time}_lre{power}"
        for name in names["TUNED"]
        for time in ("", "_fixed_time")
        for power in (3, 4, 5)
    ]
    assert set(wanted) <= set(read_catalogue(NOTEBOOK.with_name("runs.yaml"), "cpu"))
