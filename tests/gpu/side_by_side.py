"""Runs of the catalogue side by side on one GPU, until all are done or the time is up.

`tests/gpu/reference.sh` calls this where there is neither Snakemake nor a network. A run that the
end of the time has stopped goes on at its last epoch when it is started again.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from liverutils.course import find_course_cases, open_course_store
from liverutils.phantom import COHORTS
from liverutils.runs import PlannedRun, choose, into_reference, read_catalogue

CATALOGUE = Path("notebooks/runs.yaml")
SECONDS_BETWEEN_LOOKS = 1.0


def make_data(runs: Iterable[PlannedRun]) -> None:
    """Make the cohorts and the stores that the runs share, so that no two make them at once."""
    for run in runs:
        if run.declared.keys() >= {"dataset", "view", "image_size"}:
            dataset = run.value("dataset")
            if dataset in COHORTS:
                open_course_store(dataset, "data", run.value("view"), run.value("image_size"))
        if "target" in run.declared and run.value("target") in COHORTS:
            find_course_cases(run.value("target"), "data")


def start(run: PlannedRun) -> subprocess.Popen:
    """Start a run's notebook; its output goes beside its executed copy."""
    run.executed.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", str(run.notebook), str(run.executed)]
    command += ["--parameters_yaml", run.as_yaml, "--no-progress-bar", "--kernel", "python3"]
    with run.executed.with_suffix(".log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def run_all(runs: list[PlannedRun], at_once: int, end: float) -> dict[str, int | None]:
    """Run notebooks, `at_once` at a time, until `end` (of `time.monotonic`).

    Returns:
        Run's name → exit status; None for those that the end of the time stopped or kept waiting.
    """
    waiting, going = list(runs), dict[str, subprocess.Popen]()
    done: dict[str, int | None] = {run.name: None for run in runs}
    while (waiting or going) and time.monotonic() < end:
        for name, process in list(going.items()):
            if process.poll() is not None:
                done[name] = process.returncode
                print(f"{time.strftime('%H:%M:%S')} {name}: {process.returncode}", flush=True)
                del going[name]
        names = {run.name for run in runs}
        for run in list(waiting):
            ready = all(done[name] is not None for name in run.after if name in names)
            if ready and len(going) < at_once:
                waiting.remove(run)
                going[run.name] = start(run)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    for process in going.values():
        os.killpg(process.pid, 9)
    return done


def main() -> int:
    """Make the data, run, and say what became of each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="reference")
    parser.add_argument("--runs", default="", help="names, separated by spaces; default: core")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--reference", action="store_true", help="write logs/ and images_gallery/")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    runs = choose(read_catalogue(CATALOGUE, options.profile), "core", options.runs)
    if options.reference:
        runs = [into_reference(run) for run in runs]
    make_data(runs)
    done = run_all(runs, options.at_once, end)
    for name, status in done.items():
        print(f"{name}: {'not done in time' if status is None else status or 'done'}")
    return int(any(done.values()))


if __name__ == "__main__":
    sys.exit(main())
