"""Slides from executed notebooks' figures: `python -m liverutils.course.slides FOLDER`."""

import argparse
import base64
import re
from pathlib import Path

import nbformat

from liverutils.course.contents import Notebook, read_contents
from liverutils.course.repository import repository_root


def write_slides(folder: Path) -> list[Path]:
    """Write for every notebook that has run its figures, and a Markdown file with one per slide.

    A slide's title is the heading that stands above the figure; `---` parts slides.
    """
    notebooks = [notebook for part in read_contents() for notebook in part.notebooks]
    return [_write(notebook, folder) for notebook in notebooks if notebook.executed]


def _write(notebook: Notebook, folder: Path) -> Path:
    pictures = folder / notebook.name
    pictures.mkdir(parents=True, exist_ok=True)
    heading, slides = notebook.name, [f"# {notebook.name}\n\n{notebook.about}"]
    for cell in nbformat.read(repository_root() / str(notebook.executed), as_version=4).cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.M) or [heading])[-1]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = pictures / f"{len(slides):02d}.png"
                picture.write_bytes(base64.b64decode("".join(output["data"]["image/png"])))
                slides.append(f"## {heading}\n\n![{heading}]({notebook.name}/{picture.name})")
    path = folder / f"{notebook.name}.md"
    path.write_text("\n\n---\n\n".join(slides) + "\n")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m liverutils.course.slides", description=__doc__)
    parser.add_argument("folder", type=Path)
    print(f"{len(write_slides(parser.parse_args().folder))} files of slides")
