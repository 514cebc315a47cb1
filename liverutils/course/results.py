"""Tables and figures of the runs that are there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from liverutils.course.repository import resolve
from liverutils.errors import BadInput
from liverutils.runs import LoggedRun, load_runs


def load_beside_reference(logs_dir: str, reference_dir: str) -> dict[str, LoggedRun]:
    """Read the reader's own runs and the course's reference runs, and print which are which.

    Args:
        logs_dir: The reader's own; there may be none yet.
        reference_dir: The reference; if empty, or the same folder, only `logs_dir` is read.

    Returns:
        The reference runs by name, then the reader's: `yours/UNet` beside the reference's `UNet`.

    Raises:
        BadInput: As `runs.load_runs`; but for a folder of the reader's that holds nothing yet.
    """
    if not reference_dir or resolve(logs_dir) == resolve(reference_dir):
        return load_runs(resolve(logs_dir))
    runs = load_runs(resolve(reference_dir))
    try:
        own = load_runs(resolve(logs_dir))
    except BadInput as error:
        if error.fault != "no_logs":
            raise
        own = {}
    yours = {f"yours/{name}": replace(run, name=f"yours/{name}") for name, run in own.items()}
    print(f"the course's reference, in {reference_dir}: {len(runs)} runs")
    print(f"your own, in {logs_dir}: {', '.join(yours) or 'none yet'}")
    return runs | yours


def show_runs(
    draw: Callable[[dict[str, LoggedRun]], Any],
    runs: Mapping[str, LoggedRun],
    names: Iterable[str],
    *needs: str,
    at_least: int = 1,
) -> None:
    """Show a table or figure of some runs, and say in one line which are missing.

    Args:
        draw: Makes it of the runs found, in the order of `names`.
        runs: From `runs.load_runs`.
        names: The runs wanted; one in a sub-folder, `a/UNet`, is found as `UNet`.
        needs: What each must have logged, as `LoggedRun.has` takes it; a run that lacks it counts
            as missing.
        at_least: With fewer runs nothing is shown.
    """
    found: dict[str, LoggedRun] = {}
    missing = []
    for name in names:
        alike = [run for run in runs if name in (run, run.rsplit("/", 1)[-1])]
        logged = {run: runs[run] for run in alike if runs[run].has(*needs)}
        found |= logged
        missing += [] if logged else [name]
    if missing:
        names = dict.fromkeys(name.rsplit("/", 1)[-1] for name in missing)
        display(Markdown(f'*Not in these logs:* `make run RUNS="{" ".join(names)}"`'))
    if len(found) >= at_least:
        display(draw(found))
        # Or the notebook would show a figure again at the end of the cell.
        plt.close()
