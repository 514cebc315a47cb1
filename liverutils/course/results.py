"""Tables and figures of the runs that are there."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from liverutils.runs import LoggedRun


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
