"""The course's table of contents: its parts, their notebooks, and where each has run.

`python -m liverutils.course.contents` draws the thumbnails anew from the executed copies.
"""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image, ImageOps

from liverutils.course.repository import repository_root
from liverutils.files import written_aside
from liverutils.runs import choose, read_catalogue

THUMBNAIL_PIXELS = (160, 100)


@dataclass(frozen=True)
class Notebook:
    """One notebook of the course.

    Attributes:
        name: Its file's name without the ending, such as "22_unet".
        about: What it is about, in a few words.
        run: Its run in the core set, such as "UNet"; empty where it has none.
        figure: Which picture of the executed copy becomes the thumbnail, from 0.
    """

    name: str
    about: str
    run: str
    figure: int | None

    @property
    def path(self) -> Path:
        """The notebook, without outputs, below the repository's root."""
        return Path("notebooks", f"{self.name}.ipynb")

    @property
    def thumbnail(self) -> Path:
        """Its small picture, below the repository's root."""
        return Path("docs", "thumbnails", f"{self.name[:2]}.png")

    @property
    def executed(self) -> Path | None:
        """The executed copy of its reference run, below the root; None where there is none."""
        return executed_copy(self.run) if self.run else None


@dataclass(frozen=True)
class Part:
    """One part of the course: a name for files, a title, and its notebooks as they are taught."""

    name: str
    title: str
    notebooks: list[Notebook]


def read_contents() -> list[Part]:
    """Read `docs/notebooks.yaml`; return the parts as they are taught."""
    root = repository_root()
    catalogue = read_catalogue(root / "notebooks" / "runs.yaml", "cpu")
    runs = {run.notebook.stem: run.name for run in choose(catalogue, "core")}
    content = yaml.safe_load((root / "docs" / "notebooks.yaml").read_text())
    parts = [
        Part(
            name,
            part["title"],
            [
                Notebook(notebook, facts["about"], runs.get(notebook, ""), facts.get("figure"))
                for notebook, facts in part["notebooks"].items()
                if (root / "notebooks" / f"{notebook}.ipynb").is_file()
            ],
        )
        for name, part in content.items()
    ]
    return [part for part in parts if part.notebooks]


def executed_copy(run: str) -> Path | None:
    """Return the executed copy of a reference run, below the root; None where there is none."""
    root = repository_root()
    for path in (Path("logs", run, f"{run}.ipynb"), Path("logs", "notebooks", f"{run}.ipynb")):
        if (root / path).is_file():
            return path
    return None


def draw_thumbnails() -> None:
    """Write a small picture of every notebook that has run."""
    root = repository_root()
    for part in read_contents():
        for notebook in part.notebooks:
            if notebook.executed is None or notebook.figure is None:
                continue
            picture = _pictures(root / notebook.executed)[notebook.figure]
            small = ImageOps.pad(picture, THUMBNAIL_PIXELS, color="white")
            (root / notebook.thumbnail).parent.mkdir(exist_ok=True)
            with written_aside(root / notebook.thumbnail) as aside:
                small.quantize(32).save(aside, format="PNG", optimize=True)


def _pictures(notebook: Path) -> list[Image.Image]:
    """All pictures among the outputs of an executed notebook."""
    encoded = [
        output["data"]["image/png"]
        for cell in json.loads(notebook.read_text())["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    pictures = [Image.open(io.BytesIO(base64.b64decode("".join(text)))) for text in encoded]
    return [picture.convert("RGB") for picture in pictures]


if __name__ == "__main__":
    draw_thumbnails()
