"""Files that appear whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from liverutils.errors import BadInput


@contextmanager
def written_aside(target: Path | str) -> Iterator[Path]:
    """Yield a path beside `target` to write a file or folder to; rename it to `target` at the end.

    If the block raises, what was written is removed and `target` stays as it was. A process
    killed inside the block leaves `target` untouched too, or, where it was replacing a folder,
    none; its remains, `.NAME.PID.partial`, are removed by the next writer of the same target once
    that process is gone.

    Raises:
        BadInput: not_writable, before the block is entered if that can be known.
    """
    target = Path(target)
    check_writable(target)
    for remains in target.parent.glob(f".{target.name}.*.partial"):
        if not _is_running(int(remains.name.split(".")[-2])):
            _remove(remains)
    aside = target.parent / f".{target.name}.{os.getpid()}.partial"
    replaced = target.parent / f".{target.name}.old.{os.getpid()}.partial"
    try:
        yield aside
        try:
            if aside.is_dir() and target.is_dir():
                target.replace(replaced)  # No folder takes the place of one that holds something.
            aside.replace(target)
        except OSError as error:
            if replaced.exists():
                replaced.replace(target)
            raise _not_writable(target, error) from error
    finally:
        _remove(aside)
        _remove(replaced)


def check_writable(target: Path | str) -> None:
    """Make the folder of `target`, and refuse it where nothing can be written.

    Raises:
        BadInput: not_writable.
    """
    folder = Path(target).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_writable(target, error) from error


def _not_writable(target: Path | str, error: OSError) -> BadInput:
    return BadInput(
        f"{target} cannot be written ({error.strerror}); choose another place.",
        fault="not_writable",
    )


@contextmanager
def one_at_a_time(target: Path | str) -> Iterator[None]:
    """Let one process of this machine at a time make `target`; the next one finds it made."""
    name = hashlib.sha256(str(Path(target).resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"liverutils-{name}.lock"):
        yield


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, default=str) + "\n")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
