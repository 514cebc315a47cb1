"""The notebooks' helpers, and what every notebook of the course must keep to."""

import ast
import shutil
import sys
import types
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from liverutils.course import (
    check,
    colab,
    find_course_cases,
    find_weights,
    load_beside_reference,
    load_patient,
    repository,
    repository_root,
    resolve,
    weights_on,
)
from liverutils.errors import BadInput
from liverutils.models import build_model, save_weights
from liverutils.phantom import make_cohort
from liverutils.runs import RunLogs

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
SOLUTIONS = [path for path in NOTEBOOKS if path.parent.name == "solutions"]


def cells_tagged(path: Path, tag: str) -> list[nbformat.NotebookNode]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


# --- Paths and data ---------------------------------------------------------------------------


@pytest.mark.parametrize("start", [ROOT, ROOT / "notebooks", Path("/")])
def test_relative_paths_start_at_the_repository_wherever_the_notebook_did(start, monkeypatch):
    monkeypatch.chdir(start)
    assert repository_root() == ROOT
    assert resolve("data") == ROOT / "data"
    assert resolve("/elsewhere/data") == Path("/elsewhere/data")
    assert resolve("~/data") == Path.home() / "data"


def test_a_package_installed_elsewhere_finds_the_repository_around_the_notebook(
    monkeypatch, tmp_path
):
    elsewhere = tmp_path / "site-packages/liverutils/course/repository.py"
    monkeypatch.setattr(repository, "__file__", str(elsewhere))
    monkeypatch.chdir(ROOT / "notebooks")
    assert repository_root() == ROOT
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="not inside the course's repository"):
        repository_root()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_cohort("phantom-smoke", folder / "phantom-smoke" / "raw", progress=False)
    return folder


def test_a_phantom_is_made_once(tmp_path):
    cases = find_course_cases("phantom-smoke", tmp_path)
    raw = tmp_path / "phantom-smoke" / "raw"
    made = {path: path.stat().st_mtime_ns for path in raw.iterdir()}
    assert find_course_cases("phantom-smoke", tmp_path) == cases
    assert {path: path.stat().st_mtime_ns for path in raw.iterdir()} == made


def test_other_data_lie_in_the_folder_itself(data_dir):
    raw = data_dir / "phantom-smoke" / "raw"
    assert [case.image.parent for case in find_course_cases("lits", raw)] == [raw] * 5


def test_load_patient_takes_the_one_named_or_the_middle_one(data_dir):
    cases = find_course_cases("phantom-smoke", data_dir)
    assert load_patient(cases).patient == "phantom-smoke-002"
    assert load_patient(cases, "phantom-smoke-004").patient == "phantom-smoke-004"
    with pytest.raises(BadInput, match="no patient 'Bob'; choose one of phantom-smoke-000, "):
        load_patient(cases, "Bob")


def test_load_patient_refuses_a_scan_without_labels(data_dir, tmp_path):
    shutil.copy(data_dir / "phantom-smoke" / "raw" / "volume-000.nii.gz", tmp_path / "me.nii.gz")
    with pytest.raises(BadInput, match="Nobody has drawn the liver"):
        load_patient(find_course_cases("folder", tmp_path))


# --- Runs -------------------------------------------------------------------------------------


@pytest.fixture
def own_and_reference(tmp_path, monkeypatch) -> Path:
    """A repository whose reference has the runs UNet and MultiView, and its reader's run UNet."""
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    monkeypatch.setattr(repository, "repository_root", lambda: tmp_path)
    for folder, run, loss in (("logs", "UNet", 1), ("logs", "MultiView", 2), ("own", "UNet", 3)):
        logs = RunLogs(tmp_path / folder, run)
        logs.write("val", pd.DataFrame({"epoch": [0], "val_loss": [loss]}))
        facts = {"data": {"fingerprint": folder}}
        save_weights(build_model("UNet", in_channels=1, classes=3, width=2), logs.weights, facts)
    return tmp_path


def losses(runs: dict) -> dict:
    assert [run.name for run in runs.values()] == list(runs)
    return {name: run.tables["val"].val_loss.item() for name, run in runs.items()}


def test_a_readers_runs_stand_beside_the_reference(own_and_reference, capsys):
    assert losses(load_beside_reference("own", "logs")) == {
        "MultiView": 2,
        "UNet": 1,
        "yours/UNet": 3,
    }
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "the course's reference, in logs: 2 runs",
        "your own, in own: yours/UNet",
    ]


def test_a_reader_without_runs_sees_the_reference(own_and_reference, capsys):
    assert list(load_beside_reference("none", "logs")) == ["MultiView", "UNet"]
    assert "your own, in none: none yet" in capsys.readouterr().out


