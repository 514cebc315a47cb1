"""The house: imports run one way, names are public where they are used, no module is too long."""

import ast
import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from liverutils.course.architecture import ROOMS as DRAWN
from liverutils.course.architecture import draw

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "liverutils"
MODULES = sorted(PACKAGE.rglob("*.py"))
CONTRACT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
LAYERS = CONTRACT["contracts"][0]["layers"]
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi"))
NOTEBOOKS = sorted((REPOSITORY / "notebooks").rglob("*.ipynb"))
MOST_LINES = 350
MOST_LINES_OF_IMPORTS = 12
# A notebook imports in the order of its story; what is used from several rooms stands together.
STORY = ("course", "scans", "phantom", "sources", "slices", "prediction", "", "runs")


def code_cells(notebook: Path) -> list[str]:
    """The code of a notebook's cells, those apart that install or set up."""
    cells = json.loads(notebook.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return ["".join(c["source"]) for c in code if "setup" not in c["metadata"].get("tags", [])]


def imports_of(tree: ast.AST) -> list[ast.ImportFrom]:
    """What a piece of code imports by name from the package."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [node for node in found if (node.module or "").split(".")[0] == "liverutils"]


def private_names(tree: ast.AST) -> list[str]:
    """Private names and modules that a piece of code imports from the package."""
    return [
        f"{node.module}.{alias.name}"
        for node in imports_of(tree)
        for alias in node.names
        if any(part.startswith("_") for part in [*node.module.split("."), alias.name])
    ]


def import_cell(notebook: Path) -> str | None:
    """The cell that imports what the whole notebook uses, known by the style it sets."""
    return next((c for c in code_cells(notebook) if "figures.use_style()" in c), None)


def test_imports_run_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_no_module_imports_a_private_name():
    found = {path.name: private_names(ast.parse(path.read_text())) for path in MODULES}
    assert {name: names for name, names in found.items() if names} == {}


def test_no_notebook_imports_a_private_name():
    for notebook in NOTEBOOKS:
        for cell in code_cells(notebook):
            if "liverutils" in cell and not cell.lstrip().startswith(("%", "!")):
                assert private_names(ast.parse(cell)) == [], notebook.name


def test_a_private_name_would_be_found():
    assert private_names(ast.parse("from liverutils.scans.verify import CHECKS, _inspect")) == [
        "liverutils.scans.verify._inspect"
    ]


def test_a_long_module_says_in_its_first_line_what_holds_it_together():
    for path in MODULES:
        text = path.read_text()
        if len(text.splitlines()) > MOST_LINES:
            first_line = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
            assert "One subject" in first_line, f"{path.name} has more than {MOST_LINES} lines"


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_of_a_face_are_there_and_none_is_that_of_a_module(room):
    face = import_module(f"liverutils.{room}")
    names = set(face.__all__)
    assert names and all(getattr(face, name) is not None for name in names)
    assert not names & {path.stem for path in (PACKAGE / room).glob("*.py")}
    assert not names & set(ROOMS)


def test_every_room_has_a_face():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_briefly_and_in_the_order_of_its_story(notebook):
    cell = import_cell(notebook)
    if cell is None:
        assert notebook.parent.name == "solutions"
        return
    assert len([line for line in cell.splitlines() if line.strip()]) <= MOST_LINES_OF_IMPORTS
    rooms = [node.module.partition(".")[2].split(".")[0] for node in imports_of(ast.parse(cell))]
    assert rooms == sorted(rooms, key=STORY.index)
    assert not any(alias.name == "*" for n in imports_of(ast.parse(cell)) for alias in n.names)


WITHOUT_UNIX = """
import builtins, importlib, pkgutil, sys
import liverutils

imported = builtins.__import__

def refuse(name, globals=None, *others, **named):
    importer = (globals or {}).get("__name__", "")
    if name in ("fcntl", "resource") and importer.startswith("liverutils"):
        raise ModuleNotFoundError(name)
    return imported(name, globals, *others, **named)

builtins.__import__ = refuse
for module in pkgutil.walk_packages(liverutils.__path__, "liverutils."):
    importlib.import_module(module.name)
from liverutils.runs.machine import peak_memory_mb
assert peak_memory_mb()["process"] > 50
"""


@pytest.mark.slow
def test_nothing_needs_what_windows_lacks():
    """The package alone is kept from it: other packages have ways of their own on each system."""
    subprocess.run([sys.executable, "-c", WITHOUT_UNIX], check=True)


def test_the_picture_of_the_rooms_is_fresh():
    assert (REPOSITORY / "docs" / "architecture.svg").read_text() == draw()
    assert list(DRAWN) == [room for room in reversed(LAYERS) if room in ROOMS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_variable_of_a_notebook_hides_a_room(path):
    rooms, set_names = set(), set()
    for tree in map(ast.parse, code_cells(path)):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "liverutils":
                rooms |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                set_names.add(node.id)
    assert not rooms & set_names
