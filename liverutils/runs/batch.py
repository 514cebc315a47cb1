"""Run Snakemake where no other runs: `python -m liverutils.runs.batch ARGUMENTS …`.

A Snakemake that is killed leaves its lock behind, and the next one will not start. The lock here
falls with the process that holds it; so where it is free, Snakemake's is nobody's and is removed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from liverutils.errors import BadInput
from liverutils.locks import held_alone
from liverutils.parallel import end_with_parent


def main(arguments: Sequence[str], folder: Path | None = None) -> None:
    """Run Snakemake in this process, and end it with its parent.

    Args:
        arguments: Snakemake's.
        folder: Where it works; by default here.

    Raises:
        BadInput: in_use.
        SystemExit: When Snakemake is done, with its status.
    """
    from snakemake.cli import main as snakemake  # Slow to import, and not in every installation.

    end_with_parent()
    own = (folder or Path.cwd()) / ".snakemake"
    busy = f"Another `make run` works in {own.parent}: wait for it to end, or stop it."
    with held_alone(own / "batch", busy):
        if left := list(own.glob("locks/*.lock")):
            print("The last run was killed here: its lock is removed.", file=sys.stderr)
        for lock in left:
            lock.unlink()
        snakemake(list(arguments))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BadInput as error:
        sys.exit(f"liverutils: {error}")
