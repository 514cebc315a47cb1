"""Run a command on a GPU that no other run uses: `python -m liverutils.runs.gpu COMMAND …`.

A lock per GPU keeps two runs apart, also those of two users of one machine; it falls with the
process that holds it, so a killed run leaves none behind. GPUs that a scheduler gave to this job
are its alone and are not locked; where there is no GPU the command simply runs. GPUS_SHARE=n lets n
runs share each GPU, since a small network leaves a large one idle.
"""

import errno
import getpass
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from liverutils.errors import BadInput
from liverutils.locks import ALL_USERS
from liverutils.parallel import run_to_the_end

SECONDS_BETWEEN_TRIES = 2

# What Slurm, PBS, LSF and Grid Engine set in each job.
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "SGE_TASK_ID")


def given_by_scheduler() -> bool:
    """Whether this process is a job, whose GPUs are its own.

    Their names say nothing: where each job sees its own devices only, every job's GPU is number 0.
    """
    return any(name in os.environ for name in SCHEDULERS)


def visible_gpus() -> list[str]:
    """Return the UUIDs of the GPUs that a command may use, or the names where none is known."""
    of_number = _uuids()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return list(of_number.values())
    names = [name.strip() for name in given.split(",") if name.strip()]
    return [of_number.get(name, name) for name in names]


def _uuids() -> dict[str, str]:
    """UUIDs of the machine's GPUs by number, numbered as the bus is."""
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return {}  # No driver, so no GPU.
    pairs = (line.split(",") for line in listed.splitlines() if line.strip())
    return {number.strip(): uuid.strip() for number, uuid in pairs}


def lock_folder() -> Path:
    """Return the folder of the locks, which all users of the machine may write to.

    It has no sticky bit as the folder around it has: there Linux lets nobody open another's file.
    """
    folder = Path(tempfile.gettempdir()) / "liverutils-gpus"
    if folder.is_symlink():  # Somebody's trick; locks of one's own keep one's own runs apart.
        folder = folder.with_name(f"liverutils-gpus-{getpass.getuser()}")
    folder.mkdir(exist_ok=True)
    with suppress(PermissionError):  # Whoever made it has done so already.
        folder.chmod(0o777)
    return folder


def runs_per_gpu() -> int:
    """Return GPUS_SHARE, 1 where it is not set.

    Raises:
        BadInput: It is no whole number above 0.
    """
    given = os.environ.get("GPUS_SHARE") or "1"
    if not given.isdecimal() or int(given) < 1:
        raise BadInput(f"GPUS_SHARE is {given!r}: it says how many runs share a GPU, 1 or more.")
    return int(given)


def lock_one(
    gpus: Sequence[str], folder: Path | None = None, share: int = 1
) -> tuple[str, BaseFileLock]:
    """Wait until one of `gpus` has a free place, and lock that.

    Args:
        gpus: What `visible_gpus` returns.
        folder: Where the locks lie; by default `lock_folder`.
        share: Places of each GPU; the first places of all are taken before any second one.

    Returns:
        The GPU and its lock, which falls when it is released or the process ends.

    Raises:
        BadInput: A lock is a link, which is never followed.
    """
    folder = folder or lock_folder()
    while True:
        for place, gpu in product(range(share), gpus):
            name = gpu.replace("/", "-") + (f"-{place}" if place else "")
            lock = FileLock(folder / f"{name}.lock", mode=ALL_USERS)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                raise BadInput(
                    f"{lock.lock_file} is a link, not a lock: remove it.", fault="in_use"
                ) from error
            return gpu, lock
        time.sleep(SECONDS_BETWEEN_TRIES)


def main(command: Sequence[str]) -> int:
    """Run `command` with one GPU visible; return its exit status. It ends with its parent."""
    gpus = visible_gpus()
    if not gpus or given_by_scheduler():
        return run_to_the_end(command)
    gpu, lock = lock_one(gpus, share=runs_per_gpu())
    try:
        return run_to_the_end(command, env=os.environ | {"CUDA_VISIBLE_DEVICES": gpu})
    finally:
        lock.release()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BadInput as error:
        sys.exit(f"liverutils: {error}")