@pytest.mark.parametrize("reference", ["", "own", "./own"])
def test_runs_without_a_reference_keep_their_names(own_and_reference, reference):
    assert losses(load_beside_reference("own", reference)) == {"UNet": 3}


def test_a_readers_broken_log_is_named(own_and_reference):
    (own_and_reference / "own" / "UNet" / "UNet_run.json").write_text("{")
    with pytest.raises(BadInput, match="own/UNet/UNet_run.json cannot be read"):
        load_beside_reference("own", "logs")


def test_the_readers_weights_come_first(own_and_reference, capsys):
    root = own_and_reference
    assert find_weights("UNet", "own") == root / "own/UNet/UNet.safetensors"
    assert find_weights("MultiView", "own") == root / "logs/MultiView/MultiView.safetensors"
    assert find_weights("logs/UNet/UNet.safetensors", "own") == root / "logs/UNet/UNet.safetensors"
    assert capsys.readouterr().out.splitlines() == [
        "weights of your run UNet, in own",
        "weights of the course's run MultiView, in logs",
    ]
    with pytest.raises(BadInput, match="no weights of a run 'AlexNet' in own or logs"):
        find_weights("AlexNet", "own")


def test_weights_are_taken_from_a_run_on_the_same_data(own_and_reference):
    root = own_and_reference
    assert weights_on("UNet", "own", "own") == root / "own/UNet/UNet.safetensors"
    assert weights_on("UNet", "own", "logs") == root / "logs/UNet/UNet.safetensors"
    assert weights_on("UNet", "own", "other") is None
    assert weights_on("mine.safetensors", "own", "other") == root / "mine.safetensors"


# --- Exercises --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [..., None, (..., 3), [None]])
def test_no_answer_is_neither_right_nor_wrong(answer, capsys):
    check(answer, 3)
    assert capsys.readouterr().out.startswith("Not answered yet.")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (3, 3),
        (1005, 1000.0),
        (" Axial", "axial"),
        ({"A", "B"}, {"B", "A"}),
        (set(), set()),
        (["A", "B"], {"B", "A"}),
        ("BA", {"B", "A"}),
        (("Validation", "test"), ["validation", "test"]),
        ((-120, 240.0), (-120, 240)),
        (torch.tensor([1.0, 2.0]), np.array([1, 2])),
        (np.True_, True),
    ],
)
def test_right_answers_are_called_right_and_why(answer, expected, capsys):
    check(answer, expected, why="Because.", hint="Think.")
    assert capsys.readouterr().out == "Right! Because.\n"


@pytest.mark.parametrize(
    ("answer", "expected", "reason"),
    [
        (4, 3, "4 is too large. Think."),
        (113, 112, "113 is too large. Think."),
        (["test", "test"], ["validation", "test"], "['test', 'test'] is not it. Think."),
        (2.97, 3.01, "2.97 is too small. Think."),
        (float("nan"), 3, "nan is not a number. Think."),
        ("three", 3, "'three' is a str, a number or array is expected. Think."),
        ({3}, 3, "{3} is a set, a number or array is expected. Think."),
        (False, True, "False is not it. Think."),
        ("coronal", "axial", "'coronal' is not it. Think."),
        ({"A"}, {"A", "B"}, "{'A'} is not it. Think."),
        (np.zeros((2, 3)), np.zeros((3, 2)), "the shape is (2, 3), (3, 2) is expected. Think."),
        (np.eye(2), np.ones((2, 2)), "50.0% of the elements differ. Think."),
        (7, 3, "one for every day."),
    ],
)
def test_wrong_answers_are_called_wrong_and_why(answer, expected, reason, capsys):
    check(answer, expected, why="Because.", hint="Think.", mistakes={"one for every day.": 7})
    assert capsys.readouterr().out == f"Wrong: {reason}\n"


def test_the_tolerance_is_the_authors(capsys):
    check(1005, 1000, tolerance=0.001)
    assert capsys.readouterr().out.startswith("Wrong")


# --- Colab ------------------------------------------------------------------------------------


