"""Run benchmarks: `python -m tests.benchmarks [NAME …]`, by default all but those on demand."""

import importlib
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
BENCHMARKS = [name for name in NAMES if name not in ("common", "summary")]
ON_DEMAND = ["nnunet"]  # needs more than this project installs

if __name__ == "__main__":
    names = sys.argv[1:] or [name for name in BENCHMARKS if name not in ON_DEMAND]
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}.")
    for name in [*names, "summary"]:
        importlib.import_module(f"tests.benchmarks.{name}").main()
