"""Every picture has words: the figure's own, kept beside it, or its section's."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest

from liverutils.course.alt_texts import words_for_pictures
from liverutils.figures.alt_text import LONGEST, alt_text

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_words_are_titles_axes_and_legends():
    figure, (left, right, empty) = plt.subplots(1, 3)
    figure.suptitle("Run UNet")
    left.plot([3, 1], label="training")
    left.plot([3, 2], label="validation")
    left.set(title="It learns", xlabel="epoch", ylabel="loss")
    left.legend()
    drawn = right.imshow(np.eye(2))
    right.set_title("slice 3")
    figure.colorbar(drawn)
    empty.set_axis_off()
    assert alt_text(figure) == (
        "Run UNet; 2 panels; It learns, loss against epoch, with training, validation; "
        "slice 3, picture"
    )


def test_many_panels_stay_short_enough_to_be_listened_to():
    figure, axes = plt.subplots(5, 5)
    for number, ax in enumerate(axes.flat):
        ax.imshow(np.eye(2))
        ax.set_title(f"patient {number}, liver 0.9, tumour 0.5")
    words = alt_text(figure)
    assert words.startswith("25 panels; patient 0") and len(words) <= LONGEST
    assert words.endswith("…")


def test_a_drawing_without_words_is_called_so():
    assert alt_text(plt.figure()) == "a drawing without words"


@pytest.mark.slow
def test_a_notebook_keeps_the_words_beside_the_picture():
    start = "import matplotlib.pyplot as plt\nfrom liverutils import figures"
    draw = "figures.use_style()\nplt.plot([1, 2])\nplt.title('Up')\nplt.show()"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code) for code in (start, draw, draw)]
    )
    nbclient.NotebookClient(notebook).execute()
    for cell in notebook.cells[1:]:
        assert cell.outputs[0].metadata["image/png"]["alt"] == "Up"
    assert list(words_for_pictures(notebook.cells)) == ["", "Up", "Up"]


def test_a_picture_of_an_older_copy_is_named_by_its_section_and_what_drew_it():
    picture = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
    cells = [
        {"cell_type": "markdown", "source": "# UNet\n\n## 3 Where *it* fails\n\nText."},
        {"cell_type": "code", "source": "print(1)", "outputs": []},
        {"cell_type": "code", "source": "show_slices(x)\nplt.show()", "outputs": [picture]},
    ]
    assert list(words_for_pictures(cells)) == [
        "",
        "",
        "Picture in the section “3 Where it fails”, from show_slices",
    ]


def test_no_picture_of_the_executed_copies_is_without_words():
    count = 0
    for path in sorted((ROOT / "logs").glob("*/*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        for cell in cells:
            cell["source"] = "".join(cell["source"])
        for cell, words in zip(cells, words_for_pictures(cells), strict=True):
            pictures = [o for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})]
            assert bool(words) == bool(pictures), path.name
            count += len(pictures)
    assert count > 100
