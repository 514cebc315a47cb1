"""The catalogue of runs, notebooks/runs.yaml: what is run, with which parameters, how long."""

from ast import literal_eval
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import papermill
import yaml

from liverutils.errors import BadInput

PROFILES = ("smoke", "cpu", "reference", "gpu")


OWN_LOGS = "runs/logs"  # where everyone's runs go, as the notebooks say too


@dataclass(frozen=True)
class PlannedRun:
    """One notebook with its parameters under one profile.

    Attributes:
        name: Names the logs, the pictures and the executed notebook.
        notebook: The notebook to execute.
        set: "core" or "study".
        declared: The notebook's parameters cell: names and literals.
        parameters: Values that replace those of the notebook's parameters cell.
        executed: Where the executed notebook goes.
        minutes: Limit of the run's time.
        after: Runs whose logs this one reads.
    """

    name: str
    notebook: Path
    set: str
    declared: dict[str, Any]
    parameters: dict[str, Any]
    executed: Path
    minutes: float
    after: tuple[str, ...]

    def value(self, parameter: str) -> Any:
        """What a parameter is in this run: its own value, or else the notebook's literal."""
        return self.parameters.get(parameter, self.declared[parameter])

    @property
    def as_yaml(self) -> str:
        """The parameters for papermill; not as JSON, whose 1e-05 is text in YAML."""
        return yaml.safe_dump(self.parameters, default_flow_style=True, width=float("inf")).strip()


def read_catalogue(path: Path | str, profile: str) -> dict[str, PlannedRun]:
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


def _run(name: str, entry: dict[str, Any], profile: str, common: dict, path: Path) -> PlannedRun:
    notebook = path.parent / f"{entry['notebook']}.ipynb"
    declared = _declared(notebook)
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
    return PlannedRun(
        name=name,
        notebook=notebook,
        set=entry["set"],
        declared=declared,
        parameters=shared | own,
        executed=Path(common["parameters"].get("logs_dir", OWN_LOGS), name, f"{name}.ipynb"),
        minutes=entry.get("minutes", {}).get(profile, common["minutes"]),
        after=tuple(entry.get("after", ())),
    )


@cache
def _declared(notebook: Path) -> dict[str, Any]:
    """The parameters of a notebook and their literals."""
    parameters = papermill.inspect_notebook(str(notebook))
    return {name: literal_eval(facts["default"]) for name, facts in parameters.items()}


def into_reference(run: PlannedRun) -> PlannedRun:
    """Return the run so that it writes the course's reference, `logs/` and `images_gallery/`."""
    folders = {"logs_dir": "logs", "gallery_dir": "images_gallery"}
    return replace(
        run,
        parameters=run.parameters | {k: v for k, v in folders.items() if k in run.declared},
        executed=Path(folders["logs_dir"], run.name, f"{run.name}.ipynb"),
    )


def on_data(run: PlannedRun, dataset: str, data_dir: str) -> PlannedRun:
    """Return the run on another data set, under a name of its own: `UNet` becomes `UNet_lits`.

    So that runs on one data set never overwrite the logs and pictures of those on another.
    """
    given = {"run_name": f"{run.name}_{dataset}", "dataset": dataset, "data_dir": data_dir}
    logs_dir = run.executed.parents[1]
    return replace(
        run,
        parameters=run.parameters | {k: v for k, v in given.items() if k in run.declared},
        executed=logs_dir / given["run_name"] / f"{given['run_name']}.ipynb",
    )


def choose(
    runs: dict[str, PlannedRun], chosen_set: str | None = None, names: str | None = None
) -> list[PlannedRun]:
    """Return the runs of a set ("core", "study" or "all"), or those named, separated by spaces.

    Raises:
        BadInput: A name or set that the catalogue does not have.
    """
    chosen_set = chosen_set or "core"
    if chosen_set not in ("core", "study", "all"):
        raise BadInput(f"There is no set {chosen_set!r}; there are core, study and all.")
    if not names:
        return [run for run in runs.values() if chosen_set in (run.set, "all")]
    if unknown := set(names.split()) - runs.keys():
        raise BadInput(
            f"There is no run {', '.join(sorted(unknown))}; there are {', '.join(runs)}."
        )
    return [runs[name] for name in names.split()]
