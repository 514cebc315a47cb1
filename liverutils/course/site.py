"""The course's site, built offline from the executed copies: `make site`.

Everything that the site shows is first gathered in one folder, as Sphinx wants it: the pages of
`docs/`, the notebooks as they ran, and lists that are read from the source. Links between files of
the repository become links between pages, or to the repository's address where there is no page.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from liverutils.course.alt_texts import words_for_pictures
from liverutils.course.colab import BADGE_START
from liverutils.course.contents import Notebook, Part, read_contents
from liverutils.course.faults import Fault, read_faults
from liverutils.course.questions import as_markdown, put_into, read_questions
from liverutils.course.repository import repository_root, repository_url
from liverutils.figures import contact_sheets

ROOMS = (
    *("scans", "phantom", "sources", "slices", "models", "scoring", "runs"),
    *("training", "prediction", "figures", "course"),
)
MODULES = ("files", "parallel", "errors")
# Files of the repository that become pages, and under which name.
PAGES = {
    "logs/README.md": "results",
    "tests/benchmarks/README.md": "speed",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "data/README.md": "data",
}
SECTIONS = {
    "The course": ["parts/*"],
    "Using it": ["install", "your_scans", "model_card", "batch", "data", "faults"],
    "Results": ["results", "gallery", "speed"],
    "Reference": ["api/index", "architecture", "*"],
    "Taking part": ["teaching", "contributing", "changelog"],
}
# What is folded away, by the notebook cells' tags.
FOLDED = {
    "setup": "hide-cell",
    "check": "hide-cell",
    "parameters": "parameters",
    "injected-parameters": "hide-cell",
}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))|(<img\s[^>]*?src=\")([^\"]+)(\")")


def build_site(out: Path, names: Sequence[str] = (), api: bool = True) -> int:
    """Build the site; return Sphinx's exit status, which a single warning makes 1.

    Args:
        out: Folder of the site; beside it, `<out>-source` holds what Sphinx reads.
        names: Notebooks to show, such as "22_unet"; all by default.
        api: Whether to write the reference of the package, which imports all of it.
    """
    source = out.with_name(out.name + "-source")
    shutil.rmtree(source, ignore_errors=True)
    Gathering(source, names, api).write()
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    command += ["-j", "auto", "-d", str(source) + "-trees", str(source), str(out)]
    environment = os.environ | {"PYTHONPATH": str(repository_root()), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, check=False).returncode


class Gathering:
    """All that Sphinx reads, written into one folder."""

    def __init__(self, folder: Path, names: Sequence[str] = (), api: bool = True):
        self.folder, self.api, self.root = folder, api, repository_root()
        parts = [
            Part(p.name, p.title, [n for n in p.notebooks if not names or n.name in names])
            for p in read_contents()
        ]
        self.parts = [part for part in parts if part.notebooks]
        self.pages = self._pages()
        self.questions = read_questions()

    def _pages(self) -> dict[Path, str]:
        """Which file of the repository is shown on which page."""
        pages = {Path(path): page for path, page in PAGES.items() if (self.root / path).is_file()}
        for path in sorted((self.root / "docs").glob("*.md")):
            pages[path.relative_to(self.root)] = path.stem
        pages |= {Path("README.md"): "index", Path("images_gallery"): "gallery"}
        pages |= {Path("docs", f"{page}.md"): page for page in ("gallery", "faults")}
        pages |= {Path("docs", "parts", f"{p.name}.md"): f"parts/{p.name}" for p in self.parts}
        for part in self.parts:
            for notebook in part.notebooks:
                page = f"notebooks/{notebook.name}"
                pages |= {
                    notebook.path: page,
                    Path("notebooks", "solutions", notebook.path.name): page,
                }
                if notebook.executed:
                    pages[notebook.executed] = page
        return pages

    def write(self) -> None:
        """Write everything."""
        shutil.copytree(self.root / "docs" / "_static", self.folder / "_static")
        shutil.copy(self.root / "docs" / "conf.py", self.folder)
        for path, page in self.pages.items():
            if path.suffix == ".md" and page != "index" and (self.root / path).is_file():
                self._write(page, self.relink((self.root / path).read_text(), path, page))
        for part in self.parts:
            self._write(f"parts/{part.name}", self._part_page(part))
            for notebook in part.notebooks:
                self._write_notebook(notebook)
        self._write("gallery", self._gallery())
        self._write("faults", faults_page(read_faults()))
        if self.api:
            for page, text in api_pages().items():
                self._write(page, text)
        index = (self.root / "docs" / "index.md").read_text()
        index = self.relink(index, Path("docs", "index.md"), "index")
        self._write("index", index + "\n" + self._toctrees())

    def _write(self, page: str, text: str) -> None:
        path = self.folder / f"{page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def relink(self, text: str, origin: Path, page: str) -> str:
        """Turn the relative links of a file of the repository into links between pages.

        Args:
            text: Markdown.
            origin: The file it comes from, below the repository's root.
            page: The page that shows it.
        """

        def turned(found: re.Match) -> str:
            before, target, after = found.group(1, 2, 3) if found[1] else found.group(4, 5, 6)
            return before + self._target(target, origin, page) + after

        text = text.replace("```mermaid", "```text")  # Drawn by the forge, not by Sphinx.
        pieces = re.split(r"(^```.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
        return "".join(p if p.startswith("```") else LINK.sub(turned, p) for p in pieces)

    def _target(self, target: str, origin: Path, page: str) -> str:
        if re.match(r"[a-z]+:|#", target):
            return target
        name, _, anchor = target.partition("#")
        wanted = Path(os.path.normpath(origin.parent / name))
        depth = "../" * page.count("/")
        if wanted.suffix in (".png", ".svg", ".gif") and (self.root / wanted).is_file():
            copy = self.folder / "pictures" / wanted
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / wanted, copy)
            return f"{depth}pictures/{wanted}"
        if wanted in self.pages:
            there = self.pages[wanted]
            ending = ".ipynb" if there.startswith("notebooks/") else ".md"
            return f"{depth}{there}{ending}{'#' + anchor if anchor else ''}"
        return f"{repository_url()}/blob/main/{wanted}{'#' + anchor if anchor else ''}"

    def _write_notebook(self, notebook: Notebook) -> None:
        """A notebook as it ran, with set-up and checks folded and solutions behind a click."""
        source = notebook.executed or notebook.path
        ran = json.loads((self.root / source).read_text())
        if asked := self.questions.get(notebook.name):  # The copy may be older than they are.
            put_into(ran, as_markdown(asked))
        content = nbformat.reads(json.dumps(ran), as_version=4)
        page = f"notebooks/{notebook.name}"
        solutions = iter(self._solutions(notebook))
        cells = []
        for cell, words in zip(content.cells, words_for_pictures(content.cells), strict=True):
            tags = cell.metadata.get("tags", [])
            cell.metadata = {"tags": [FOLDED[tag] for tag in tags if tag in FOLDED]}
            if words:
                cell.metadata["mystnb"] = {"image": {"alt": words}}
            if cell.cell_type == "markdown":
                text = re.sub(rf"{re.escape(BADGE_START)}.*\n\n?", "", cell.source)
                cell.source = self.relink(text, notebook.path, page)
            cells.append(cell)
            if "check" in tags:
                cells.append(nbformat.v4.new_markdown_cell(_folded_solution(next(solutions, ""))))
        cells.insert(1, nbformat.v4.new_markdown_cell(self._provenance(notebook)))
        content.cells = cells
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content.metadata = {"kernelspec": kernel, "language_info": LANGUAGE}
        path = self.folder / f"{page}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(content, path)

    def _solutions(self, notebook: Notebook) -> list[str]:
        path = self.root / "notebooks" / "solutions" / notebook.path.name
        if not path.is_file():
            return []
        cells = nbformat.read(path, as_version=4).cells
        return [cell.source for cell in cells if "exercise" in cell.metadata.get("tags", [])]

    def _provenance(self, notebook: Notebook) -> str:
        """What the page shows: which run, or that nothing has run."""
        if notebook.executed is None:
            return "*Without outputs: no reference run of this notebook has been kept.*"
        return f"*With the outputs of the reference run `{notebook.run}`.*"

    def _part_page(self, part: Part) -> str:
        page = f"parts/{part.name}"
        words = self.root / "docs" / "parts" / f"{part.name}.md"
        text = words.read_text() if words.is_file() else f"# {part.title}\n"
        rows = ["| | notebook | what it is about |", "|---|---|---|"]
        for notebook in part.notebooks:
            link = f"[{notebook.name}](../notebooks/{notebook.name}.ipynb)"
            picture = self._thumbnail(notebook, page)
            rows.append(f"| {picture} | {link} | {notebook.about} |")
        names = "\n".join(f"../notebooks/{notebook.name}" for notebook in part.notebooks)
        tree = f"```{{toctree}}\n:hidden:\n\n{names}\n```"
        return "\n\n".join(
            [self.relink(text, Path("docs", f"{page}.md"), page), "\n".join(rows), tree]
        )

    def _thumbnail(self, notebook: Notebook, page: str) -> str:
        if not (self.root / notebook.thumbnail).is_file():
            return ""
        target = self._target(str(notebook.thumbnail), Path("README.md"), page)
        return f"![{notebook.about}]({target})"

    def _gallery(self) -> str:
        text = [
            "# Gallery",
            "Held-out patients as each network segments them: image, truth, prediction.",
        ]
        drawn = contact_sheets(self.root / "images_gallery", self.root / "logs")
        for run, sheet in drawn.items():
            target = self._target(str(sheet.relative_to(self.root)), Path("README.md"), "gallery")
            alt = f"Held-out patients of the run {run}: image, truth, prediction"
            text += [f"## {run}", f"![{alt}]({target})"]
        return "\n\n".join(text)

    def _toctrees(self) -> str:
        """The site's table of contents: every page of `SECTIONS` that is there, each once."""
        pages = {path.relative_to(self.folder).with_suffix("").as_posix()
                 for path in self.folder.rglob("*.md")}  # fmt: skip
        pages |= {"api/index"} if self.api else set()
        ordered = [f"parts/{part.name}" for part in self.parts]
        named = {page for section in SECTIONS.values() for page in section}
        others = sorted(p for p in pages - named - {"index"} if "/" not in p)
        trees = []
        for title, wanted in SECTIONS.items():
            listed = [
                page
                for name in wanted
                for page in {"parts/*": ordered, "*": others}.get(name, [name])
                if page in pages
            ]
            entries = "\n".join(listed)
            trees.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```")
        return "\n\n".join(trees)


def _folded_solution(source: str) -> str:
    if not source:
        return ""
    return f"<details>\n<summary>A solution</summary>\n\n```python\n{source}\n```\n\n</details>"


def faults_page(faults: Sequence[Fault]) -> str:
    """Return the page that lists every fault with what to do."""
    text = [
        "# Faults, and what to do",
        "What cannot be used gets one sentence that says what is wrong, where, and what to do. "
        "Each such fault has a name, which `liverutils verify` and slice stores list. `‹…›` stands "
        "for what differs from case to case. A *warning* does not stop anything.",
    ]
    for fault in faults:
        text.append(f"## {fault.name}")
        places = ", ".join(f"`{module}`" for module in fault.modules)
        text.append(f"*{fault.severity}, found in {places}.* {fault.meaning}")
        text += [f"- {sentence}" for sentence in fault.sentences]
    return "\n\n".join(text)


def api_pages() -> dict[str, str]:
    """Return a page for each room of the package, and their index."""
    face = "\n   :imported-members:"
    pages = {
        f"api/{room}": f"# {room}\n\n```{{eval-rst}}\n.. automodule:: liverutils.{room}"
        f"{'' if room in MODULES else face}\n```"
        for room in (*ROOMS, *MODULES)
    }
    rooms = "\n".join((*ROOMS, *MODULES))
    pages["api/index"] = (
        "# The package\n\nThe package reads as the journey of a scan, room by room; imports run "
        "one way, from the rooms further down this list to those above them. From outside, all "
        "is imported from a room itself, such as `from liverutils.slices import SliceStore`.\n\n"
        f"```{{toctree}}\n\n{rooms}\n```"
    )
    return pages


def main() -> None:
    """Build the site into `build/site`."""
    parser = argparse.ArgumentParser("python -m liverutils.course.site", description=__doc__)
    parser.add_argument("--out", type=Path, default=repository_root() / "build" / "site")
    parser.add_argument("--notebooks", nargs="*", default=(), help="only these; default: all")
    options = parser.parse_args()
    sys.exit(build_site(options.out.resolve(), options.notebooks))


if __name__ == "__main__":
    main()
