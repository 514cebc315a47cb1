"""The catalogue of runs, notebooks/runs.yaml: what is run, with which parameters, how long."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
import yaml

from liverutils.errors import BadInput

PROFILES = ("smoke", "cpu", "gpu")


@dataclass(frozen=True)
class Run:
    """One notebook with its parameters under one profile.

    Attributes:
        name: Names the logs, the pictures and the executed notebook.
        notebook: The notebook to execute.
        set: "core" or "study".
        parameters: Values that replace those of the notebook's parameters cell.
        minutes: Limit of the run's time.
        after: Runs whose logs this one reads.
    """

    name: str
    notebook: Path
    set: str
    parameters: dict[str, Any]
    minutes: float
    after: tuple[str, ...]


def read_catalogue(path: Path | str, profile: str) -> dict[str, Run]:
    """Read the catalogue under a profile; return the runs by name.

    Parameters are those that the profile sets for every run that declares them, then the run's
    own, then the run's own under the profile.

    Raises:
        BadInput: An unknown profile, or a parameter that the notebook does not declare.
    """
    path = Path(path)
    content = yaml.safe_load(path.read_text())
    if profile not in PROFILES:
        raise BadInput(f"There is no profile {profile!r}; there are {', '.join(PROFILES)}.")
    common = content["profiles"][profile]
    return {
        name: _run(name, entry, profile, common, path) for name, entry in content["runs"].items()
    }


def _run(name: str, entry: dict[str, Any], profile: str, common: dict, path: Path) -> Run:
    notebook = path.parent / f"{entry['notebook']}.ipynb"
    declared = papermill.inspect_notebook(str(notebook))
    own = {"run_name": name} if "run_name" in declared else {}
    own |= entry.get("parameters", {}) | entry.get(profile, {})
    if unknown := own.keys() - declared.keys():
        raise BadInput(
            f"{path.name}, run {name}: {notebook.name} declares no parameter "
            f"{', '.join(sorted(unknown))}; correct the name or add it to the notebook's "
            "parameters cell.",
            fault="unknown_parameter",
        )
    shared = {key: value for key, value in common["parameters"].items() if key in declared}
    minutes = entry.get("minutes", {}).get(profile, common["minutes"])
    return Run(name, notebook, entry["set"], shared | own, minutes, tuple(entry.get("after", ())))


def choose(runs: dict[str, Run], chosen_set: str = "core", names: str = "") -> list[Run]:
    """Return the runs of a set ("core", "study" or "all"), or those named, separated by spaces."""
    if not names:
        return [run for run in runs.values() if chosen_set in (run.set, "all")]
    if unknown := set(names.split()) - runs.keys():
        raise BadInput(
            f"There is no run {', '.join(sorted(unknown))}; there are {', '.join(runs)}."
        )
    return [runs[name] for name in names.split()]
