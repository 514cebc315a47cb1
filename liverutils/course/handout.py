"""Notebooks to hand out: without solutions, with checks that also note their verdicts for grading.

`python -m liverutils.course.handout` writes them (`make handout`); with `--grades FOLDER` it reads
what a class has sent back.
"""

import argparse
import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from liverutils.course.exercises import check
from liverutils.course.repository import repository_root
from liverutils.files import written_aside

VERDICTS = {"Right": "right", "Wrong": "wrong", "Not answered": "open"}


class Record:
    """Notes in a JSON file how each exercise of a notebook went.

    Args:
        path: The file: exercise → last verdict ("right", "wrong" or "open") and number of tries.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def of(self, exercise: int) -> Callable[..., None]:
        """Return a `check` that says what `check` says and notes it."""

        def check_and_note(*answers: Any, **options: Any) -> None:
            said = io.StringIO()
            with redirect_stdout(said):
                check(*answers, **options)
            print(said.getvalue(), end="")
            self._note(
                exercise, next(v for k, v in VERDICTS.items() if said.getvalue().startswith(k))
            )

        return check_and_note

    def _note(self, exercise: int, verdict: str) -> None:
        noted = json.loads(self.path.read_text()) if self.path.is_file() else {}
        tries = noted.get(str(exercise), {}).get("tries", 0) + (verdict != "open")
        noted[str(exercise)] = {"verdict": verdict, "tries": tries}
        with written_aside(self.path) as aside:
            aside.write_text(json.dumps(noted, indent=1))


def write_handout(folder: Path) -> list[Path]:
    """Write every notebook with exercises into a folder; return the files."""
    written = []
    for path in sorted((repository_root() / "notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        checks = [c for c in notebook.cells if "check" in c.metadata.get("tags", [])]
        if not checks:
            continue
        for number, cell in enumerate(checks, 1):
            cell.source = re.sub(r"^check\(", f"record.of({number})(", cell.source, flags=re.M)
        first = notebook.cells.index(checks[0])
        lines = ["from liverutils.course.handout import Record", ""]
        lines += [f'record = Record("{path.stem}.answers.json")  # hand this file in']
        notebook.cells.insert(first, nbformat.v4.new_code_cell("\n".join(lines)))
        written.append(folder / path.name)
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(written[-1]) as aside:
            nbformat.write(notebook, aside)
    return written


def read_grades(folder: Path) -> pd.DataFrame:
    """Return what a class has sent back: one row per file of answers in the folder and below."""
    rows = []
    for path in sorted(folder.rglob("*.answers.json")):
        verdicts = pd.DataFrame.from_dict(json.loads(path.read_text()), orient="index")
        counts = verdicts.verdict.value_counts().reindex([*VERDICTS.values()], fill_value=0)
        rows.append(
            {"file": path.relative_to(folder).as_posix(), **counts, "tries": verdicts.tries.sum()}
        )
    return pd.DataFrame(rows, columns=["file", *VERDICTS.values(), "tries"])


def main() -> None:
    """Write the handout, or read the grades."""
    parser = argparse.ArgumentParser("python -m liverutils.course.handout", description=__doc__)
    parser.add_argument("--out", type=Path, default=repository_root() / "build" / "handout")
    parser.add_argument("--grades", type=Path, help="folder of files that a class has sent back")
    options = parser.parse_args()
    if options.grades:
        print(read_grades(options.grades).to_string(index=False))
    else:
        print(f"{len(write_handout(options.out))} notebooks in {options.out}")


if __name__ == "__main__":
    main()