def test_the_setup_cell_does_nothing_outside_colab(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = InteractiveShell.instance().run_cell(colab.setup_cell())
    result.raise_error()
    assert Path.cwd() == tmp_path
    assert not list(tmp_path.iterdir())


def test_an_address_that_cannot_be_cloned_stops_at_the_first_cell(monkeypatch, tmp_path):
    """git fails as for a wrong or private address; nothing behind it is tried."""
    for tool in ("git", "pip"):
        (tmp_path / tool).write_text(f"#!/bin/sh\necho {tool} >> {tmp_path}/calls\nexit 128")
        (tmp_path / tool).chmod(0o755)
    source = colab.setup_cell().replace("/content", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    stopped = InteractiveShell.instance().run_cell(source).error_in_exec
    assert isinstance(stopped, SystemExit)
    assert "could not be cloned: is the address above right" in str(stopped)
    assert (tmp_path / "calls").read_text() == "git\n"


def test_data_and_runs_on_drive_outlive_a_session(monkeypatch, tmp_path):
    """Two sessions, each with a fresh clone; Drive is a folder that survives."""
    mounted = []
    drive = types.SimpleNamespace(mount=mounted.append)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(drive=drive))

    def session(name: str) -> Path:
        clone = tmp_path / name / "liver-ct-course"
        (clone / "data").mkdir(parents=True)
        (clone / "data" / "README.md").write_text(name)
        monkeypatch.setattr(colab, "repository_root", lambda: clone)
        colab.keep_on_drive(tmp_path / "drive")
        return clone

    first = session("first")
    (first / "data" / "scan").write_text("made")
    (first / "runs" / "logs").mkdir()
    (first / "runs" / "logs" / "UNet.pt").write_text("epoch 3")
    colab.keep_on_drive(tmp_path / "drive")  # The cell is run again.
    shutil.rmtree(tmp_path / "first")

    second = session("second")
    assert (second / "data" / "scan").read_text() == "made"
    assert (second / "runs" / "logs" / "UNet.pt").read_text() == "epoch 3"
    assert (second / "data" / "README.md").read_text() == "first", "what is there is kept"
    assert mounted == [str(tmp_path / "drive")] * 3


def test_the_setup_cell_pins_what_colab_has(monkeypatch, tmp_path):
    """git and pip are stand-ins that note how they were called, in Colab's order of events."""
    for tool in ("git", "pip"):
        (tmp_path / tool).write_text(f'#!/bin/sh\necho {tool} "$@" >> {tmp_path}/calls\necho a==1')
        (tmp_path / tool).chmod(0o755)
    source = colab.setup_cell().replace("/content", str(tmp_path))
    source = source.replace("/tmp/installed.txt", str(tmp_path / "installed.txt"))
    (tmp_path / "liver-ct-course").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    InteractiveShell.instance().run_cell(source).raise_error()
    assert (tmp_path / "installed.txt").read_text() == "a==1\n"
    assert (tmp_path / "calls").read_text().splitlines() == [
        "pip list --format=freeze",
        f"pip install --quiet --constraint {tmp_path}/installed.txt .",
    ]
    assert Path.cwd() == tmp_path / "liver-ct-course"


def test_the_command_puts_badge_and_setup_cell_into_a_notebook(monkeypatch, tmp_path):
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    address = "https://github.com/someone/else"
    (tmp_path / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{address}"\n')
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title\n\n[![Open in Colab](old)](old)\n\nText."),
            nbformat.v4.new_code_cell("old", metadata={"tags": ["setup"]}),
            nbformat.v4.new_code_cell("x = 'ä'", id="kept"),
        ]
    )
    path = tmp_path / "notebooks" / "01_a.ipynb"
    nbformat.write(notebook, path)
    monkeypatch.setattr(colab, "repository_root", lambda: tmp_path)
    monkeypatch.setattr(repository, "repository_root", lambda: tmp_path)
    colab.refresh_all()
    title, setup, other = nbformat.read(path, as_version=4).cells
    page = "https://colab.research.google.com/github/someone/else/blob/main/notebooks/01_a.ipynb"
    assert title.source.startswith("# Title\n\n[![Open in Colab](https://colab.")
    assert title.source.endswith(f"({page})\n\nText.")
    assert f"git clone --quiet --depth 1 {address}\n" in setup.source
    assert other == notebook.cells[2]


