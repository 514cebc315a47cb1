"""Notebooks as their readers meet them: run, clean, in the catalogue, with working solutions."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from papermill.cli import NoDatesSafeLoader

from liverutils.errors import BadInput
from liverutils.runs import choose, read_catalogue
from liverutils.runs.catalogue import on_data

REPOSITORY = Path(__file__).parent.parent
CATALOGUE = REPOSITORY / "notebooks" / "runs.yaml"
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((REPOSITORY / "notebooks" / "solutions").glob("*.ipynb"))
SMOKE = read_catalogue(CATALOGUE, "smoke")


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=name_of)
def test_no_private_path_stands_in_a_notebook(path):
    assert not re.search(r"/(home|root|work|Users)/", path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_imports_stand_in_one_cell(path):
    cells = nbformat.read(path, as_version=4).cells
    importing = [
        cell
        for cell in cells
        if cell.cell_type == "code" and re.search(r"^(from|import) \w", cell.source, re.M)
    ]
    assert [cell.metadata.get("tags", []) for cell in importing] == [["setup"], []]


def test_every_notebook_is_in_the_catalogue_and_has_solutions():
    assert {run.notebook.stem for run in SMOKE.values()} == {path.stem for path in NOTEBOOKS}
    assert [path.name for path in SOLUTIONS] == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_catalogue_sets_only_declared_parameters(profile):
    for run in read_catalogue(CATALOGUE, profile).values():
        assert run.parameters.keys() <= run.declared.keys()
        assert run.minutes > 0


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_parameters_reach_papermill_as_what_they_are(profile):
    for run in read_catalogue(CATALOGUE, profile).values():
        assert yaml.load(run.as_yaml, NoDatesSafeLoader) == run.parameters
        assert "\n" not in run.as_yaml


def test_an_undeclared_parameter_is_an_error(tmp_path):
    content = yaml.safe_load(CATALOGUE.read_text())
    content["runs"]["UNet"]["parameters"] = {"learning_rate": 1}
    for path in NOTEBOOKS:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "runs.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput, match="declares no parameter learning_rate"):
        read_catalogue(tmp_path / "runs.yaml", "cpu")


def test_runs_are_chosen_by_set_or_name():
    assert {run.set for run in choose(SMOKE, "core")} == {"core"}
    assert [run.name for run in choose(SMOKE, "core", "UNet")] == ["UNet"]
    with pytest.raises(BadInput, match="no run Unet"):
        choose(SMOKE, "core", "Unet")
    with pytest.raises(BadInput, match="no set"):
        choose(SMOKE, "everything")


def test_a_run_on_other_data_keeps_away_from_the_reference_logs():
    run = on_data(SMOKE["UNet"], "lits", "somewhere")
    assert run.parameters["run_name"] == "UNet_lits"
    assert run.parameters["data_dir"] == "somewhere"
    assert run.executed.name == "UNet_lits.ipynb"


@pytest.mark.parametrize("run", choose(SMOKE, "study"), ids=lambda run: run.name)
def test_a_variant_takes_its_parameters(run, tmp_path):
    prepared = papermill.execute_notebook(
        str(run.notebook),
        str(tmp_path / run.notebook.name),
        run.parameters,
        prepare_only=True,
        progress_bar=False,
    )
    assert prepared.metadata.papermill.parameters == run.parameters


@pytest.mark.parametrize("run", choose(SMOKE, "core"), ids=lambda run: run.name)
def test_notebook_runs_under_nbval(run, tmp_path):
    prepared = tmp_path / run.notebook.name
    papermill.execute_notebook(
        str(run.notebook), str(prepared), run.parameters, prepare_only=True, progress_bar=False
    )
    nbval = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*nbval, "--nbval-cell-timeout", "300", str(prepared)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("path", SOLUTIONS, ids=name_of)
def test_solutions_are_right(path, tmp_path):
    declared = papermill.inspect_notebook(str(path))
    smoke = {"dataset": "phantom-smoke"} if "dataset" in declared else {}
    executed = papermill.execute_notebook(
        str(path), str(tmp_path / path.name), smoke, progress_bar=False
    )
    said = "".join(
        output.get("text", "") for cell in executed.cells for output in cell.get("outputs", [])
    )
    assert said.count("Right!") >= 2
    assert "Wrong" not in said and "Not answered" not in said
