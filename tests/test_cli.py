"""The `liverutils` command: exit status 0, 1 with one clear sentence, or 2."""

import pytest

from liverutils.cli import main
from liverutils.datasets.store import SliceStore


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
    assert main(["verify", "phantom-smoke", str(raw)]) == 0, "warnings are no errors"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nothing"], ["prepare"], ["prepare", "folder", ".", "--out", "x", "--size", "-1"]],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize("command", ["phantom", "prepare", "verify"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out
