"""What only the notebooks need: where they lie, their data, Colab, and checks of exercises.

`python -m liverutils.course` writes the Colab badge and the set-up cell into every notebook.
"""

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

from liverutils.compare import Run
from liverutils.datasets.phantom import COHORTS, make_cohort
from liverutils.datasets.sources import CaseFiles, find_cases
from liverutils.datasets.store import SliceStore, build_store
from liverutils.datasets.volumes import Case, View
from liverutils.errors import BadInput
from liverutils.files import written_aside

BADGE_START = "[![Open in Colab]"

SETUP_CELL = """\
import sys

if "google.colab" in sys.modules:  # installs what Colab lacks and touches nothing it has
    %cd -q /content
    !test -d {folder} || git clone --quiet --depth 1 {url}
    %cd -q {folder}
    !pip list --format=freeze > /tmp/installed.txt
    !pip install --quiet --constraint /tmp/installed.txt ."""


# --- Paths and data ---------------------------------------------------------------------------


def repository_root() -> Path:
    """Return the repository's folder, wherever the notebook was started.

    Raises:
        BadInput: The package was installed away from the repository, and the notebook too was
            started outside.
    """
    for folder in (Path(__file__).parents[1], Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "solutions").is_dir():
            return folder
    raise BadInput(
        f"{Path.cwd()} is not inside the course's repository: start Jupyter or papermill there.",
        fault="no_repository",
    )


def resolve(path: str | Path) -> Path:
    """Return an absolute path; a relative one is taken from the repository's root."""
    return repository_root() / Path(path).expanduser()


def find_course_cases(dataset: str, data_dir: str | Path) -> list[CaseFiles]:
    """List the scans of a notebook's `dataset`; a phantom cohort is made on the first call.

    Args:
        dataset: One of `sources.SOURCES`, among them the phantom cohorts.
        data_dir: For a phantom the folder of all data sets, which gets `<dataset>/raw`; otherwise
            the folder or archive of the data set itself.

    Raises:
        BadInput: As `sources.find_cases`.
    """
    raw = resolve(data_dir)
    if dataset in COHORTS:
        raw = make_cohort(dataset, raw / dataset / "raw")
    return find_cases(dataset, raw)


