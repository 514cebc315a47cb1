"""Data sets downloaded from a real server, on loopback, that can fail in the ways servers do."""

import errno
import hashlib
import shutil
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from liverutils.cli import main
from liverutils.errors import BadInput
from liverutils.locks import held_alone
from liverutils.phantom import write_ircadb
from liverutils.phantom.layouts import write_chaos, write_msd
from liverutils.sources import SOURCES, describe, fetch, find_cases
from liverutils.sources import download as fetch_module
from liverutils.sources.known import Download

ARCHIVES = {
    "ircadb": (write_ircadb, "zip", "3Dircadb1.zip"),
    "msd": (write_msd, "tar", "Task03_Liver.tar"),
    "chaos": (write_chaos, "zip", "CHAOS_Train_Sets.zip"),
}


class Publisher(ThreadingHTTPServer):
    """A server of one file.

    Attributes:
        content: The file.
        knows_ranges: It sends the rest of the file when asked to.
        cuts: After how many bytes it closes the connection, one entry per request that is cut.
        asked: The range that each request asked for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.knows_ranges, self.cuts, self.asked = b"", True, [], []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if "missing" in self.path:
            self.send_error(404)
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and server.knows_ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else None
        self.wfile.write(server.content[start:end])

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def publisher(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def publish(publisher, tmp_path, tiny_case, monkeypatch):
    """Return a function that publishes a small data set in the place of the true one."""

    def publish(source: str, content: bytes | None = None, checksum: str | None = "right", path=""):
        write, kind, name = ARCHIVES[source]
        if content is None:
            write(tmp_path / "published" / name.split(".")[0], tiny_case, 1)
            archive = shutil.make_archive(tmp_path / "archive", kind, tmp_path / "published")
            content = Path(archive).read_bytes()
        if checksum == "right":
            checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        publisher.content = content
        file = Download(publisher.url(path or name), name, len(content), checksum)
        monkeypatch.setitem(SOURCES, source, replace(SOURCES[source], downloads=(file,)))
        # Of a connection that is cut, the last block is lost.
        monkeypatch.setattr(fetch_module, "BLOCK_BYTES", 1000)

    return publish


def get(source, folder):
    return fetch(source, folder, accept_licence=True, progress=False)


def fault_of(source, folder):
    with pytest.raises(BadInput) as caught:
        get(source, folder)
    assert "\n" not in str(caught.value)
    return caught.value.fault


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("source", ARCHIVES)
@pytest.mark.parametrize("checksum", ["right", None])
def test_whole_download_is_read_as_it_is(publisher, publish, tmp_path, tiny_case, source, checksum):
    publish(source, checksum=checksum)
    (path,) = get(source, tmp_path / "raw")
    assert names_in(tmp_path / "raw") == [path.name] == [ARCHIVES[source][2]]
    assert path.read_bytes() == publisher.content
    case = find_cases(source, path)[0].load()
    assert np.array_equal(case.image, tiny_case.image)
    assert np.array_equal(case.mask > 0, tiny_case.mask > 0)
    get(source, tmp_path / "raw")
    assert publisher.asked == [None], "what is there is not downloaded again"


def test_cut_connection_goes_on_where_it_stopped(publisher, publish, tmp_path):
    publish("msd")
    publisher.cuts = [7_000, 2_000]
    (path,) = get("msd", tmp_path / "raw")
    assert publisher.asked == [None, "bytes=7000-", "bytes=9000-"]
    assert path.read_bytes() == publisher.content
    assert names_in(tmp_path / "raw") == [path.name]


def test_next_call_goes_on_where_a_failed_one_stopped(publisher, publish, tmp_path):
    publish("msd")
    publisher.cuts = [5_000, 0]
    assert fault_of("msd", tmp_path / "raw") == "download_failed"
    assert names_in(tmp_path / "raw") == [".Task03_Liver.tar.partial"]
    publisher.asked.clear()
    (path,) = get("msd", tmp_path / "raw")
    assert publisher.asked == ["bytes=5000-"]
    assert path.read_bytes() == publisher.content


def test_partial_file_that_is_whole_is_taken(publisher, publish, tmp_path):
    publish("msd")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".Task03_Liver.tar.partial").write_bytes(publisher.content)
    (path,) = get("msd", tmp_path / "raw")
    assert path.read_bytes() == publisher.content


def test_a_fetch_killed_during_the_checksum_is_not_downloaded_again(
    publisher, publish, tmp_path, monkeypatch
):
    def die(*_):
        raise KeyboardInterrupt

    publish("msd")
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(fetch_module, "_has_checksum", die)
        get("msd", tmp_path / "raw")
    assert names_in(tmp_path / "raw") == [".Task03_Liver.tar.partial"]
    size = len(publisher.content)
    publisher.asked.clear()
    (path,) = get("msd", tmp_path / "raw")
    assert publisher.asked == [f"bytes={size}-"], "the server has nothing to add"
    assert path.read_bytes() == publisher.content


def test_of_two_fetches_into_one_folder_the_second_says_so(publisher, publish, tmp_path):
    publish("msd")
    with held_alone(tmp_path / "raw" / "Task03_Liver.tar", "held"):
        assert fault_of("msd", tmp_path / "raw") == "in_use"
    assert publisher.asked == []


def test_a_file_of_that_name_that_is_another_is_left_alone(publisher, publish, tmp_path):
    publish("msd")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "Task03_Liver.tar").write_bytes(b"mine")
    assert fault_of("msd", tmp_path / "raw") == "wrong_checksum"
    assert (tmp_path / "raw" / "Task03_Liver.tar").read_bytes() == b"mine"


def test_partial_file_of_something_else_does_not_survive_the_checksum(publisher, publish, tmp_path):
    publish("msd")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".Task03_Liver.tar.partial").write_bytes(b"an older version")
    assert fault_of("msd", tmp_path / "raw") == "wrong_checksum"
    (path,) = get("msd", tmp_path / "raw")
    assert path.read_bytes() == publisher.content


def test_server_without_ranges_is_asked_again_from_the_beginning(publisher, publish, tmp_path):
    publish("msd")
    publisher.knows_ranges = False
    publisher.cuts = [5_000]
    (path,) = get("msd", tmp_path / "raw")
    assert path.read_bytes() == publisher.content
    path.unlink()
    publisher.cuts = [5_000] * 10
    assert fault_of("msd", tmp_path / "raw") == "download_failed"
    assert len(publisher.cuts) == 8, "it stops when an attempt brings no more than the last"


def test_without_a_checksum_nothing_is_continued(publisher, publish, tmp_path):
    publish("ircadb", checksum=None)
    publisher.cuts = [5_000]
    assert fault_of("ircadb", tmp_path / "raw") == "download_failed"
    (path,) = get("ircadb", tmp_path / "raw")
    assert publisher.asked == [None, None]
    assert path.read_bytes() == publisher.content


def test_wrong_checksum_is_said_and_nothing_is_kept(publish, tmp_path):
    publish("msd", checksum="md5:" + "0" * 32)
    assert fault_of("msd", tmp_path / "raw") == "wrong_checksum"
    assert names_in(tmp_path / "raw") == []


def hostile_zip(path, name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["../CT/1/DICOM_anon/i.dcm", "/CT/1/DICOM_anon/i.dcm", "CT/link"])
def test_hostile_archive_is_refused(publish, tmp_path, name):
    mode = 0o120777 if name.endswith("link") else 0o100644
    publish("chaos", hostile_zip(tmp_path / "hostile.zip", name, mode))
    assert fault_of("chaos", tmp_path / "raw") == "unsafe_archive"
    assert names_in(tmp_path / "raw") == []


@pytest.mark.parametrize(
    ("content", "fault"), [(b"<html>moved</html>", "broken_archive"), (b"", "broken_archive")]
)
def test_page_in_the_place_of_an_archive_is_said(publish, tmp_path, content, fault):
    publish("ircadb", content, checksum=None)
    assert fault_of("ircadb", tmp_path / "raw") == fault
    assert names_in(tmp_path / "raw") == []


def test_missing_file_and_server_are_said(publisher, publish, tmp_path, monkeypatch):
    publish("msd", path="missing.tar")
    with pytest.raises(BadInput, match="status 404"):
        get("msd", tmp_path / "raw")
    nobody = replace(SOURCES["msd"].downloads[0], url="http://127.0.0.1:9/Task03_Liver.tar")
    monkeypatch.setitem(SOURCES, "msd", replace(SOURCES["msd"], downloads=(nobody,)))
    with pytest.raises(BadInput, match="cannot be reached"):
        get("msd", tmp_path / "raw")


def test_full_disk_is_said(publish, tmp_path, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    publish("msd")
    monkeypatch.setattr(fetch_module._Downloader, "_append", no_room)
    assert fault_of("msd", tmp_path / "raw") == "disk_full"


def test_file_in_the_place_of_the_folder_is_said(publish, tmp_path):
    publish("msd")
    (tmp_path / "raw").write_text("")
    assert fault_of("msd", tmp_path / "raw") == "not_writable"


@pytest.mark.parametrize("source", ["lits", "lits-png", "folder", "phantom"])
def test_what_cannot_be_downloaded_says_where_to_get_it(source, tmp_path):
    with pytest.raises(BadInput, match="cannot be downloaded directly: .{15}") as caught:
        get(source, tmp_path)
    assert caught.value.fault == "no_download"
    assert SOURCES[source].by_hand in str(caught.value)


def test_every_source_is_either_downloaded_or_explained():
    for source in SOURCES.values():
        assert bool(source.downloads) != bool(source.by_hand)


def test_command_shows_the_licence_and_wants_it_accepted(publisher, publish, tmp_path, capsys):
    publish("msd")
    command = ["fetch", "msd", "--out", str(tmp_path / "raw")]
    assert main(command) == 1
    shown = capsys.readouterr()
    assert "CC BY-SA 4.0" in shown.out and "Antonelli" in shown.out and "md5:" in shown.out
    assert "CC BY-SA 4.0" in shown.err and "--accept-licence" in shown.err
    assert publisher.asked == [] and not (tmp_path / "raw").exists()
    assert main([*command, "--accept-licence"]) == 0
    assert "liverutils verify msd" in capsys.readouterr().out


def test_lack_of_a_checksum_is_said():
    assert "no checksum is published" in describe("ircadb")
    assert "no checksum" not in describe("chaos")
