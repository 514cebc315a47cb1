"""Files and folders that appear whole or not at all, and never in the place of something else."""

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from liverutils.errors import BadInput

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Every unfinished file is named so: its target, the machine and the process that write it, and a
# random part, since a process may write the same target twice at once. `.old` was the target.
PARTIAL = re.compile(
    r"\.(?P<target>.+)\.(?P<host>\w+)-(?P<pid>\d+)-[0-9a-f]{8}(\.old)?\.partial", re.ASCII
)


@contextmanager
def written_aside(target: Path | str, *, replace_folder: bool = False) -> Iterator[Path]:
    """Yield a path beside `target` to write a file or folder to; rename it to `target` at the end.

    What was written is on the disk before it is renamed. If the block raises, it is removed and
    `target` stays as it was. A process killed inside the block leaves `target` untouched too, or,
    where it was replacing a folder, none; its remains, `.NAME.HOST-PID-RANDOM.partial`, are removed
    by the next writer of the same target on the same machine once that process is gone. Those of
    another machine are left alone: nothing here tells whether their writer still lives.

    Args:
        target: The file or folder.
        replace_folder: A folder with something in it may be replaced; `folders.check_own` tells
            whether it was made by this package.

    Raises:
        BadInput: not_writable, before the block is entered if that can be known; folder_in_use, a
            folder with something in it; disk_full.
    """
    target = Path(target)
    check_writable(target)
    _remove_remains(target)
    unique = f".{target.name}.{_this_host()}-{os.getpid()}-{uuid4().hex[:8]}"
    aside = target.parent / f"{unique}.partial"
    replaced = target.parent / f"{unique}.old.partial"
    try:
        yield aside
        _flush(aside)
        if target.is_dir() and any(target.iterdir()):
            if not (aside.is_dir() and replace_folder):
                raise BadInput(
                    f"{target} is a folder that holds something: name another place.",
                    fault="folder_in_use",
                )
            target.replace(replaced)  # No folder takes the place of one that holds something.
        try:
            aside.replace(target)
        except OSError:
            if replaced.exists():
                replaced.replace(target)
            raise
        flush_entry(target.parent)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise BadInput(
                f"No room left on the disk of {target}: free some space or choose another folder; "
                "nothing was kept of this attempt.",
                fault="disk_full",
            ) from error
        if error.filename in (str(aside), str(target)):
            raise _not_writable(target, error) from error
        raise
    finally:
        _remove(aside)
        _remove(replaced)


def check_writable(target: Path | str) -> None:
    """Make the folder of `target`, and refuse it where nothing can be written.

    Raises:
        BadInput: not_writable, also where `target` is a link: what it leads to may be anyone's.
    """
    target = Path(target)
    if target.is_symlink():
        raise BadInput(
            f"{target} is a link to {target.readlink()}: name the place itself, or another one.",
            fault="not_writable",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise _not_writable(target, error) from error


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, default=str) + "\n")


def read_json_object(path: Path, fault: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        BadInput: Under the name `fault`, where it does not, or cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror
    except (ValueError, RecursionError) as error:
        reason = f"it is not JSON: {error}"
    else:
        if isinstance(content, dict):
            return content
        reason = "it is not one JSON object"
    raise BadInput(f"{path} cannot be read ({reason}): remove it or write it again.", fault=fault)


def _not_writable(target: Path, error: OSError) -> BadInput:
    return BadInput(
        f"{target} cannot be written ({error.strerror}); choose another place.",
        fault="not_writable",
    )


@cache
def _this_host() -> str:
    """A name for the processes that can see one another by number.

    Containers may share the name of their machine, but each counts its own processes.
    """
    name = re.sub(r"\W+", "_", socket.gethostname(), flags=re.ASCII)[:24]
    numbering = Path("/proc/self/ns/pid")
    space = str(numbering.readlink()) if numbering.is_symlink() else ""
    return f"{name}_{hashlib.sha256(space.encode()).hexdigest()[:6]}"


def _remove_remains(target: Path) -> None:
    """Remove what writers of `target` left that were killed on this machine."""
    for path in target.parent.iterdir():
        part = PARTIAL.fullmatch(path.name)
        if part is None or (part["target"], part["host"]) != (target.name, _this_host()):
            continue
        if not _is_running(int(part["pid"])):
            with suppress(OSError):  # Another user's; or its last process is just ending.
                _remove(path)


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False


def _flush(path: Path) -> None:
    """Wait until a file, or all of a folder, is on the disk."""
    if path.is_file():
        flush_entry(path)
        return
    inside = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    with ThreadPoolExecutor() as pool:
        list(pool.map(flush_entry, inside))
    for folder, _, _ in os.walk(path):
        flush_entry(Path(folder))


def flush_entry(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    is_windows = os.name == "nt"
    if is_windows and path.is_dir():
        return  # Windows cannot, and need not.
    opened = os.open(path, os.O_RDWR if is_windows else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