def load_patient(cases: list[CaseFiles], patient: str = "") -> Case:
    """Read the scan of `patient`, which must have labels.

    Args:
        cases: The scans to choose from.
        patient: Name of a patient; if empty, the one in the middle of the list.

    Raises:
        BadInput: There is no such patient, or no labels; what `CaseFiles.load` raises.
    """
    names = [case.patient for case in cases]
    if patient and patient not in names:
        raise BadInput(
            f"There is no patient {patient!r}; choose one of {', '.join(names)}.",
            fault="unknown_patient",
        )
    case = cases[names.index(patient) if patient else len(cases) // 2].load()
    if case.mask is None or not case.mask.any():
        raise BadInput(
            f"Nobody has drawn the liver of {case.patient}: choose a patient with labels.",
            fault="no_labels",
        )
    return case


def open_course_store(
    dataset: str, data_dir: str | Path, view: View, image_size: int
) -> SliceStore:
    """Open the slice store of a notebook's `dataset`, built in `data/` on the first call.

    Args:
        dataset: As for `find_course_cases`.
        data_dir: As for `find_course_cases`.
        view: The axis to cut along.
        image_size: Side of the square pictures in pixels.

    Raises:
        BadInput: As `sources.find_cases` and `store.build_store`.
    """
    folder = resolve(f"data/{dataset}/{view}-{image_size}")
    cases = find_course_cases(dataset, data_dir)
    return build_store(cases, folder, view=view, size=image_size)


# --- Results ----------------------------------------------------------------------------------


def show_runs(
    draw: Callable[[dict[str, Run]], Any],
    runs: Mapping[str, Run],
    names: Iterable[str],
    *needs: str,
    at_least: int = 1,
) -> None:
    """Show a table or figure of some runs, and say in one line which are missing.

    Args:
        draw: Makes it of the runs found, in the order of `names`.
        runs: From `compare.load_runs`.
        names: The runs wanted; one in a sub-folder, `a/UNet`, is found as `UNet`.
        needs: What each must have logged, as `Run.has` takes it; a run that lacks it is missing.
        at_least: With fewer runs nothing is shown.
    """
    found, missing = {}, []
    for name in names:
        alike = [run for run in runs if name in (run, run.rsplit("/", 1)[-1])]
        logged = {run: runs[run] for run in alike if runs[run].has(*needs)}
        found |= logged
        missing += [] if logged else [name]
    if missing:
        missing = dict.fromkeys(name.rsplit("/", 1)[-1] for name in missing)
        display(Markdown(f'*Not in these logs:* `make run RUNS="{" ".join(missing)}"`'))
    if len(found) >= at_least:
        display(draw(found))
        # Or the notebook would show a figure again at the end of the cell.
        plt.close()


# --- Exercises --------------------------------------------------------------------------------


def check(
    answer: Any,
    expected: Any,
    *,
    tolerance: float = 0.01,
    why: str = "",
    hint: str = "",
    mistakes: Mapping[str, Any] | None = None,
) -> None:
    """Print whether an exercise's answer is right, and why or why not.

    Args:
        answer: A number, an array, a text or a set. `...` or None, also inside a tuple or list, is
            not answered yet, so that a notebook nobody has answered still runs through.
        expected: The right answer.
        tolerance: Relative; for numbers and arrays.
        why: The reason, told with a right answer.
        hint: Told with a wrong answer that is none of `mistakes`.
        mistakes: What went wrong, as a sentence → the wrong answer it leads to.
    """
    parts = answer if isinstance(answer, tuple | list) else [answer]
    if any(part is None or part is ... for part in parts):
        print("Not answered yet. Put your answer in the place of the dots, and run both cells.")
    elif _agree(answer, expected, tolerance):
        print(f"Right! {why}")
    else:
        known = (s for s, wrong in (mistakes or {}).items() if _agree(answer, wrong, tolerance))
        print(f"Wrong: {next(known, None) or f'{_describe_difference(answer, expected)} {hint}'}")


def _agree(answer: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, str):
        return str(answer).strip().casefold() == expected.casefold()
    if not _is_numeric(expected):
        return answer == expected
    return (
        _is_numeric(answer)
        and np.shape(answer) == np.shape(expected)
        and np.allclose(answer, expected, rtol=tolerance, atol=1e-12, equal_nan=True)
    )


def _is_numeric(value: Any) -> bool:
    return not isinstance(value, set) and np.asarray(value).dtype.kind in "biuf"


def _describe_difference(answer: Any, expected: Any) -> str:
    """Say how an answer is wrong without giving the right one away."""
    if not _is_numeric(expected) or isinstance(expected, bool | np.bool_):
        return f"{answer!r} is not it."
    if not _is_numeric(answer):
        return f"{answer!r} is a {type(answer).__name__}, a number or array is expected."
    if np.shape(answer) != np.shape(expected):
        return f"the shape is {np.shape(answer)}, {np.shape(expected)} is expected."
    if np.shape(expected):
        share = np.mean(~np.isclose(answer, expected, equal_nan=True))
        return f"{share:.1%} of the elements differ."
    if np.isnan(answer):
        return "nan is not a number."
    return f"{answer:.4g} is too {'large' if answer > expected else 'small'}."


# --- Colab ------------------------------------------------------------------------------------


def repository_url() -> str:
    """Return the repository's address, which stands in pyproject.toml alone."""
    project = tomllib.loads((repository_root() / "pyproject.toml").read_text())["project"]
    return project["urls"]["Repository"]


def colab_badge(notebook: str) -> str:
    """Return the badge that opens `notebook`, a path below notebooks/ such as "22_unet.ipynb"."""
    page = repository_url().replace(
        "https://github.com/", "https://colab.research.google.com/github/"
    )
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"{BADGE_START}({picture})]({page}/blob/main/notebooks/{notebook})"


def setup_cell() -> str:
    """Return the source of every notebook's set-up cell, which does nothing outside Colab.

    Colab's own torch and numpy stay: whatever is installed is a constraint for pip, which installs
    what is missing or, where that does not fit, fails and says what does not.
    """
    url = repository_url()
    return SETUP_CELL.format(url=url, folder=url.rsplit("/", 1)[1])


def refresh_notebook(path: Path) -> None:
    """Put the badge below the title and the source into the cell tagged `setup`, on disk."""
    notebook = json.loads(path.read_text())
    title, *rest = "".join(notebook["cells"][0]["source"]).splitlines()
    while rest and (not rest[0] or rest[0].startswith(BADGE_START)):
        rest.pop(0)
    name = path.resolve().relative_to(repository_root() / "notebooks").as_posix()
    _set_source(notebook["cells"][0], "\n".join([title, "", colab_badge(name), "", *rest]).strip())
    for cell in notebook["cells"]:
        if "setup" in cell["metadata"].get("tags", []):
            _set_source(cell, setup_cell())
    with written_aside(path) as aside:
        aside.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def _set_source(cell: dict[str, Any], source: str) -> None:
    cell["source"] = source.splitlines(keepends=True)


def refresh_all() -> None:
    """Refresh every notebook of the course and its solutions."""
    for path in sorted((repository_root() / "notebooks").rglob("[0-9]*.ipynb")):
        refresh_notebook(path)


if __name__ == "__main__":
    refresh_all()
