"""Folders, zips and tars read alike, without unpacking.

A path may lead into an archive, and into an archive within an archive:
`3Dircadb1.zip/3Dircadb1.1/PATIENT_DICOM.zip/PATIENT_DICOM/image_0`.
"""

import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import IO

from isal import isal_zlib

from liverutils.errors import BadInput

ENCRYPTED = 0x1


# Of a zip, before the member's name.
LOCAL_HEADER_BYTES = 30


# What the libraries raise for an archive that is cut short or damaged.
BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, isal_zlib.error)


ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


def is_archive(path: Path) -> bool:
    """Say whether the name is that of a zip or tar."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def list_files(place: Path) -> list[Path]:
    """Return every file below a folder or archive, sorted; archives inside it count as files.

    Files that operating systems leave behind (`.DS_Store`, `._name`, `__MACOSX`) are left out.

    Raises:
        BadInput: missing, broken_archive, encrypted_archive, unsafe_archive.
    """
    if place.is_dir():
        paths = [path for path in place.rglob("*") if path.is_file()]
    else:
        outer, inside = _split(place)
        if inside is None:
            return [place]
        with _open_archive(outer) as archive:
            below = f"{inside}/" if inside else ""
            paths = [outer / name for name in archive.names() if name.startswith(below)]
    return sorted(path for path in paths if not _is_litter(path))


@contextmanager
def open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open one file for reading, wherever it is."""
    outer, inside = _split(path)
    if inside is None:
        with path.open("rb") as file:
            yield file
    else:
        with _open_archive(outer) as archive, archive.open(inside) as file:
            yield file


def read_files(paths: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield each path with its content; an archive that holds many of them is opened once."""
    around = cache(_archive_around)
    for outer, group in groupby(paths, key=lambda path: around(path.parent)):
        if outer is None:
            yield from ((path, path.read_bytes()) for path in group)
            continue
        with _open_archive(outer) as archive:
            for path in group:
                yield path, archive.read(path.relative_to(outer).as_posix())


def on_disk(path: Path) -> Path:
    """Return the file or folder that really exists: `path`, or the outermost archive around it."""
    for candidate in (path, *path.parents):
        if candidate.exists():
            return candidate
    raise BadInput(f"{path} does not exist; check the path.", fault="missing")


def _split(path: Path) -> tuple[Path, str | None]:
    """Split at the innermost archive: its path and the name inside it, "" for all of it."""
    if path.is_dir() or (path.is_file() and not is_archive(path)):
        return path, None
    if not is_archive(on_disk(path)):
        raise BadInput(f"{path} does not exist; check the path.", fault="missing")
    if is_archive(path):
        return path, ""
    outer = next(parent for parent in path.parents if is_archive(parent))
    return outer, path.relative_to(outer).as_posix()


def _archive_around(folder: Path) -> Path | None:
    outer, inside = _split(folder)
    return None if inside is None else outer


@contextmanager
def _open_archive(path: Path) -> Iterator["_Zip | _Tar"]:
    is_on_disk = path.is_file()
    with nullcontext() if is_on_disk else _open_inner(path) as file:
        try:
            yield _open_checked(path, file) if file else _open_kept(path, *_version(path))
        except (*BROKEN, KeyError) as error:
            raise BadInput(
                f"{path} is cut short, damaged or lacks a file ({error}); copy or download it"
                " again.",
                fault="broken_archive",
            ) from error


@contextmanager
def _open_inner(path: Path) -> Iterator[IO[bytes]]:
    """Open an archive that lies in another."""
    parent = next((parent for parent in path.parents if is_archive(parent)), path)
    with _open_archive(parent) as archive:
        yield archive.open(path.relative_to(parent).as_posix())


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
    archive = _Zip(file) if path.name.lower().endswith(".zip") else _Tar(file)
    if archive.is_encrypted():
        raise BadInput(f"{path} is encrypted; unpack it first.", fault="encrypted_archive")
    for name in archive.unsafe_names():
        raise BadInput(
            f"{path} holds the link or escaping path {name!r}; get it from a source you trust.",
            fault="unsafe_archive",
        )
    return archive


class _Zip:
    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.archive = zipfile.ZipFile(file)

    def open(self, name: str) -> IO[bytes]:
        """Open a member for reading."""
        return self.archive.open(name)

    def read(self, name: str) -> bytes:
        """Read a member; deflate, the usual compression, with ISA-L, twice as fast as zlib."""
        info = self.archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_DEFLATED:
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

    def names(self) -> list[str]:
        return [info.filename for info in self.archive.infolist() if not info.is_dir()]

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
        # `tar c .` writes names that begin with `./`.
        self.members = {
            member.name.removeprefix("./"): member for member in self.archive.getmembers()
        }

    def open(self, name: str) -> IO[bytes]:
        opened = self.archive.extractfile(self.members[name])
        if opened is None:
            raise KeyError(f"{name} is no file")
        return opened

    def read(self, name: str) -> bytes:
        return self.open(name).read()

    def names(self) -> list[str]:
        return [name for name, member in self.members.items() if member.isfile()]

    def is_encrypted(self) -> bool:
        return False

    def unsafe_names(self) -> list[str]:
        return [
            name
            for name, member in self.members.items()
            if _escapes(name) or not (member.isfile() or member.isdir())
        ]


def _escapes(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":")


def _is_litter(path: Path) -> bool:
    return path.name.startswith((".", "Thumbs.db")) or "__MACOSX" in path.parts
