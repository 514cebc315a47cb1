"""Run a command on a GPU that no other run uses: `python -m liverutils.runs.gpu COMMAND …`.

A lock per GPU keeps two runs of the catalogue apart; it falls with the process that holds it, so a
killed run leaves none behind. Where Slurm or the user has set CUDA_VISIBLE_DEVICES, only those
are taken; where there is no GPU the command simply runs.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

SECONDS_BETWEEN_TRIES = 2


def visible_gpus() -> list[str]:
    """Return the GPUs a command may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    try:
        query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []  # No driver, so no GPU.
    return listed.split()


def lock_one(gpus: Sequence[str], folder: Path | None = None) -> tuple[str, IO]:
    """Wait until one of `gpus` is free, and lock it.

    Args:
        gpus: What `visible_gpus` returns.
        folder: Where the locks lie; by default the machine's folder for temporary files.

    Returns:
        The GPU and the open file that holds its lock until it is closed.
    """
    folder = folder or Path(tempfile.gettempdir())
    while True:
        for gpu in gpus:
            lock = (folder / f"liverutils-gpu-{gpu.replace('/', '-')}.lock").open("a")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                return gpu, lock
        time.sleep(SECONDS_BETWEEN_TRIES)


def main(command: Sequence[str]) -> int:
    """Run `command` with one GPU visible; return its exit status."""
    gpus = visible_gpus()
    if not gpus:
        return subprocess.run(command).returncode
    gpu, lock = lock_one(gpus)
    with lock:
        return subprocess.run(command, env=os.environ | {"CUDA_VISIBLE_DEVICES": gpu}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
