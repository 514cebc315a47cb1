"""What the benchmarks share: pairs of timings side by side, and where results go."""

import statistics
import time
from collections.abc import Callable

import pandas as pd

from liverutils.course import repository_root
from liverutils.files import write_json, written_aside
from liverutils.runs.machine import machine_facts


def alternate(
    ours: Callable[[], object], other: Callable[[], object], pairs: int = 5
) -> dict[str, float]:
    """Time two functions in turn, A B A B …, after one call of each that is not timed.

    Returns:
        The median seconds of both and the median of the ratios, pair by pair: other / ours, so
        that above 1 ours is faster.
    """
    ours(), other()
    seconds = [(seconds_of(ours), seconds_of(other)) for _ in range(pairs)]
    return {
        "ours_s": statistics.median(a for a, _ in seconds),
        "other_s": statistics.median(b for _, b in seconds),
        "ratio": statistics.median(b / a for a, b in seconds),
        "lowest_ratio": min(b / a for a, b in seconds),
        "pairs": pairs,
    }


def seconds_of(function: Callable[[], object]) -> float:
    """Call a function; return the seconds it took."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def report(name: str, rows: list[dict]) -> None:
    """Print a table and write it to logs/bench/<name>.csv, the machine's facts beside it."""
    table = pd.DataFrame(rows)
    print(f"\n{name}\n{table.round(3).to_string(index=False)}", flush=True)
    folder = repository_root() / "logs" / "bench"
    with written_aside(folder / f"{name}.csv") as aside:
        table.round(4).to_csv(aside, index=False)
    write_json(folder / f"{name}_machine.json", machine_facts())
