"""Work spread over processes, none of which outlives the one that wants it.

`python -m liverutils.parallel COMMAND …` runs a command that ends with what started it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import suppress
from functools import cache
from typing import Any

import psutil
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from liverutils.errors import BadInput

SECONDS_BETWEEN_LOOKS = 0.5
# Whoever sees a child end first must not leave while another thread still ends the grandchildren.
_ending = threading.Lock()


def in_processes(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int | None = None
) -> Iterator[Any]:
    """Yield `function(item)` for each item, in order, computed by `workers` processes.

    The processes end within a second of this one, however it ends.

    Args:
        function: Picklable, as is what it returns. What it raises is raised here.
        items: As many as wanted; only a few are handed out ahead, so memory stays bounded.
        workers: By default one per core, and never more than there are items; 1 stays in this
            process.

    Raises:
        BadInput: killed_worker.
    """
    workers = workers or os.cpu_count() or 1
    if isinstance(items, Sized):
        workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    # Not multiprocessing's own pool: forked, it would inherit torch's threads; spawned, it would
    # run an unguarded script once more in each process.
    pool = Parallel(workers, return_as="generator", pre_dispatch=f"{workers + 1}")
    try:
        yield from pool(delayed(_in_worker)(function, item) for item in items)
    except TerminatedWorkerError as error:
        raise BadInput(
            f"One of {workers} worker processes was killed, most often because memory ran out: try "
            "again with fewer of them (--workers 1 takes the least memory).",
            fault="killed_worker",
        ) from error


def _in_worker(function: Callable[[Any], Any], item: Any) -> Any:
    end_with_parent()
    return function(item)


@cache
def end_with_parent() -> None:
    """Have this process, and all that it started, end within a second of its parent.

    A thread looks for it: Linux alone could send a signal instead, and would send it as soon as
    the parent's thread ends that started this process.
    """
    watch = threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True)
    watch.start()


def _end_after(parent: int) -> None:
    # An orphan gets another parent, except on Windows.
    while os.getppid() == parent and psutil.pid_exists(parent):
        time.sleep(SECONDS_BETWEEN_LOOKS)
    _end_children()
    os._exit(1)


def run_to_the_end(command: Sequence[str], **options: Any) -> int:
    """Run a command and return its exit status; it ends when this process is told to, or killed.

    So does all that it started, a notebook's kernel among it, which no Ctrl-C reaches.

    Args:
        command: The program and its arguments.
        options: As for `subprocess.Popen`.
    """
    end_with_parent()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    process = subprocess.Popen(command, **options)
    try:
        return process.wait()
    finally:
        _end_children()


def _end_children() -> None:
    with _ending:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()


if __name__ == "__main__":
    sys.exit(run_to_the_end(sys.argv[1:]))
