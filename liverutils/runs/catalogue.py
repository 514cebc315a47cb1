"""The catalogue of runs, notebooks/runs.yaml: what is run, with which parameters, how long."""

import re
from ast import literal_eval
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Never

import papermill
import yaml

from liverutils.errors import BadInput
from liverutils.phantom import COHORTS
from liverutils.sources import known_source

PROFILES = ("smoke", "cpu", "reference", "gpu")
SETS = ("core", "study")

# What each part of the catalogue may hold, and of which kind it is.
NUMBER = int | float
CATALOGUE: dict[str, Any] = {"profiles": dict, "runs": dict}
PROFILE: dict[str, Any] = {"minutes": NUMBER, "parameters": dict}
RUN: dict[str, Any] = {
    "notebook": str,
    "set": str,
    "parameters": dict,
    "minutes": dict,
    "after": list,
}
RUN |= dict.fromkeys(PROFILES, dict)


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
        BadInput: An unknown profile; bad_catalogue, with the place in the file; a parameter that
            the notebook does not declare.
    """
    path = Path(path)
    if profile not in PROFILES:
        raise BadInput(f"There is no profile {profile!r}; there are {', '.join(PROFILES)}.")
    content = _read_yaml(path)
    _check_part(path, "the file", content, CATALOGUE, needs=CATALOGUE)
    profiles = content["profiles"]
    _check_part(path, "profiles", profiles, dict.fromkeys(PROFILES, dict), needs=[profile])
    for name, entry in profiles.items():
        _check_part(path, f"profile {name}", entry, PROFILE, needs=PROFILE)
    for name, entry in content["runs"].items():
        _check_run(path, name, entry, content["runs"])
    common = profiles[profile]
    return {
        name: _run(name, entry, profile, common, path) for name, entry in content["runs"].items()
    }


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path} cannot be read: {reason}", fault="bad_catalogue") from error


def _check_part(
    path: Path, place: str, part: Any, kinds: dict[str, Any], needs: Iterable[str] = ()
) -> None:
    """Refuse a part of the catalogue that holds an unknown or wrong entry, or lacks one."""
    if not isinstance(part, dict):
        _refuse(path, place, f"is {part!r}, not a list of names with values")
    for key, value in part.items():
        if key not in kinds:
            close = get_close_matches(str(key), kinds, n=1)
            meant = f"did you mean {close[0]}" if close else f"it may hold {', '.join(kinds)}"
            _refuse(path, place, f"holds {key!r}, which is unknown; {meant}")
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            _refuse(path, place, f"has {value!r} as {key}")
    if missing := [key for key in needs if key not in part]:
        _refuse(path, place, f"lacks {missing[0]}")


def _check_run(path: Path, name: Any, entry: Any, runs: dict[str, Any]) -> None:
    place = f"run {name}"
    if not (isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name)):
        _refuse(path, place, "has no plain name: take letters, digits and _")
    _check_part(path, place, entry, RUN, needs=("notebook", "set"))
    notebook = entry["notebook"]
    if not (re.fullmatch(r"\w+", notebook) and (path.parent / f"{notebook}.ipynb").is_file()):
        _refuse(path, place, f"names the notebook {notebook!r}, which is not in {path.parent}")
    if entry["set"] not in SETS:
        _refuse(path, place, f"is of the set {entry['set']!r}; there are {' and '.join(SETS)}")
    _check_part(
        path, f"{place}, minutes", entry.get("minutes", {}), dict.fromkeys(PROFILES, NUMBER)
    )
    if strange := [other for other in entry.get("after", ()) if other not in list(runs)]:
        _refuse(path, place, f"comes after {strange[0]!r}, which is no run")


def _refuse(path: Path, place: str, reason: str) -> Never:
    raise BadInput(f"{path}: {place} {reason}.", fault="bad_catalogue")


def _run(name: str, entry: dict[str, Any], profile: str, common: dict, path: Path) -> PlannedRun:
    notebook = path.parent / f"{entry['notebook']}.ipynb"
    declared = _declared(notebook)
    own = {"run_name": name} if "run_name" in declared else {}
    own |= entry.get("parameters", {}) | entry.get(profile, {})
    if unknown := sorted(map(str, own.keys() - declared.keys())):
        raise BadInput(
            f"{path.name}, run {name}: {notebook.name} declares no parameter "
            f"{', '.join(unknown)}; correct the name or add it to the notebook's "
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
        executed=Path(str(common["parameters"].get("logs_dir", OWN_LOGS)), name, f"{name}.ipynb"),
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


def check_dataset(dataset: str, data_dir: str | None) -> None:
    """Refuse a data set that is unknown, or comes without its place.

    Raises:
        BadInput: unknown_source; missing.
    """
    known_source(dataset)
    if dataset not in COHORTS and not data_dir:
        raise BadInput(
            f"DATASET={dataset} says which data set, but not where it lies: add DATA_DIR=/path/to/"
            "it.",
            fault="missing",
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