def test_the_command_leaves_the_courses_notebooks_as_they_are(monkeypatch, tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(colab, "repository_root", lambda: tmp_path)
    monkeypatch.setattr(repository, "repository_root", lambda: tmp_path)
    colab.refresh_all()
    copies = [tmp_path / path.relative_to(ROOT) for path in NOTEBOOKS]
    assert [copy.read_bytes() for copy in copies] == [path.read_bytes() for path in NOTEBOOKS]


def test_the_repositorys_address_stands_in_pyproject_alone():
    address = repository.repository_url()
    modules = (ROOT / "liverutils").rglob("*.py")
    assert [path.name for path in modules if address in path.read_text()] == []


# --- Every notebook ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_notebook_is_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []
    assert notebook.metadata.kernelspec.name == "python3"
    title = notebook.cells[0].source.splitlines()
    assert title[0].startswith("# ")
    assert title[2] == colab.colab_badge(path.relative_to(ROOT / "notebooks").as_posix())
    assert [cell.source for cell in cells_tagged(path, "setup")] == [colab.setup_cell()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_parameters_are_literals_with_a_comment(path):
    cells = cells_tagged(path, "parameters")
    assert len(cells) == 1 or (path in SOLUTIONS and not cells)
    for line in "\n".join(cell.source for cell in cells).splitlines():
        (statement,) = ast.parse(line).body
        ast.literal_eval(statement.value)
        (name,) = statement.targets
        assert name.id == name.id.lower()
        assert "  # " in line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_exercises_are_open_and_their_solutions_pass_the_same_checks(path):
    solution = path if path in SOLUTIONS else path.parent / "solutions" / path.name
    checks = [cell.source for cell in cells_tagged(path, "check")]
    assert len(checks) == len(cells_tagged(path, "exercise"))
    if path.name == "00_start.ipynb":  # The only notebook without exercises.
        assert not checks
        return
    assert checks == [cell.source for cell in cells_tagged(solution, "check")]
    folded = [
        cell.metadata.get("jupyter", {}).get("source_hidden")
        for cell in cells_tagged(path, "check")
    ]
    assert all(folded)


def run_notebook(notebook, parameters: dict, folder: Path) -> nbformat.NotebookNode:
    nbformat.write(notebook, folder / "in.ipynb")
    return papermill.execute_notebook(
        folder / "in.ipynb",
        folder / "out.ipynb",
        parameters,
        kernel_name="python3",
        progress_bar=False,
    )


def printed(cells: list[nbformat.NotebookNode]) -> list[str]:
    """Return what each cell printed."""
    outputs = [cell.get("outputs", []) for cell in cells]
    return ["".join(out["text"] for out in outs if "text" in out) for outs in outputs]


def with_wrong_answers(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Answer every exercise with a number, or a function of it, that none has for an answer."""
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            tree = ast.parse(cell.source)
            nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
            names = [node.id for node in nodes if isinstance(node.ctx, ast.Store)]
            functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
            cell.source = "\n".join(
                [f"{name} = -12345" for name in names if not functions]
                + [f"def {name}(*_):\n    return -12345" for name in functions]
            )
    return notebook


@pytest.mark.parametrize("name", ["01_ct_scans"])
@pytest.mark.parametrize(
    ("folder", "change", "verdict"),
    [
        (".", lambda notebook: notebook, "Not answered yet."),
        ("solutions", lambda notebook: notebook, "Right! "),
        ("solutions", with_wrong_answers, "Wrong: "),
    ],
)
def test_checks_tell_right_from_wrong(name, folder, change, verdict, data_dir, tmp_path):
    path = ROOT / "notebooks" / folder / f"{name}.ipynb"
    parameters = {
        "dataset": "phantom-smoke",
        "data_dir": str(data_dir),
        "gallery_dir": str(tmp_path),
    }
    declared = papermill.inspect_notebook(path)
    given = {key: value for key, value in parameters.items() if key in declared}
    ran = run_notebook(change(nbformat.read(path, as_version=4)), given, tmp_path)
    verdicts = printed([cell for cell in ran.cells if "check" in cell.metadata.tags])
    assert len(verdicts) == len(cells_tagged(path, "check")) >= 2
    assert all(text.startswith(verdict) for text in verdicts), verdicts


@pytest.mark.parametrize(
    ("dataset", "place", "facts"),
    [
        (
            "ircadb",
            "3Dircadb1.17",
            [
                "119 slices, spacing 0.743 × 0.743 × 1.6 mm",
                "orientation: RAS",
                "2 separate tumours",
            ],
        ),
        ("lits-png", "lits-png-8.zip", ["188 slices, spacing unknown", "These are grey values"]),
    ],
)
def test_the_first_notebook_shows_real_ct(dataset, place, facts, real_data, tmp_path):
    notebook = nbformat.read(ROOT / "notebooks" / "01_ct_scans.ipynb", as_version=4)
    parameters = {"data_dir": str(real_data / place), "gallery_dir": str(tmp_path / "gallery")}
    ran = run_notebook(notebook, {"dataset": dataset} | parameters, tmp_path)
    text = "\n".join(printed(ran.cells))
    assert [fact for fact in facts if fact not in text] == []
    tables = [
        out.data["text/plain"]
        for cell in ran.cells
        for out in cell.get("outputs", [])
        if "text/html" in out.get("data", {})
    ]
    assert ("1860.6" in tables[0]) == (dataset == "ircadb")
