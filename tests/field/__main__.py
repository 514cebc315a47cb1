"""Rebuild every circumstance and print what happens: `python -m tests.field [--quick] [WORDS]`."""

import argparse
import os
import sys
from pathlib import Path

from tests.field.table import base_cases, run_all


def main() -> int:
    """Print the table; return 1 where something is silently wrong or ends in a traceback."""
    parser = argparse.ArgumentParser("python -m tests.field", description=__doc__)
    parser.add_argument("words", nargs="*", help="only the circumstances with one of these words")
    parser.add_argument("--quick", action="store_true", help="on the smallest phantom")
    options = parser.parse_args()
    beside = Path(__file__).parents[3] / "shared" / "data"
    real = Path(os.environ.get("LIVER_CT_REAL_DATA", beside))
    table = []
    for name, case in base_cases(options.quick, real if real.is_dir() else None):
        for row in run_all(name, case, options.words):
            table.append(row)
            print(f"{row.base:14} {row.circumstance:40} {row.verdict:12} {row.happens}", flush=True)
    counts = {verdict: 0 for verdict in ("right", "silent wrong", "false alarm", "traceback")}
    for row in table:
        counts[row.verdict] += 1
    print(f"\n{len(table)} circumstances: " + ", ".join(f"{n} {v}" for v, n in counts.items()))
    return int(len(table) > counts["right"])


if __name__ == "__main__":
    sys.exit(main())
