"""A function in a process of its own, and the memory that it needs there (Linux)."""

import ctypes
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Imported once for all processes: it takes longer than most of what is measured.
PRELOADED = ["liverutils.prediction.network", "monai.metrics"]

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, computed by a process that has only imported what it needs."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *args).result()


def memory_mb() -> dict[str, float]:
    """Return in MiB this process's peak (VmHWM), what it holds (VmRSS), and of what kind that is.

    RssAnon is its own memory, RssFile the pages of files that it has mapped.
    """
    status = Path("/proc/self/status").read_text()
    names = ("VmHWM", "VmRSS", "RssAnon", "RssFile")
    return {name: int(re.search(f"{name}:(.*)kB", status)[1]) / 1024 for name in names}


def free_promptly() -> None:
    """Let glibc give back what is freed, so that the peak is what is held at one time.

    By itself it keeps blocks up to a size that changes as it goes, so that the peak of the same
    work differs by half. But getting them anew takes time.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**20)
    libc.malloc_trim(0)


def restart_peak() -> None:
    """Let the peak begin anew at what the process holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_anonymous_mb() -> float:
    """Return the peak without the pages of files, which the system takes back when it needs them.

    Pages of files only become more while there is memory to spare; so they are most at the end.
    """
    memory = memory_mb()
    return memory["VmHWM"] - memory["RssFile"]
