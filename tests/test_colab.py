"""The set-up cell on a machine like Google Colab's: it adds what is missing and changes nothing."""

import json
import os
import subprocess
import tomllib
import venv
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from liverutils.course.repository import repository_url

REPOSITORY = Path(__file__).parent.parent
FREEZE = Path(__file__).with_name("colab_freeze.txt")
SHIPPED = ["torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib"]
SHIPPED += ["ipywidgets", "ipykernel", "ipython", "anywidget", "fastai", "scipy", "timm"]
CONTENT = Path("/content")


def test_what_colab_ships_is_recent_enough():
    """Else pip could not keep what is there, and the set-up cell would fail."""
    shipped = dict(line.split("==") for line in FREEZE.read_text().splitlines() if "==" in line)
    shipped = {canonicalize_name(name): version for name, version in shipped.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"])}
    both = asked.keys() & shipped.keys()
    assert {"torch", "numpy", "anywidget", "ipywidgets"} <= both
    assert [name for name in both if shipped[name] not in asked[name].specifier] == []


@pytest.fixture
def colab(tmp_path) -> Path:
    """A virtual environment with what Colab ships and a stand-in for its own module."""
    if "LIVER_CT_TEST_COLAB" not in os.environ:
        pytest.skip("takes 6 GB and some minutes: set LIVER_CT_TEST_COLAB=1")
    if CONTENT.exists():
        pytest.skip("there is a folder /content here that is not ours to fill")
    folder = tmp_path / "colab"
    venv.create(folder, with_pip=True)
    pip(folder, "install", "--quiet", "--constraint", str(FREEZE), *SHIPPED, "nbclient")
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    CONTENT.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", CONTENT], check=True)


def pip(folder: Path, *arguments: str) -> str:
    command = [folder / "bin" / "python", "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def versions(folder: Path) -> dict[str, str]:
    listed = json.loads(pip(folder, "list", "--format=json"))
    return {package["name"]: package["version"] for package in listed}


@pytest.mark.slow
def test_set_up_changes_no_version_and_the_imports_work(colab, tmp_path):
    cells = nbformat.read(REPOSITORY / "notebooks" / "22_unet.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    start = nbformat.v4.new_code_cell("import google.colab")
    notebook = nbformat.v4.new_notebook(cells=[start, *code[:2]])
    path = tmp_path / "set_up.ipynb"
    nbformat.write(notebook, path)
    before = versions(colab)
    from_here = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{REPOSITORY.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository_url(),
        "PATH": f"{colab / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    run = (
        "import nbformat, nbclient;"
        f"nbclient.NotebookClient(nbformat.read({str(path)!r}, 4), timeout=1200).execute()"
    )
    done = subprocess.run(
        [colab / "bin" / "python", "-c", run],
        env=os.environ | from_here,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    after = versions(colab)
    assert {name: after[name] for name in before} == before
    assert "liverutils" in after and "monai" in after
