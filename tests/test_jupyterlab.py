"""Notebooks in a real JupyterLab: headless Chromium runs them and moves the slice viewer."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import papermill
import pytest

from liverutils.course import repository_root
from liverutils.phantom import make_cohort

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS, RUN_MS = 60, 240_000
VIEWER_NOTEBOOK = "01_ct_scans.ipynb"
NOTEBOOKS = (VIEWER_NOTEBOOK, "22_unet.ipynb")

# JupyterLab draws only the cells in sight, so the outputs are read from its model.
CODE_CELLS = """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells
    .map(cell => cell.toJSON()).filter(cell => cell.cell_type == 'code')"""
ALL_RAN = f"() => ({CODE_CELLS})().every(cell => cell.execution_count)"
SHOW_CELL = """start => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const index = notebook.widgets.findIndex(
        cell => cell.model.sharedModel.source.startsWith(start));
    notebook.activeCellIndex = index;
    return notebook.scrollToItem(index, 'start');
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(params=[VIEWER_NOTEBOOK])
def lab(request, tmp_path: Path) -> Iterator[str]:
    """Address of a notebook in a JupyterLab that serves a copy with a tiny phantom."""
    notebook = repository_root() / "notebooks" / request.param
    smoke = {
        "dataset": "phantom-smoke",
        "data_dir": str(tmp_path / "data"),
        "gallery_dir": str(tmp_path / "gallery"),
        "logs_dir": str(tmp_path / "logs"),
        "image_size": 64,
        "patch_size": 32,
        "epochs": 2,
        "width": 8,
    }
    declared = papermill.inspect_notebook(notebook)
    make_cohort("phantom-smoke", tmp_path / "data" / "phantom-smoke" / "raw", progress=False)
    (tmp_path / "served").mkdir()
    papermill.execute_notebook(
        notebook,
        tmp_path / "served" / notebook.name,
        {name: value for name, value in smoke.items() if name in declared},
        prepare_only=True,
    )
    folders = ("RUNTIME_DIR", "CONFIG_DIR", "DATA_DIR")
    own = {f"JUPYTER_{folder}": str(tmp_path / folder.lower()) for folder in folders}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    options = ["--ServerApp.port=0", "--expose-app-in-browser"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [*command, *options], cwd=tmp_path / "served", env=os.environ | own, stderr=log
        )
    try:
        facts = _wait_for_server(tmp_path / "runtime_dir", server)
        yield f"{facts['url']}lab/tree/{notebook.name}?token={facts['token']}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for_server(folder: Path, server: subprocess.Popen) -> dict:
    for _ in range(START_SECONDS):
        assert server.poll() is None, "JupyterLab ended at once"
        for facts in folder.glob("jpserver-*.json"):
            return json.loads(facts.read_text())
        time.sleep(1)
    raise TimeoutError(f"JupyterLab did not start within {START_SECONDS} s")


@pytest.fixture
def page(lab: str) -> Iterator["sync_api.Page"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(lab)
        yield page
        browser.close()


@pytest.mark.parametrize("lab", NOTEBOOKS, indirect=True)
def test_all_cells_run_and_show_pictures(page):
    outputs = _run_all_cells(page)
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5


def test_the_slice_viewer_moves(page):
    _run_all_cells(page)
    page.evaluate(SHOW_CELL, "figures.view_case(")
    picture, slider = page.locator("img.widget-image"), page.locator(".noUi-handle").first
    readout = page.locator(".widget-readout").first
    before = picture.screenshot(), int(readout.inner_text())
    slider.press("ArrowRight")
    sync_api.expect(readout).to_have_text(str(before[1] + 1))
    after_slice = _changed(picture, before[0])

    assert f"slice {before[1] + 1}," in picture.get_attribute("alt")
    picture.hover()
    page.mouse.wheel(0, 120)
    sync_api.expect(readout).to_have_text(str(before[1]))
    assert picture.bounding_box()["height"] <= 520
    assert page.locator(".widget-slider").first.bounding_box()["width"] >= 600
    after_slice = _changed(picture, after_slice)

    page.get_by_label("truth").click()
    after_mask = _changed(picture, after_slice)
    page.get_by_role("button", name="coronal").click()
    _changed(picture, after_mask)


def test_the_questions_answer_to_a_click(page):
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.evaluate(SHOW_CELL, "## Questions")
    answer = page.locator("details").first
    said = answer.locator("p")
    sync_api.expect(said).to_be_hidden()
    answer.locator("summary").click()
    sync_api.expect(said).to_be_visible()
    assert said.inner_text().startswith(("Right.", "No."))


def _run_all_cells(page) -> list[dict]:
    """Run the notebook to its end; return all outputs."""
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(ALL_RAN, timeout=RUN_MS)
    return [output for cell in page.evaluate(CODE_CELLS) for output in cell["outputs"]]


def _changed(picture, before: bytes) -> bytes:
    for _ in range(50):
        if (now := picture.screenshot()) != before:
            return now
        time.sleep(0.2)
    raise AssertionError("the picture did not change")
