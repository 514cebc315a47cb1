"""Folders, zips and tars read alike, without unpacking.

A path may lead into an archive, and into an archive within an archive:
`3Dircadb1.zip/3Dircadb1.1/PATIENT_DICOM.zip/PATIENT_DICOM/image_0`.
"""

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from isal import isal_zlib

from liverutils.errors import BadInput
from liverutils.scans.damage import LARGEST_FILE, damage_named

ENCRYPTED = 0x1


# Of a zip, before the member's name.
LOCAL_HEADER_BYTES = 30


# One byte of deflate holds at most so many.
DEFLATE_RATIO = 1032


ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


def is_archive(path: Path) -> bool:
    """Say whether the name is that of a zip or tar."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def list_files(place: Path) -> list[Path]:
    """Return every file below a folder or archive, sorted; archives inside it count as files.

    Links to folders are followed, each folder once. Files that operating systems leave behind
    (`.DS_Store`, `._name`, `__MACOSX`) are left out. A link to nothing counts as a file, so that
    whoever reads it says so.

    Raises:
        BadInput: missing, broken_archive, encrypted_archive, unsafe_archive.
    """
    if place.is_dir():
        paths = _walk(place)
    elif place.is_file() and not is_archive(place):
        return [place]
    else:
        outer = place if is_archive(place) else _archive_around(place)
        below = "" if outer == place else f"{place.relative_to(outer).as_posix()}/"
        with _open_archive(outer) as archive:
            paths = [outer / name for name in archive.names() if name.startswith(below)]
    return sorted(path for path in paths if not _is_litter(path))


def list_deep(place: Path, depth: int = 4) -> list[Path]:
    """Return the files below a folder or archive as `list_files`, archives in it opened too.

    Raises:
        BadInput: As `list_files`; nested_archives, where archives lie in each other deeper.
    """
    files: list[Path] = []
    for file in list_files(place):
        if not is_archive(file):
            files.append(file)
        elif depth == 0:
            raise BadInput(
                f"{file} is an archive in an archive in an archive; unpack it first.",
                fault="nested_archives",
            )
        else:
            files += list_deep(file, depth - 1)
    return files


def _walk(place: Path) -> list[Path]:
    """Return the files below a folder; real folders come before links to them."""
    files: list[Path] = []
    folders, links = [place], list[Path]()
    seen = {ancestor.resolve() for ancestor in place.resolve().parents}
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        with damage_named(folder, "check who may read it", "unreadable"):
            entries = sorted(folder.iterdir())
        for entry in entries:
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry)
            elif entry.is_file() or entry.is_symlink():
                files.append(entry)
    return files


@contextmanager
def open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open one file for reading, wherever it is. What cannot be read of it raises BadInput."""
    if path.exists():
        with damage_named(path, "check who may read it", "unreadable"):
            file = path.open("rb")
        with file:
            yield file
        return
    outer = _archive_around(path)
    with _open_archive(outer) as archive:
        with _damaged(path):
            member = archive.open(path.relative_to(outer).as_posix())
        with _Member(member, path) as opened:
            yield cast(IO[bytes], opened)


def size_of(path: Path) -> int:
    """Return a file's size in bytes; in an archive, what that says.

    Raises:
        BadInput: As `open_file`.
    """
    if path.exists():
        return path.stat().st_size
    outer = _archive_around(path)
    with _open_archive(outer) as archive, _damaged(outer):
        return archive.size(path.relative_to(outer).as_posix())


