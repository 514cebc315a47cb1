"""A folder of scans: none keeps another from its mask, and nothing is done twice."""

import json

import numpy as np
import pandas as pd
import pytest
from doubles import TRAINED_ON, read_nifti

from liverutils.cli import main
from liverutils.errors import BadInput
from liverutils.models import build_model, save_weights
from liverutils.prediction import cohort, segment_scans
from liverutils.sources import find_cases


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(build_model("UNet", width=2), path, {"data": TRAINED_ON})
    return path


@pytest.fixture
def scans(tiny_case, write_case, tmp_path):
    """Two good scans, of which one has a mask that must not be taken for a scan, and a bad one."""
    folder = tmp_path / "scans"
    folder.mkdir()
    write_case(tiny_case, folder, "a")
    (folder / "segmentation-a.nii.gz").rename(folder / "volume-a_mask.nii.gz")
    write_case(tiny_case, folder, "b")
    (folder / "segmentation-b.nii.gz").unlink()
    whole = (folder / "volume-b.nii.gz").read_bytes()
    (folder / "volume-0.nii.gz").write_bytes(whole[: len(whole) // 2])
    return folder


def predict(scans, weights, out, *more) -> int:
    return main([str(a) for a in ["predict", scans, "--weights", weights, "--out", out, *more]])


def statuses(out) -> dict[str, str]:
    reports = json.loads((out / "predictions.json").read_text())["scans"]
    return {report["name"]: report["status"] for report in reports}


def test_a_bad_scan_does_not_end_the_cohort(scans, weights, tmp_path, capsys):
    out = tmp_path / "masks"
    assert predict(scans, weights, out) == 1
    said = capsys.readouterr()
    assert "truncated_gzip" in said.out and "3 scans: 2 segmented, 0 kept, 1 failed." in said.out
    assert said.err.startswith("liverutils: 0: ") and "%" not in said.err
    for name in "ab":
        mask, affine, *_ = read_nifti(out / f"{name}.nii.gz")
        image, same, *_ = read_nifti(scans / f"volume-{name}.nii.gz")
        assert mask.shape == image.shape and np.allclose(affine, same)
    assert not (out / "0.nii.gz").exists()
    table = pd.read_csv(out / "predictions.csv")
    assert table.status.tolist() == ["failed", "segmented", "segmented"]


def test_it_is_the_mask_that_one_scan_alone_gets(scans, weights, tmp_path):
    predict(scans, weights, tmp_path / "masks")
    assert predict(scans / "volume-a.nii.gz", weights, tmp_path / "alone.nii.gz") == 0
    alone, together = (
        read_nifti(tmp_path / place)[0] for place in ("alone.nii.gz", "masks/a.nii.gz")
    )
    assert np.array_equal(alone, together)


def test_continue_keeps_only_answers_of_these_weights_and_this_scan(
    scans, weights, tiny_case, write_case, tmp_path, capsys
):
    out = tmp_path / "masks"
    predict(scans, weights, out)
    written = (out / "a.nii.gz").stat().st_mtime_ns
    whole = (scans / "volume-b.nii.gz").read_bytes()
    (scans / "volume-0.nii.gz").write_bytes(whole)
    assert predict(scans, weights, out, "--continue") == 0
    assert statuses(out) == {"0": "segmented", "a": "kept", "b": "kept"}
    assert (out / "a.nii.gz").stat().st_mtime_ns == written

    tiny_case.image[:] = np.roll(tiny_case.image, 1, 2)
    write_case(tiny_case, scans, "b")
    (scans / "segmentation-b.nii.gz").unlink()
    (out / "a.nii.gz").unlink()
    assert predict(scans, weights, out, "--continue") == 0
    assert statuses(out) == {"0": "kept", "a": "segmented", "b": "segmented"}

    save_weights(build_model("UNet", width=2), weights, {"data": TRAINED_ON})
    assert predict(scans, weights, out, "--continue") == 0
    assert set(statuses(out).values()) == {"segmented"}
    assert predict(scans, weights, out, "--continue", "--augment") == 0
    assert set(statuses(out).values()) == {"segmented"}
    assert predict(scans, weights, out) == 0, "without --continue all is done anew"
    assert set(statuses(out).values()) == {"segmented"}


def test_what_was_killed_twice_loses_no_answer(scans, weights, tmp_path, monkeypatch):
    (scans / "volume-0.nii.gz").write_bytes((scans / "volume-b.nii.gz").read_bytes())
    cases, out = find_cases("folder", scans), tmp_path / "masks"
    options = {"reads": scans, "progress": False}
    segment_scans(cases, weights, out, **options)
    (out / "0.nii.gz").unlink()

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cohort, "segment_file", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                segment_scans(cases, weights, out, only_missing=True, **options)
        assert statuses(out) == {"a": "segmented", "b": "segmented"}
    reports = segment_scans(cases, weights, out, only_missing=True, **options)
    assert [report["status"] for report in reports] == ["segmented", "kept", "kept"]


def test_whatever_befalls_a_scan_is_told_and_what_befalls_all_ends(
    scans, weights, tmp_path, monkeypatch
):
    def breaks(networks, scan, *_, **__):
        raise RuntimeError("out of\nmemory") if "-a" in scan.name else OSError("lost")

    cases, out = find_cases("folder", scans), tmp_path / "masks"
    monkeypatch.setattr(cohort, "segment_file", breaks)
    reports = segment_scans(cases, weights, out, progress=False)
    assert {report["fault"] for report in reports} == {"failed_scan"}
    assert "RuntimeError: out of memory" in reports[1]["sentence"]

    def full(*_, **__):
        raise BadInput("No room.", fault="disk_full")

    monkeypatch.setattr(cohort, "segment_file", full)
    with pytest.raises(BadInput, match="No room"):
        segment_scans(cases, weights, out, progress=False)


def test_no_folder_of_others_is_written_to(scans, weights, tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "volume-a.nii.gz").write_bytes(b"somebody's labels")
    assert predict(scans, weights, tmp_path / "labels") == 1
    assert "labels holds something else" in capsys.readouterr().err
    assert (tmp_path / "labels" / "volume-a.nii.gz").read_bytes() == b"somebody's labels"
    assert predict(scans, weights, scans / "masks") == 1, "next time its masks would be scans"
    assert "lies in" in capsys.readouterr().err
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "predictions.json").write_text('{"scans": 3}')
    assert predict(scans, weights, tmp_path / "masks", "--continue") == 1
    assert "predictions.json" in capsys.readouterr().err


def test_options_of_one_scan_are_refused_for_many_and_the_reverse(scans, weights, tmp_path, capsys):
    assert predict(scans, weights, tmp_path / "m", "--probabilities", tmp_path / "p.nii") == 1
    assert "one file" in capsys.readouterr().err
    scan = scans / "volume-a.nii.gz"
    assert predict(scan, weights, tmp_path / "m.nii", "--continue") == 1
    assert "--continue" in capsys.readouterr().err


def test_json_is_one_document_with_volumes_files_and_doubts(scans, weights, tmp_path, capsys):
    out = tmp_path / "masks"
    assert predict(scans, weights, out, "--json") == 1
    failed, first, _ = json.loads(capsys.readouterr().out)["scans"]
    assert failed["status"] == "failed" and failed["fault"] == "truncated_gzip"
    assert first["files"] == {"mask": str(out / "a.nii.gz")}
    assert {"liver_ml", "tumor_ml", "tumors", "doubts", "made_with"} <= first.keys()
    assert predict(scans / "volume-a.nii.gz", weights, tmp_path / "m.nii", "--json") == 0
    (alone,) = json.loads(capsys.readouterr().out)["scans"]
    assert [alone[name] for name in ("liver_ml", "tumors")] == [
        first[name] for name in ("liver_ml", "tumors")
    ]


def test_quiet_says_nothing_but_what_failed(scans, weights, tmp_path, capsys):
    assert predict(scans, weights, tmp_path / "masks", "--quiet") == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("liverutils: ") == 1
    with pytest.raises(SystemExit) as stop:
        predict(scans, weights, tmp_path / "masks", "--quiet", "--json")
    assert stop.value.code == 2
