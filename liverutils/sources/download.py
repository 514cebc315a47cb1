"""Data sets downloaded from their publishers, under their licences.

Archives stay packed: `sources` reads them as they are, and refuses hostile ones.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.files import NO_ROOM, flush_entry
from liverutils.locks import held_alone
from liverutils.sources.known import Download, Source, find_cases, known_source

CONNECT_S, SILENCE_S = 30, 60


BLOCK_BYTES = 1 << 16


def fetch(
    source: str, folder: Path | str, *, accept_licence: bool = False, progress: bool = True
) -> list[Path]:
    """Download a data set to `folder`; what is there already, whole, is not downloaded again.

    A download that was cut goes on where it stopped if the file's checksum is known; without one
    nothing would tell whether both parts are of the same file, so it begins anew.

    Args:
        source: One of `sources.SOURCES`.
        folder: Where to.
        accept_licence: The reader accepts the data set's licence.
        progress: Show a progress bar.

    Returns:
        The archives, which `sources.find_cases` takes as they are.

    Raises:
        BadInput: unknown_source, no_download, licence, download_failed, wrong_checksum, disk_full,
            not_writable, and what `find_cases` raises for an archive that is unsafe, broken or of
            another layout.
    """
    known = known_source(source)
    if not known.downloads:
        raise BadInput(
            f"{known.title} cannot be downloaded directly: {known.by_hand}.", fault="no_download"
        )
    if not accept_licence:
        raise BadInput(
            f"{known.title} comes under the licence {known.licence} ({known.url}); if you accept"
            " it, add --accept-licence.",
            fault="licence",
        )
    return [_fetch_file(known, file, Path(folder), progress) for file in known.downloads]


def describe(source: str) -> str:
    """Return what one should know before downloading a data set, in lines.

    Raises:
        BadInput: unknown_source.
    """
    known = known_source(source)
    facts = {
        "licence": known.licence,
        "cite": known.citation,
        "page": known.url,
        "shares": known.shares,
    }
    lines = [f"  {name:8} {fact}" for name, fact in facts.items() if fact]
    for file in known.downloads:
        size = f"{file.n_bytes / 1e9:.1f} GB" if file.n_bytes else "size not published"
        checksum = (
            file.checksum or "no checksum is published (each scan's own is tested as it is read)"
        )
        lines.append(f"  {'file':8} {file.name}, {size}, {checksum}")
    return "\n".join([known.title, *lines])


def _fetch_file(source: Source, file: Download, folder: Path, progress: bool) -> Path:
    path = folder / file.name
    busy = f"{path} is just being downloaded by another process: wait for it to end."
    with held_alone(path, busy):
        if path.exists():
            _check_present(path, file)
            find_cases(source.name, path)
            return path
        partial = folder / f".{file.name}.partial"
        with _told_plainly(file, folder):
            # Checked before it is named: what is killed meanwhile is found again, and checked.
            _Downloader(partial, file.checksum is not None, progress).download(file.url)
            if not _has_checksum(partial, file):
                partial.unlink()
                raise BadInput(
                    f"{file.url} has not the checksum {file.checksum}, so it is damaged or was "
                    "changed; it was deleted: run the command again.",
                    fault="wrong_checksum",
                )
            flush_entry(partial)
            partial.replace(path)
        try:
            find_cases(source.name, path)
        except BadInput:
            path.unlink()
            raise
    return path


def _check_present(path: Path, file: Download) -> None:
    if not _has_checksum(path, file):
        raise BadInput(
            f"{path} is there already and is not the file of {file.url} (its checksum differs): "
            "move it away, or name another folder.",
            fault="wrong_checksum",
        )


def _has_checksum(path: Path, file: Download) -> bool:
    """Whether the file has the checksum that was published; true where none was."""
    if file.checksum is None:
        return True
    algorithm, _, expected = file.checksum.partition(":")
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, algorithm).hexdigest() == expected


@contextmanager
def _told_plainly(file: Download, folder: Path) -> Iterator[None]:
    try:
        yield
    except requests.RequestException as error:
        raise BadInput(
            f"{file.url} could not be downloaded ({_reason(error)}); run the command again.",
            fault="download_failed",
        ) from error
    except OSError as error:
        is_full = error.errno in NO_ROOM
        reason = "no room left on the disk" if is_full else error.strerror or "no permission"
        raise BadInput(
            f"{file.name} cannot be written to {folder} ({reason}); free some space there or choose"
            " another folder.",
            fault="disk_full" if is_full else "not_writable",
        ) from error


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"status {error.response.status_code} {error.response.reason}"
    return "the server cannot be reached or cut the connection"


class _Downloader:
    """Downloads to a partial file, which a later attempt continues.

    Args:
        partial: The file to write to; it outlives a cut connection and a killed process.
        resume: Continue it; otherwise begin anew.
    """

    def __init__(self, partial: Path, resume: bool, progress: bool) -> None:
        self.partial, self.resume, self.progress = partial, resume, progress

    def download(self, url: str) -> None:
        """Download `url`; go on as long as each attempt brings something."""
        if not self.resume:
            self.partial.unlink(missing_ok=True)
        while not self._attempt(url):
            pass

    def _attempt(self, url: str) -> bool:
        """Append what is lacking; say whether all is there, and raise if nothing came."""
        start = before = self._size()
        # A compressed transfer would count other bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(
            url, headers=headers, stream=True, timeout=(CONNECT_S, SILENCE_S)
        ) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return True  # The partial file was whole; the checksum will tell.
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                start = 0  # The server knows no ranges and sends the whole file.
            try:
                self._append(response, start)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if not self.resume or self._size() <= before:
                    raise
                return False
        return True

    def _size(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _append(self, response: requests.Response, start: int) -> None:
        remaining = int(response.headers.get("Content-Length", 0))
        with (
            self.partial.open("ab" if start else "wb") as file,
            tqdm(
                desc=self.partial.name.removeprefix(".").removesuffix(".partial"),
                total=start + remaining or None,
                initial=start,
                unit="B",
                unit_scale=True,
                disable=not self.progress,
            ) as bar,
        ):
            for block in response.iter_content(BLOCK_BYTES):
                file.write(block)
                bar.update(len(block))
