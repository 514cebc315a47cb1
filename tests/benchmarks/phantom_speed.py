"""Making synthetic patients: voxels per second of one process."""

import statistics

from liverutils.phantom import COHORTS, make_patient
from tests.benchmarks.common import report, seconds_of

REPEATS = 3


def main() -> None:
    """Make one patient of each cohort several times."""
    report("phantom_speed", [measure(name) for name in COHORTS])


def measure(name: str) -> dict:
    """Time the cohort's second patient, after once that is not timed."""

    def make() -> int:
        return make_patient(COHORTS[name], 1).image.size

    voxels = make()
    seconds = statistics.median(seconds_of(make) for _ in range(REPEATS))
    facts = {"cohort": name, "voxels": voxels, "seconds": seconds}
    return facts | {"million_voxels_per_s": voxels / seconds / 1e6}


if __name__ == "__main__":
    main()
