"""A phantom cohort in the layout of every data set is found, read and cut as that data set."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from liverutils import cli
from liverutils.errors import BadInput
from liverutils.phantom import COHORTS, LAYOUTS, make_cohort, make_patient
from liverutils.phantom.layouts import as_grey
from liverutils.scans import LIVER, TUMOR, verify_cases
from liverutils.slices import build_store
from liverutils.sources import SOURCES, find_cases


@pytest.fixture(scope="module")
def patients():
    return [make_patient(COHORTS["phantom-smoke"], number) for number in range(2)]


@pytest.fixture(scope="module", params=[name for name in LAYOUTS if name != "phantom"])
def written(request, tmp_path_factory):
    """Two patients in one layout: its name and folder."""
    folder = tmp_path_factory.mktemp("layouts") / request.param
    arguments = {"patients": 2, "workers": 1, "progress": False}
    make_cohort("phantom-smoke", folder, layout=request.param, **arguments)
    return request.param, folder


def expected_mask(source, case):
    """CHAOS and TotalSegmentator label no tumours."""
    without = source in ("chaos", "totalsegmentator")
    return (case.mask >= LIVER).astype(np.uint8) if without else case.mask


def test_what_was_written_is_read_as_it_was(written, patients):
    source, folder = written
    cases = [files.load() for files in find_cases(source, folder)]
    assert len({case.patient for case in cases}) == len(cases) == 2
    for case, true in zip(cases, patients, strict=True):
        image = as_grey(true.image) if source == "lits-png" else true.image
        assert np.array_equal(case.image, image)
        assert np.array_equal(case.mask, expected_mask(source, true))
        if case.spacing_known:
            assert np.allclose(case.affine, true.affine, atol=1e-4)


def test_it_becomes_a_store(written, patients, tmp_path):
    source, folder = written
    store = build_store(
        find_cases(source, folder), tmp_path / "store", size=64, workers=1, progress=False
    )
    masks = [expected_mask(source, case) for case in patients]
    labels = np.concatenate([mask.max(axis=(0, 1)) for mask in masks])
    assert np.array_equal(store.slices.label, labels)
    assert store.info.licence == SOURCES[source].licence


def test_it_is_clean(written):
    source, folder = written
    table = verify_cases(find_cases(source, folder), workers=1)
    assert (table.severity == "ok").all(), table.findings.tolist()


def test_lists_of_the_data_sets(tmp_path, patients):
    arguments = {"patients": 2, "workers": 1, "progress": False}
    make_cohort("phantom-smoke", tmp_path / "msd", layout="msd", **arguments)
    listed = json.loads((tmp_path / "msd" / "Task03_Liver" / "dataset.json").read_text())
    assert listed["numTraining"] == len(listed["training"]) == 2
    for files in listed["training"]:
        assert all((tmp_path / "msd" / "Task03_Liver" / path).is_file() for path in files.values())
    make_cohort("phantom-smoke", tmp_path / "png", layout="lits-png", **arguments)
    with (tmp_path / "png" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    lesions = sum((case.mask == TUMOR).any(axis=(0, 1)).sum() for case in patients)
    assert len(rows) == sum(case.mask.shape[2] for case in patients)
    assert sum(row["lesion_visible"] == "True" for row in rows) == lesions > 0


def test_the_table_of_totalsegmentator(tmp_path):
    arguments = {"patients": 2, "workers": 1, "progress": False}
    make_cohort("phantom-smoke", tmp_path / "ts", layout="totalsegmentator", **arguments)
    with (tmp_path / "ts" / "meta.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [row["image_id"] for row in rows] == ["s0000", "s0001"]
    assert len(find_cases("totalsegmentator", tmp_path / "ts")) == 2


def test_command_line(tmp_path, capsys):
    arguments = ["phantom", "--cohort", "phantom-smoke", "--layout", "chaos", "--patients", "1"]
    assert cli.main([*arguments, "--out", str(tmp_path / "chaos"), "--workers", "1"]) == 0
    assert len(find_cases("chaos", tmp_path / "chaos")) == 1
    assert cli.main([*arguments, "--out", str(tmp_path / "chaos")]) == 1
    assert "exists already" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        cli.main([*arguments, "--out", str(tmp_path / "other"), "--layout", "dicom"])
    assert error.value.code == 2
    assert "invalid choice: 'dicom'" in capsys.readouterr().err


def test_the_command_line_offers_every_layout_and_looks_them_up_only_then(capsys):
    with pytest.raises(SystemExit):
        cli.main(["phantom", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"resembles: {', '.join(LAYOUTS)} (default" in said
    code = "import sys; from liverutils.cli import make_parser; make_parser()"
    code += "; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_seed_in_another_layout_makes_other_patients(tmp_path):
    arguments = ["phantom", "--cohort", "phantom-smoke", "--layout", "lits", "--patients", "1"]
    for name, seed in (("own", []), ("other", ["--seed", "7"])):
        assert cli.main([*arguments, *seed, "--workers", "1", "--out", str(tmp_path / name)]) == 0
    own, other = (find_cases("lits", tmp_path / name)[0].load() for name in ("own", "other"))
    assert not np.array_equal(own.image, other.image)


@pytest.mark.parametrize("names", [("dicom", "phantom-smoke"), ("lits", "someone")])
def test_unknown_names_are_said_and_nothing_is_written(tmp_path, names):
    with pytest.raises(BadInput, match="take one of"):
        make_cohort(names[1], tmp_path / "raw", layout=names[0])
    assert list(tmp_path.iterdir()) == []


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise RuntimeError("stopped")

    monkeypatch.setitem(LAYOUTS, "lits", type(LAYOUTS["lits"])(stop))
    with pytest.raises(RuntimeError, match="stopped"):
        make_cohort("phantom-smoke", tmp_path / "raw", layout="lits", workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []
