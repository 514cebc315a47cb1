"""Notebooks as their readers meet them: run, clean, in the catalogue, with working solutions."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
import yaml
from papermill.cli import NoDatesSafeLoader

from liverutils.errors import BadInput
from liverutils.runs import check_dataset, choose, into_reference, on_data, read_catalogue
from liverutils.runs.catalogue import PROFILES

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
    with_exercises = [path.name for path in NOTEBOOKS if '"exercise"' in path.read_text()]
    assert [path.name for path in SOLUTIONS] == with_exercises
    assert {path.name for path in NOTEBOOKS} - set(with_exercises) == {"00_start.ipynb"}


@pytest.mark.parametrize("profile", PROFILES)
def test_catalogue_sets_only_declared_parameters(profile):
    for run in read_catalogue(CATALOGUE, profile).values():
        assert run.parameters.keys() <= run.declared.keys()
        assert run.minutes > 0


@pytest.mark.parametrize("profile", PROFILES)
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


TYPOS = {
    "holds 'smok', which is unknown; did you mean smoke": lambda c: c["runs"]["UNet"].update(
        smok={}
    ),
    "holds 'profile', which is unknown; did you mean profiles": lambda c: c.update(profile={}),
    "lacks runs": lambda c: c.pop("runs"),
    "lacks cpu": lambda c: c["profiles"].pop("cpu"),
    "lacks notebook": lambda c: c["runs"]["UNet"].pop("notebook"),
    "has 'fast' as minutes": lambda c: c["profiles"]["cpu"].update(minutes="fast"),
    "has 3 as smoke": lambda c: c["runs"]["UNet"].update(smoke=3),
    "has 'x' as cpu": lambda c: c["runs"]["UNet"].update(minutes={"cpu": "x"}),
    "is None, not a list": lambda c: c["runs"].update(UNet=None),
    "names the notebook '../22_unet'": lambda c: c["runs"]["UNet"].update(notebook="../22_unet"),
    "is of the set 'cor'": lambda c: c["runs"]["UNet"].update(set="cor"),
    "comes after 'UNett', which is no run": lambda c: c["runs"]["UNet"].update(after=["UNett"]),
    "no plain name": lambda c: c["runs"].update({"../UNet": c["runs"]["UNet"]}),
}


@pytest.fixture(scope="module")
def catalogue_copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("notebooks")
    for path in (*NOTEBOOKS, CATALOGUE):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / CATALOGUE.name


@pytest.mark.parametrize("said", TYPOS)
def test_a_slip_in_the_catalogue_is_named(catalogue_copy, said):
    content = yaml.safe_load(CATALOGUE.read_text())
    TYPOS[said](content)
    catalogue_copy.write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput, match=re.escape(said)) as caught:
        read_catalogue(catalogue_copy, "cpu")
    assert caught.value.fault == "bad_catalogue"


def test_a_damaged_catalogue_ends_in_a_sentence(catalogue_copy):
    whole, draw, refused = CATALOGUE.read_bytes(), np.random.default_rng(0), 0
    catalogue_copy.write_bytes(whole)
    read_catalogue(catalogue_copy, "cpu")
    short = whole[: whole.index(b"AlexNet_init:")]  # Enough of it, read in less time.
    for _ in range(40):
        damaged = bytearray(short)
        for place in draw.integers(0, len(damaged), draw.integers(1, 6)):
            damaged[place] = draw.integers(0, 256)
        catalogue_copy.write_bytes(damaged[: draw.integers(1, len(damaged))])
        try:
            read_catalogue(catalogue_copy, "cpu")
        except BadInput as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 20


def test_a_data_set_without_its_place_is_said():
    with pytest.raises(BadInput, match="add DATA_DIR="):
        check_dataset("lits", "")
    with pytest.raises(BadInput, match="no data set we know"):
        check_dataset("lit", "/data")
    check_dataset("phantom-gpu", None)
    check_dataset("lits", "/data")


def test_runs_are_chosen_by_set_or_name():
    assert {run.set for run in choose(SMOKE, "core")} == {"core"}
    assert [run.name for run in choose(SMOKE, "core", "UNet")] == ["UNet"]
    with pytest.raises(BadInput, match="no run Unet"):
        choose(SMOKE, "core", "Unet")
    with pytest.raises(BadInput, match="no set"):
        choose(SMOKE, "everything")


def test_a_run_on_other_data_has_a_name_of_its_own():
    run = on_data(SMOKE["UNet"], "lits", "somewhere")
    assert run.parameters["run_name"] == "UNet_lits"
    assert run.parameters["data_dir"] == "somewhere"
    assert run.executed == Path("build/smoke/logs/UNet_lits/UNet_lits.ipynb")


@pytest.mark.parametrize("profile", PROFILES)
def test_only_the_maintainers_runs_write_the_reference(profile):
    for run in read_catalogue(CATALOGUE, profile).values():
        folders = [run.value(name) for name in ("logs_dir", "gallery_dir") if name in run.declared]
        own = ("build/smoke/",) if profile == "smoke" else ("runs/",)
        assert all(folder.startswith(own) for folder in [*folders, str(run.executed)]), run.name
        reference = into_reference(run)
        assert reference.executed == Path("logs", run.name, f"{run.name}.ipynb")
        if "logs_dir" in run.declared:
            assert reference.value("logs_dir") == "logs"
        if "gallery_dir" in run.declared:
            assert reference.value("gallery_dir") == "images_gallery"


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


@pytest.mark.slow
def test_a_run_under_its_own_name_leaves_the_reference_as_it_is(project, monkeypatch):
    """Everything small, but the name and the folders that a reader leaves as they are."""
    for folder in ("logs", "images_gallery"):
        shutil.copytree(REPOSITORY / folder / "SimpleCNN", project / folder / "SimpleCNN")
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "The reference"], check=True)
    run, kept = SMOKE["SimpleCNN"], ("run_name", "logs_dir", "gallery_dir")
    small = {name: value for name, value in run.parameters.items() if name not in kept}
    monkeypatch.setenv("PYTHONPATH", str(project))
    copy = project / "runs" / "SimpleCNN.ipynb"
    copy.parent.mkdir()
    papermill.execute_notebook(
        str(project / "notebooks" / run.notebook.name),
        str(copy),
        small,
        cwd=str(project / "notebooks"),
        kernel_name="python3",
        progress_bar=False,
    )
    assert (project / "runs/logs/SimpleCNN/SimpleCNN_val.csv").is_file()
    assert (project / "runs/images_gallery/SimpleCNN/contact_sheet.png").is_file()
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    assert status.stdout == ""


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
