"""Building a slice store against merely reading the same files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from liverutils.course import find_course_cases
from liverutils.datasets.sources import CaseFiles, find_cases
from liverutils.datasets.store import build_store
from tests.benchmarks.common import alternate, report


def main() -> None:
    """Compare on the phantom, and on the real CT that LIVER_CT_REAL_DATA names, in one process."""
    report("store_build", [measure(name, cases) for name, cases in data_sets()])


def data_sets() -> Iterator[tuple[str, list[CaseFiles]]]:
    """Yield the data sets at hand."""
    yield "phantom", find_course_cases("phantom", "data")
    if folder := os.environ.get("LIVER_CT_REAL_DATA"):
        yield "ircadb", find_cases("ircadb", Path(folder, "3Dircadb1.17"))
        yield "lits-png", find_cases("lits-png", Path(folder, "lits-png-8.zip"))


def measure(name: str, cases: list[CaseFiles]) -> dict:
    """Time `build_store` with one worker, and loading the same cases."""
    folder = Path(tempfile.mkdtemp())

    def build() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        build_store(cases, folder, size=256, workers=1, progress=False)

    def read() -> None:
        for case in cases:
            case.load()

    timed = alternate(build, read, pairs=3)
    shutil.rmtree(folder)
    return {"data": name, "scans": len(cases), "size": 256} | {
        "build_s": timed["ours_s"],
        "read_s": timed["other_s"],
        "build_over_read": 1 / timed["ratio"],
    }


if __name__ == "__main__":
    main()
