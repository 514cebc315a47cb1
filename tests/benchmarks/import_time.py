"""What a notebook needs until its first batch, against the import of fastai alone.

Each side is a fresh process with the files already in the system's cache: the imports of the
U-Net's notebook; these, and the store opened and a first batch; `from fastai.vision.all import *`.
"""

import json
import os
import resource
import statistics
import subprocess
import sys

from liverutils.course import open_course_store, repository_root
from tests.benchmarks.common import alternate, report

NOTEBOOK = "22_unet.ipynb"
FASTAI = "from fastai.vision.all import *"
# Cells of the notebook that come before its network.
IMPORTS, PARAMETERS, STORE, SPLIT, BATCH = range(1, 6)


def main() -> None:
    """Compare the imports, and the start until the first batch, with fastai's import."""
    open_course_store("phantom", "data", "axial", 256)
    cells = code_cells()
    starts = {"imports": [IMPORTS], "first batch": [IMPORTS, PARAMETERS, STORE, SPLIT, BATCH]}
    report(
        "import_time",
        [measure(until, "\n".join(cells[n] for n in ns)) for until, ns in starts.items()],
    )


def code_cells() -> list[str]:
    """Return the sources of the notebook's code cells."""
    notebook = json.loads((repository_root() / "notebooks" / NOTEBOOK).read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells]


def measure(until: str, code: str) -> dict:
    """Time our code and fastai's import in turn, each in a process of its own."""
    ours_user_s, fastai_user_s = [], []
    timed = alternate(
        lambda: ours_user_s.append(run_afresh(code)),
        lambda: fastai_user_s.append(run_afresh(FASTAI)),
    )
    return {
        "until": until,
        "ours_s": timed["ours_s"],
        "fastai_s": timed["other_s"],
        "ours_over_fastai": 1 / timed["ratio"],
        "ours_user_s": statistics.median(ours_user_s),
        "fastai_user_s": statistics.median(fastai_user_s),
        "pairs": timed["pairs"],
    }


def run_afresh(code: str) -> float:
    """Run code in a process of its own, without a screen; return its seconds in user mode."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository_root(),
        env=os.environ | {"MPLBACKEND": "agg"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


if __name__ == "__main__":
    main()
