"""The export to nnU-Net: what stands where, and what nnU-Net itself says where it is installed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from liverutils.cli import main
from liverutils.errors import BadInput
from liverutils.scans import read_nifti_mask
from liverutils.slices import Split, build_store, export_nnunet, split_patients
from liverutils.sources import find_cases

PLANS = Path(__file__).parent.parent / "notebooks" / "nnunet"


@pytest.fixture(scope="module")
def exported(smoke_raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("nnunet") / "raw" / "Dataset502_Smoke"
    arguments = ["export", "nnunet", "phantom-smoke", smoke_raw, "--out", out, "--workers", 1]
    assert main([str(argument) for argument in arguments]) == 0
    return out


def names(folder):
    return sorted(path.name.removesuffix(".nii.gz") for path in folder.iterdir())


def test_scans_lie_where_nnunet_looks_for_them(exported, smoke_raw):
    dataset = json.loads((exported / "dataset.json").read_text())
    (fold,) = json.loads((exported / "splits_final.json").read_text())
    trained = sorted([*fold["train"], *fold["val"]])
    assert names(exported / "labelsTr") == trained and dataset["numTraining"] == len(trained)
    assert names(exported / "imagesTr") == [f"{name}_0000" for name in trained]
    held_out = names(exported / "labelsTs")
    assert names(exported / "imagesTs") == [f"{name}_0000" for name in held_out]
    assert sorted([*trained, *held_out]) == [f"00{number}" for number in range(5)]
    assert dataset["labels"] == {"background": 0, "liver": 1, "tumor": 2}
    assert dataset["channel_names"] == {"0": "CT"} and dataset["licence"]
    name = trained[0]
    ours, affine = read_nifti_mask(exported / "labelsTr" / f"{name}.nii.gz")
    theirs, their_affine = read_nifti_mask(smoke_raw / f"segmentation-{name}.nii.gz")
    assert np.array_equal(ours, theirs) and np.allclose(affine, their_affine)


def test_the_split_is_that_of_the_course(exported, smoke_raw, tmp_path):
    cases = find_cases("phantom-smoke", smoke_raw)
    store = build_store(cases, tmp_path / "store", workers=1, progress=False)
    split = split_patients(store.slices)
    (fold,) = json.loads((exported / "splits_final.json").read_text())
    for part, patients in (("train", split.train), ("val", split.valid)):
        assert [f"phantom-smoke-{name}" for name in fold[part]] == list(patients)


def test_another_split_and_a_scan_without_labels(smoke_raw, tmp_path):
    cases = find_cases("phantom-smoke", smoke_raw)
    cases[1] = replace(cases[1], mask=None)
    patients = [case.patient for case in cases]
    split = Split(tuple(patients[:3]), (patients[3],), (patients[4],))
    out = tmp_path / "Dataset001_x"
    export_nnunet(cases, out, split=split, workers=1, progress=False)
    assert names(out / "labelsTr") == ["000", "002", "003"]
    assert names(out / "imagesTs") == ["001_0000", "004_0000"]
    assert names(out / "labelsTs") == ["004"]
    with pytest.raises(BadInput, match="nothing to train on"):
        unlabelled = [replace(case, mask=None) for case in cases]
        export_nnunet(unlabelled, tmp_path / "Dataset002_x", workers=1, progress=False)
    assert not (tmp_path / "Dataset002_x").exists()


def test_nothing_of_anyones_is_replaced(exported, smoke_raw, tmp_path, capsys):
    def fails(out):
        before = sorted(smoke_raw.iterdir())
        status = main(["export", "nnunet", "phantom-smoke", str(smoke_raw), "--out", str(out)])
        assert status == 1 and sorted(smoke_raw.iterdir()) == before
        return capsys.readouterr().err

    written = {path: path.stat().st_mtime_ns for path in exported.rglob("*")}
    assert "Dataset502_Smoke" in fails(exported)
    assert written == {path: path.stat().st_mtime_ns for path in exported.rglob("*")}
    mine = tmp_path / "Dataset503_Mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("three years")
    assert "something else" in fails(mine)
    assert (mine / "thesis.txt").read_text() == "three years"
    assert "lies in" in fails(smoke_raw / "Dataset504_In")
    assert "DatasetNNN_NAME" in fails(tmp_path / "liver")


def test_evaluate_scores_answers_against_the_held_out(exported, tmp_path):
    true, scores = exported / "labelsTs", tmp_path / "scores.csv"
    arguments = ["evaluate", "--predicted", true, "--true", true, "--out", scores, "--workers", 1]
    assert main([str(argument) for argument in arguments]) == 0
    assert (pd.read_csv(scores).liver_dice == 1).all()


# --- nnU-Net itself ---------------------------------------------------------------------------


def run_nnunet(raw: Path, folder: Path, code: str) -> None:
    """Run code that uses nnU-Net, in a process of its own with its folders."""
    places = {"nnUNet_raw": raw, "nnUNet_preprocessed": folder, "nnUNet_results": folder}
    subprocess.run(
        [sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"],
        env=os.environ | {name: str(place) for name, place in places.items()},
        check=True,
        cwd=folder,
    )


@pytest.mark.slow
def test_nnunet_finds_the_data_set_whole(exported, tmp_path):
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed: pip install nnunetv2")
    module = "nnunetv2.experiment_planning.verify_dataset_integrity"
    code = f"from {module} import *; verify_dataset_integrity({str(exported)!r}, 1)"
    run_nnunet(exported.parent, tmp_path, code)


@pytest.mark.slow
def test_nnunet_plans_what_is_committed(exported, tmp_path):
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed: pip install nnunetv2")
    module = "nnunetv2.experiment_planning.plan_and_preprocess_api"
    code = f"from {module} import *; extract_fingerprints([502], num_processes=1)"
    run_nnunet(exported.parent, tmp_path, f"{code}; plan_experiments([502])")
    plans = [
        json.loads(path.read_text())
        for path in (tmp_path / exported.name / "nnUNetPlans.json", PLANS / "phantom-smoke.json")
    ]
    assert plans[0]["configurations"] == plans[1]["configurations"]


# --- The rules as notebook 56 tells them ------------------------------------------------------


def rules_of_the_notebook() -> str:
    """The cells that define functions of section 6 and 7 and their constants."""
    notebook = json.loads((PLANS.parent / "56_nnunet_by_hand.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    wanted = (
        "def halve",
        "def count_numbers",
        "def share_of",
        "def fitted",
        "def search",
        "def plan",
    )
    return "\n\n".join(cell for cell in cells if any(name in cell for name in wanted))


@pytest.mark.parametrize(("cohort", "trained"), [("phantom", 56), ("phantom-smoke", 4)])
def test_the_rules_told_by_hand_give_nnunets_plan(cohort, trained):
    theirs = json.loads((PLANS / f"{cohort}.json").read_text())["configurations"]
    full = theirs["3d_fullres"]
    spacing, shape = (np.array(full[key]) for key in ("spacing", "median_image_size_in_voxels"))
    shape = shape.astype(int)
    told = {"np": np, "gigabytes": 8, "shapes": [shape] * trained, "median_shape": shape}
    exec(rules_of_the_notebook(), told)
    for name, leave_out in (("3d_fullres", 0), ("2d", 1)):
        plan = told["plan"](spacing[leave_out:], shape[leave_out:])
        network = theirs[name]["architecture"]["arch_kwargs"]
        assert plan == {
            "patch": theirs[name]["patch_size"],
            "batch": theirs[name]["batch_size"],
            "features": network["features_per_stage"],
            "strides": network["strides"],
            "kernels": network["kernel_sizes"],
        }
