"""Run a command on a GPU that no other run uses: `python -m liverutils.runs.gpu COMMAND …`.

A lock per GPU keeps two runs of the catalogue apart; it falls with the process that holds it, so a
killed run leaves none behind. Where Slurm or the user has set CUDA_VISIBLE_DEVICES, only those
are taken; where there is no GPU the command simply runs. In a job of Slurm nothing is locked: it
has its GPUs to itself, under numbers that other jobs' GPUs have too.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from liverutils.locks import ALL_USERS
from liverutils.parallel import run_to_the_end

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


def lock_one(gpus: Sequence[str], folder: Path | None = None) -> tuple[str, FileLock]:
    """Wait until one of `gpus` is free, and lock it.

    Args:
        gpus: What `visible_gpus` returns.
        folder: Where the locks lie, for every user of the machine; by default its folder for
            temporary files.

    Returns:
        The GPU and its lock, which falls when it is released or its process ends.
    """
    folder = folder or Path(tempfile.gettempdir())
    while True:
        for gpu in gpus:
            path = folder / f"liverutils-gpu-{gpu.replace('/', '-')}.lock"
            lock = FileLock(path, mode=ALL_USERS)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return gpu, lock
        time.sleep(SECONDS_BETWEEN_TRIES)


def main(command: Sequence[str]) -> int:
    """Run `command` with one GPU visible; return its exit status. It ends with its parent."""
    gpus = visible_gpus()
    if not gpus or "SLURM_JOB_ID" in os.environ:
        return run_to_the_end(command)
    gpu, lock = lock_one(gpus)
    try:
        return run_to_the_end(command, env=os.environ | {"CUDA_VISIBLE_DEVICES": gpu})
    finally:
        lock.release()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
