"""The `liverutils` command: exit status 0, 1 with one clear sentence, or 2."""

import json
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from doubles import TRAINED_ON, read_nifti

from liverutils.cli import main, scan_commands
from liverutils.models import build_model, save_weights
from liverutils.scans import read_nifti_mask, write_nifti
from liverutils.scoring import score_patient
from liverutils.slices import SliceStore


def fails(capsys, *arguments) -> str:
    """Run a command that must fail with status 1; return its one line on standard error."""
    assert main([str(a) for a in arguments]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    sentence = [line for line in lines if line.startswith("liverutils: ")]
    assert len(sentence) == 1
    return sentence[0]


def test_phantom_prepare_verify(tmp_path, capsys):
    raw, store = tmp_path / "raw", tmp_path / "store"
    assert main(["phantom", "--cohort", "phantom-smoke", "--out", str(raw), "--patients", "3"]) == 0
    arguments = ["--out", str(store), "--size", "64", "--view", "coronal", "--workers", "1"]
    assert main(["prepare", "phantom-smoke", str(raw), *arguments]) == 0
    assert len(SliceStore.open(store).patients) == 3
    assert "3 patients" in capsys.readouterr().out
    assert main(["verify", "phantom-smoke", str(raw)]) == 0


def test_fraction_and_limit(smoke_raw, tmp_path):
    arguments = ["prepare", "phantom-smoke", str(smoke_raw), "--size", "32", "--workers", "1"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--fraction", "0.4"]) == 0
    assert main([*arguments, "--out", str(tmp_path / "b"), "--limit", "1"]) == 0
    assert len(SliceStore.open(tmp_path / "a").patients) == 2
    assert len(SliceStore.open(tmp_path / "b").patients) == 1


@pytest.mark.parametrize("command", ["prepare", "verify"])
def test_missing_and_empty_folders_are_said(command, tmp_path, capsys):
    out = ["--out", tmp_path / "store"] if command == "prepare" else []
    assert "nowhere" in fails(capsys, command, "folder", tmp_path / "nowhere", *out)
    (tmp_path / "empty").mkdir()
    assert "empty" in fails(capsys, command, "folder", tmp_path / "empty", *out)
    assert not (tmp_path / "store").exists()


def test_unknown_names_are_said(tmp_path, capsys):
    assert "phantom" in fails(capsys, "phantom", "--cohort", "x", "--out", tmp_path / "raw")
    assert "'x'" in fails(capsys, "prepare", "x", tmp_path, "--out", tmp_path / "store")


def test_a_truncated_scan_stops_prepare_and_is_found_by_verify(smoke_raw, tmp_path, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in smoke_raw.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    scan = raw / "volume-002.nii.gz"
    scan.write_bytes(scan.read_bytes()[:-1000])
    prepare = ["prepare", "phantom-smoke", raw, "--out", tmp_path / "store", "--size", 32]
    assert "volume-002.nii.gz" in fails(capsys, *prepare)
    assert main([str(a) for a in [*prepare, "--keep-going"]]) == 1
    assert "truncated_gzip" in capsys.readouterr().out
    assert len(SliceStore.open(tmp_path / "store").patients) == 4
    assert main(["verify", "phantom-smoke", str(raw)]) == 1
    assert "truncated_gzip" in capsys.readouterr().out


def test_tables_fit_a_terminal(smoke_raw, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in smoke_raw.glob("*.nii.gz"):
        (raw / path.name).write_bytes(path.read_bytes())
    (raw / "volume-001.nii.gz").write_bytes(b"nothing")
    (raw / "segmentation-003.nii.gz").unlink()
    assert main(["verify", "phantom-smoke", str(raw)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [len(line.split("  ")) > 1 for line in lines[:7]] == [True] * 6 + [False]
    assert all(len(line) <= 80 for line in lines if str(raw) not in line)
    assert "not_gzip" in lines[2] and "no_labels" in lines[4]
    assert lines[-1] == "5 scans: 1 with errors, 1 with warnings only."
    (raw / "volume-001.nii.gz").unlink()
    assert main(["verify", "phantom-smoke", str(raw)]) == 1
    assert "belongs to no scan" in capsys.readouterr().out.replace("\n  ", " ")
    (raw / "segmentation-001.nii.gz").unlink()
    assert main(["verify", "phantom-smoke", str(raw)]) == 0, "warnings are no errors"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nothing"], ["prepare"], ["prepare", "folder", ".", "--out", "x", "--size", "-1"]],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    "command",
    [
        *("phantom", "fetch", "prepare", "verify", "predict", "evaluate", "measure", "export"),
        "list",
        "bench",
        "completion",
    ],
)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_version_and_module(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert re.fullmatch(r"liverutils \d+\.\d+\.\d+\n", told)
    command = [sys.executable, "-m", "liverutils", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == told


def test_help_imports_nothing_heavy():
    """What takes its time is imported by the command that needs it."""
    looks = (
        "import sys; from liverutils.cli import make_parser; make_parser().format_help();"
        "print({'torch', 'numpy', 'pandas', 'shtab', 'importlib.metadata'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize("what", ["sources", "runs", "weights", "faults"])
def test_list(what, capsys):
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(lines) == 1 + len(rows)
    one = {"sources": "ircadb", "runs": "UNet", "weights": "UNet", "faults": "missing_slices"}
    assert one[what] in {row.get("name", row.get("run")) for row in rows}


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_options(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("predict", "continue", "sources"))
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_verify_as_json(smoke_raw, capsys):
    assert main(["verify", "phantom-smoke", str(smoke_raw), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (len(document["scans"]), document["errors"]) == (5, 0)
    assert document["scans"][0]["severity"] == "ok"


def test_quiet_and_bars_on_a_terminal_only(tmp_path, capsys, monkeypatch):
    phantom = ["phantom", "--cohort", "phantom-smoke", "--patients", "1", "--workers", "1"]
    assert main([*phantom, "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    assert "cohort lies in" in said.out and said.err == ""
    prepare = ["prepare", "phantom-smoke", str(tmp_path / "a"), "--size", "32", "--workers", "1"]
    assert main([*prepare, "--out", str(tmp_path / "s")]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main([*phantom, "--out", str(tmp_path / "b")]) == 0
    assert "making phantom-smoke" in capsys.readouterr().err
    assert main([*prepare, "--out", str(tmp_path / "t"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_unknown_benchmark_is_refused(capfd):
    assert main(["bench", "nothing"]) == 1
    assert "no benchmark nothing" in capfd.readouterr().err


# --- predict and evaluate ---------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(build_model("UNet", width=2), path, {"data": TRAINED_ON})
    return path


def test_predict_writes_what_is_asked_for(smoke_raw, weights, tmp_path, capsys):
    scan, out, probable = smoke_raw / "volume-000.nii.gz", tmp_path / "m.nii", tmp_path / "p.nii.gz"
    arguments = ["predict", scan, "--weights", weights, "--out", out, "--probabilities", probable]
    assert main([str(a) for a in arguments]) == 0
    said = capsys.readouterr().out
    assert str(out) in said and ("Found" in said or "No liver" in said)
    shape = read_nifti(scan)[0].shape
    assert read_nifti(out)[0].shape == shape
    assert nib.load(probable).shape == (*shape, 2)


def test_predict_needs_a_scan_alone(smoke_raw, weights, tmp_path, capsys, monkeypatch):
    """Weights are those of the reference run, the mask is named after the scan, nothing is lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scan_commands, "_default_weights", lambda run: weights)
    scan = smoke_raw / "volume-000.nii.gz"
    assert main(["predict", str(scan), "--quiet"]) == 0
    assert (tmp_path / "volume-000_mask.nii.gz").is_file()
    assert "volume-000_mask.nii.gz is there already" in fails(capsys, "predict", scan)


def test_missing_default_weights_are_said(smoke_raw, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scan_commands, "DEFAULT_RUN", "Nobody")
    scan, out = smoke_raw / "volume-000.nii.gz", tmp_path / "mask.nii.gz"
    assert "no weights of the run Nobody" in fails(capsys, "predict", scan, "--out", out)


def test_predict_says_what_cannot_be_used(smoke_raw, weights, tmp_path, capsys):
    scan, out = smoke_raw / "volume-000.nii.gz", tmp_path / "m.nii"
    use = ["--weights", weights, "--out", out]
    assert "nowhere.nii" in fails(capsys, "predict", tmp_path / "nowhere.nii", *use)
    (tmp_path / "empty").mkdir()
    assert "no DICOM" in fails(capsys, "predict", tmp_path / "empty", *use)
    assert "axial" in fails(capsys, "predict", scan, *use, "--view", "coronal")
    assert "DICOM series" in fails(capsys, "predict", scan, *use, "--dicom-seg", tmp_path / "s")
    none = ["--weights", tmp_path / "none.safetensors", "--out", out]
    assert "none.safetensors" in fails(capsys, "predict", scan, *none)
    assert not out.exists()
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(scan), "--weights", str(weights), "--out", "mask.png"])
    assert stop.value.code == 2


@pytest.mark.parametrize("command", ["phantom", "prepare", "predict", "evaluate"])
def test_where_nothing_can_be_written_one_sentence_says_so(
    command, smoke_raw, weights, tmp_path, capsys
):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / ("mask.nii" if command == "predict" else "result")
    arguments = {
        "phantom": ["--cohort", "phantom-smoke", "--patients", 1],
        "prepare": ["phantom-smoke", smoke_raw, "--size", 32],
        "predict": [smoke_raw / "volume-000.nii.gz", "--weights", weights],
        "evaluate": ["--predicted", smoke_raw, "--true", smoke_raw],
    }[command]
    said = fails(capsys, command, *arguments, "--out", out)
    assert str(out) in said and "cannot be written" in said


@pytest.fixture
def masks(smoke_raw, tmp_path):
    """Two true masks, and predictions of them: one a voxel off, named in another manner."""
    folders = tmp_path / "predicted", tmp_path / "true"
    for number in (0, 1):
        mask, affine = read_nifti_mask(smoke_raw / f"segmentation-00{number}.nii.gz")
        write_nifti(folders[1] / f"00{number}.nii.gz", mask, affine)
        write_nifti(folders[0] / f"segmentation-00{number}.nii", np.roll(mask, 1, 0), affine)
    return folders


def evaluate(predicted, true, out):
    return ["evaluate", "--predicted", predicted, "--true", true, "--out", out, "--workers", 1]


def test_evaluate_scores_what_score_patient_scores(masks, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    assert main([str(a) for a in evaluate(*masks, out)]) == 0
    assert "dice" in capsys.readouterr().out
    table = pd.read_csv(out, dtype={"patient": str}).set_index("patient")
    assert list(table.index) == ["000", "001"]
    true, affine = read_nifti_mask(masks[1] / "001.nii.gz")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    expected = score_patient(np.roll(true, 1, 0), true, spacing)
    for name, score in expected.items():
        assert table.loc["001", name] == pytest.approx(score), name


def test_evaluate_as_json_knows_infinite_from_unknown(masks, tmp_path, capsys):
    predicted, true = masks
    for folder in masks:
        next(folder.glob("*001*")).unlink()
    mask, affine = read_nifti_mask(true / "000.nii.gz")
    write_nifti(predicted / "segmentation-000.nii", np.minimum(mask, 1), affine)
    arguments = [str(a) for a in evaluate(predicted, true, tmp_path / "s.csv")]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scans"][0]["tumor_hd95_mm"] == "inf" and mask.max() == 2
    assert document["summary"][0]["low"] is None, "one scan gives no interval"
    assert main(arguments) == 0
    assert "nan" not in capsys.readouterr().out


def test_evaluate_reads_masks_beside_their_scans_and_replaces_none(tmp_path, tiny_case, capsys):
    raw, out = tmp_path / "lits", tmp_path / "scores.csv"
    for number in (0, 1):
        write_nifti(raw / f"volume-{number}.nii", tiny_case.image, tiny_case.affine)
        write_nifti(raw / f"segmentation-{number}.nii", tiny_case.labels, tiny_case.affine)
    folders = ["--predicted", raw, "--true", raw, "--workers", 1]
    for _ in range(2):  # Its own table may be written anew.
        assert main([str(a) for a in ["evaluate", *folders, "--out", out]]) == 0
    assert pd.read_csv(out).liver_dice.tolist() == [1, 1]
    mask = raw / "segmentation-0.nii"
    before = mask.read_bytes()
    assert "no table of scores" in fails(capsys, "evaluate", *folders, "--out", mask)
    assert mask.read_bytes() == before


def test_evaluate_says_which_masks_do_not_fit(masks, tmp_path, capsys):
    predicted, true = masks
    out = tmp_path / "scores.csv"
    (tmp_path / "empty").mkdir()
    assert "no NIfTI" in fails(capsys, *evaluate(tmp_path / "empty", true, out))
    assert "nowhere" in fails(capsys, *evaluate(predicted, tmp_path / "nowhere", out))

    mask, affine = read_nifti_mask(true / "001.nii.gz")
    write_nifti(true / "lonely.nii.gz", mask, affine)
    assert "lonely" in fails(capsys, *evaluate(predicted, true, out))
    (true / "lonely.nii.gz").unlink()

    for wrong, word in (
        ((mask[1:], affine), "voxels against"),
        ((mask, affine + np.eye(4, k=3) * 7), "mm apart"),
        ((mask * np.uint8(3), affine), "labels"),
    ):
        write_nifti(predicted / "segmentation-001.nii", *wrong)
        said = fails(capsys, *evaluate(predicted, true, out))
        assert "segmentation-001.nii" in said and word in said
    assert not out.exists()


def test_evaluate_knows_no_distances_without_a_voxel_size(masks, tmp_path):
    mask, _ = read_nifti_mask(masks[1] / "000.nii.gz")
    folders = tmp_path / "p", tmp_path / "t"
    for folder in folders:
        write_nifti(folder / "a.nii.gz", mask, np.eye(4))
    assert main([str(a) for a in evaluate(*folders, tmp_path / "s.csv")]) == 0
    scores = pd.read_csv(tmp_path / "s.csv")
    assert scores.liver_dice[0] == 1 and np.isnan(scores.liver_hd95_mm[0])
