"""How much of `make run` goes to starting, importing and preparing data: at most a third should.

A row per run of the core set, in seconds, from its executed notebook in logs/RUN:

- `total`: as papermill measured it, and the start of papermill itself, which is timed here.
- `overhead`: what is not the course's work: the starts of papermill and kernel and the pauses
  between the cells, the set-up and the imports, cells that open or build data or try settings.
- `logged_training`: the epochs, with their validation, that the run has in logs/*_runtime.csv.
- `other_work`: the rest: comparisons, training by hand, scoring, pictures.

A row each for the phantom and the slice stores, which Snakemake makes beforehand, on all cores:
they are made again here and count as overhead. The last row is the sum of all.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from liverutils.course import repository_root
from liverutils.phantom import make_cohort
from liverutils.runs import PlannedRun, choose, read_catalogue, read_record, read_run
from liverutils.runs.logs import find_runs
from liverutils.slices import build_store
from liverutils.sources import find_cases
from tests.benchmarks.common import report, seconds_of

DATA = re.compile(
    r"\b(find_course_cases|load_patient|open_course_store|\w+_loaders|join_views|liver_crops"
    r"|use_fastest_settings)\("
)
TRAINING = re.compile(r"\b(train|fit\w*|\w+_training)\(")
START = [
    sys.executable,
    "-m",
    "liverutils.runs.gpu",
    sys.executable,
    "-m",
    "papermill",
    "--version",
]


def main() -> None:
    """Print and write the table."""
    root = repository_root()
    runs = choose(read_catalogue(root / "notebooks" / "runs.yaml", "cpu"), "core")
    start = seconds_of(lambda: subprocess.run(START, capture_output=True, check=True))
    logs = logs_of(runs, root / "logs")
    rows = [row_of(root / run.executed, logs[run.name], start) for run in runs] + data_rows(runs)
    keys = ("total", "overhead", "logged_training", "other_work")
    rows.append({"run": "all"} | {key: sum(row[key] for row in rows) for key in keys})
    report("batch_overhead", [row | {"share": row["overhead"] / row["total"]} for row in rows])


def logs_of(runs: list[PlannedRun], logs: Path) -> dict[str, list[Path]]:
    """The logs that carry a run's name or begin with it, as its notebook's baselines do."""
    names, stems = sorted((run.name for run in runs), key=len), find_runs(logs).values()
    owners = {
        stem: name for name in names for stem in stems if f"{stem.name}_".startswith(f"{name}_")
    }
    return {name: [stem for stem in stems if owners.get(stem) == name] for name in names}


def row_of(executed: Path, logs: list[Path], start: float) -> dict:
    """Where the time of a run went, by its executed notebook and its logs."""
    notebook = nbformat.read(executed, as_version=4)
    whole = notebook.metadata.papermill
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    seconds = [cell.metadata.papermill.duration for cell in code]
    first = next(n for n, cell in enumerate(code) if "parameters" in cell.metadata.tags)
    idle = whole.duration - sum(seconds) + start
    setting_up = sum(
        duration
        for number, (cell, duration) in enumerate(zip(code, seconds, strict=True))
        if number < first or (DATA.search(cell.source) and not TRAINING.search(cell.source))
    )
    total, overhead = whole.duration + start, idle + setting_up
    training = logged_training(logs, whole.start_time, whole.end_time)
    return {
        "run": executed.stem,
        "total": total,
        "overhead": overhead,
        "logged_training": training,
        "other_work": total - overhead - training,
    }


def logged_training(logs: list[Path], start: str, end: str) -> float:
    """Seconds of the epochs in those logs that were finished while the notebook ran."""
    start, end = map(datetime.fromisoformat, (start, end))
    return sum(
        read_run(stem.parent, stem.name)["runtime"].runtime.sum()
        for stem in logs
        if start <= datetime.fromisoformat(read_record(stem.parent, stem.name).finished) <= end
    )


def data_rows(runs: list[PlannedRun]) -> list[dict]:
    """Make the phantom and the stores that the runs read; time each."""
    stores = {
        (run.value("view"), run.value("image_size"))
        for run in runs
        if {"dataset", "view", "image_size"} <= run.declared.keys()
    }
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "phantom"
        rows = [_made(raw, partial(make_cohort, "phantom", raw, progress=False))]
        cases = find_cases("phantom", raw)
        for view, size in sorted(stores):
            out = Path(folder) / f"{view}-{size}"
            making = partial(build_store, cases, out, view=view, size=size, progress=False)
            rows.append(_made(out, making))
    return rows


def _made(folder: Path, making: Callable[[], object]) -> dict:
    seconds = seconds_of(making)
    return {
        "run": folder.name,
        "total": seconds,
        "overhead": seconds,
        "logged_training": 0.0,
        "other_work": 0.0,
    }