def read_files(paths: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield each path with its content; an archive that holds many of them is opened once."""
    for path, content in try_files(paths):
        if isinstance(content, BadInput):
            raise content
        yield path, content


def try_files(paths: Iterable[Path]) -> Iterator[tuple[Path, bytes | BadInput]]:
    """Yield as `read_files`, and instead of the content of one that cannot be read the error."""
    around = cache(lambda folder: None if folder.is_dir() else _archive_around(folder / "file"))
    for outer, group in groupby(paths, key=lambda path: around(path.parent)):
        with _open_archive(outer) if outer else nullcontext() as archive:
            for path in group:
                try:
                    yield path, _read_whole(path, archive, outer)
                except BadInput as error:
                    yield path, error


def _read_whole(path: Path, archive: "_Zip | _Tar | None", outer: Path | None) -> bytes:
    name = path.relative_to(outer).as_posix() if outer else ""
    with damage_named(path, "copy or download it again", "broken_archive" if outer else "missing"):
        size = archive.size(name) if archive else path.stat().st_size
    if size > LARGEST_FILE:
        raise BadInput(
            f"{path} would take {size / 1e9:.1f} GB, and no slice does; take it out.",
            fault="too_large",
        )
    with damage_named(path, "copy or download it again", "broken_archive" if outer else "missing"):
        return archive.read(name) if archive else path.read_bytes()


def on_disk(path: Path) -> Path:
    """Return the file or folder that really exists: `path`, or the outermost archive around it."""
    for candidate in (path, *path.parents):
        if candidate.exists():
            return candidate
    raise BadInput(f"{path} does not exist; check the path.", fault="missing")


def _archive_around(path: Path) -> Path:
    """Return the innermost archive that would hold a path that is not on disk itself."""
    outermost = on_disk(path)
    if not (outermost.is_file() and is_archive(outermost)):
        raise BadInput(f"{path} does not exist; check the path.", fault="missing")
    return next(parent for parent in path.parents if is_archive(parent))


def _damaged(path: Path) -> AbstractContextManager[None]:
    """Around one call on an archive."""
    advice = "it is cut short or damaged, so copy or download it again"
    return damage_named(path, advice, "broken_archive")


@contextmanager
def _open_archive(path: Path) -> Iterator["_Zip | _Tar"]:
    if path.is_file():
        yield _open_kept(path, *_version(path))
        return
    with open_file(path) as file:
        yield _open_checked(path, file)


@lru_cache(maxsize=1)
def _open_kept(path: Path, *_version: int) -> "_Zip | _Tar":
    """Open an archive on disk and keep it open until the next one.

    LiTS as PNG has 176,000 names, which would be read anew for each of its 131 volumes.
    """
    return _open_checked(path, path.open("rb"))


def _version(path: Path) -> tuple[int, int]:
    """Return what changes when another archive comes in this one's place."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _open_checked(path: Path, file: IO[bytes]) -> "_Zip | _Tar":
    with _damaged(path):
        archive = _Zip(file) if path.name.lower().endswith(".zip") else _Tar(file)
    if archive.is_encrypted():
        raise BadInput(f"{path} is encrypted; unpack it first.", fault="encrypted_archive")
    for name in archive.unsafe_names():
        raise BadInput(
            f"{path} holds the link or escaping path {name!r}; get it from a source you trust.",
            fault="unsafe_archive",
        )
    return archive


class _Member(io.RawIOBase):
    """A file that is read out of an archive; what is damaged raises BadInput."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path

    def readinto(self, buffer: Any) -> int:
        with _damaged(self.path):
            content = self.file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with _damaged(self.path):
            return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.file.seekable()

    def close(self) -> None:
        self.file.close()
        super().close()


class _Zip:
    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.archive = zipfile.ZipFile(file)
        infos = self.archive.infolist()
        self.members = {_plain(info.filename): info for info in infos if not _is_folder(info)}

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(self.members[name])

    def size(self, name: str) -> int:
        return self.members[name].file_size

    def read(self, name: str) -> bytes:
        """Read a member; deflate, the usual compression, with ISA-L, twice as fast as zlib."""
        info = self.members[name]
        is_bounded = info.compress_size * DEFLATE_RATIO <= LARGEST_FILE
        if info.compress_type != zipfile.ZIP_DEFLATED or not is_bounded:
            return self.archive.read(info)
        self.file.seek(info.header_offset)
        header = self.file.read(LOCAL_HEADER_BYTES)
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        self.file.seek(name_length + extra_length, os.SEEK_CUR)
        compressed = self.file.read(info.compress_size)
        content = isal_zlib.decompress(compressed, wbits=-zlib.MAX_WBITS, bufsize=info.file_size)
        if isal_zlib.crc32(content) != info.CRC:
            raise zipfile.BadZipFile(f"bad checksum of {name}")
        return content

    def names(self) -> Iterable[str]:
        return self.members

    def is_encrypted(self) -> bool:
        return any(info.flag_bits & ENCRYPTED for info in self.archive.infolist())

    def unsafe_names(self) -> list[str]:
        return [
            info.filename
            for info in self.archive.infolist()
            if _escapes(info.filename) or stat.S_ISLNK(info.external_attr >> 16)
        ]


class _Tar:
    def __init__(self, file: IO[bytes]) -> None:
        self.archive = tarfile.open(fileobj=file)  # noqa: SIM115 - gone with `file`
        members = self.archive.getmembers()
        self.members = {_plain(member.name): member for member in members if member.isfile()}

    def open(self, name: str) -> IO[bytes]:
        opened = self.archive.extractfile(self.members[name])
        if opened is None:
            raise KeyError(f"{name} is no file")
        return opened

    def size(self, name: str) -> int:
        return self.members[name].size

    def read(self, name: str) -> bytes:
        return self.open(name).read()

    def names(self) -> Iterable[str]:
        return self.members

    def is_encrypted(self) -> bool:
        return False

    def unsafe_names(self) -> list[str]:
        return [
            member.name
            for member in self.archive.getmembers()
            if _escapes(member.name) or not (member.isfile() or member.isdir())
        ]


def _plain(name: str) -> str:
    """Return a name as `Path` writes it: some zips have backslashes, `tar c .` begins with `./`."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(("/", "\\"))


def _escapes(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":")


def _is_litter(path: Path) -> bool:
    return path.name.startswith((".", "Thumbs.db")) or "__MACOSX" in path.parts
