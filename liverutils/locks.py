"""Locks beside what they guard, so that all machines and users that share a folder see them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from liverutils.errors import BadInput
from liverutils.files import check_writable

WAIT, DO_NOT_WAIT = -1, 0
ALL_USERS = 0o666


@contextmanager
def one_at_a_time(target: Path | str) -> Iterator[None]:
    """Let one process at a time make `target`; the next one waits and finds it made.

    Raises:
        BadInput: not_writable.
    """
    with _lock(target, WAIT):
        yield


@contextmanager
def held_alone(target: Path | str, otherwise: str) -> Iterator[None]:
    """Hold `target` for this process alone; the lock falls with the process.

    Args:
        target: What is held, a file or folder that need not exist.
        otherwise: The sentence for whoever comes second.

    Raises:
        BadInput: in_use, where another process holds it; not_writable.
    """
    with _lock(target, DO_NOT_WAIT, otherwise):
        yield


@contextmanager
def _lock(target: Path | str, timeout: float, otherwise: str = "") -> Iterator[None]:
    """Hold the lock file `.NAME.lock` beside `target`; remove it afterwards.

    FileLock notices when the file that it waited for was removed, and begins anew.
    """
    check_writable(target)
    target = Path(target).resolve()
    path = target.with_name(f".{target.name}.lock")
    lock = FileLock(path, mode=ALL_USERS)
    while not lock.is_locked:
        try:
            lock.acquire(timeout)
        except Timeout:
            raise BadInput(otherwise, fault="in_use") from None
        except OSError as error:
            if error.errno != errno.ESTALE:  # Another machine has just removed the file.
                raise
    try:
        yield
    finally:
        with suppress(OSError):  # Another user's in a shared folder; or Windows, where it is open.
            path.unlink()
        lock.release()
