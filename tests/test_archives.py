"""Folders, zips and tars read alike, and say in a sentence what of them cannot be read."""

import io
import tarfile
import zipfile

import pytest

from liverutils.errors import BadInput
from liverutils.scans import list_deep, list_files, open_file, read_files
from liverutils.scans.archives import size_of
from liverutils.scans.damage import LARGEST_FILE
from liverutils.sources import find_cases


def zipped(path, members, **kwargs):
    with zipfile.ZipFile(path, "w", **kwargs) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def names(place):
    return [path.relative_to(place).as_posix() for path in list_files(place)]


def test_linked_folders_are_followed_once(tmp_path):
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "slice").touch()
    raw = tmp_path / "raw"
    (raw / "real").mkdir(parents=True)
    (raw / "real" / "scan").touch()
    (raw / "a_link_within").symlink_to(raw / "real")
    (raw / "a_link_out").symlink_to(tmp_path / "elsewhere")
    (raw / "the_same_again").symlink_to(tmp_path / "elsewhere" / "deep")
    (raw / "real" / "back").symlink_to(tmp_path)
    assert names(raw) == ["a_link_out/deep/slice", "real/scan"]
    (tmp_path / "raw_link").symlink_to(raw)
    assert names(tmp_path / "raw_link") == ["a_link_out/deep/slice", "real/scan"]


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "volume-1.nii").symlink_to(tmp_path / "gone.nii")
    with pytest.raises(BadInput, match=r"volume-1.nii does not exist"):
        find_cases("lits", tmp_path)[0].load()


def test_backslashes_in_a_zip_are_folders(tmp_path):
    path = zipped(tmp_path / "a.zip", {"CT\\1\\": b"", "CT\\1\\i.dcm": b"x", "./b": b"y"})
    assert names(path) == ["CT/1/i.dcm", "b"]
    assert names(path / "CT") == ["1/i.dcm"]
    assert list(read_files([path / "CT" / "1" / "i.dcm"])) == [(path / "CT" / "1" / "i.dcm", b"x")]
    with open_file(path / "b") as file:
        assert file.read() == b"y"


def test_a_zip_in_a_zip_in_a_zip(tmp_path):
    content = b"deep"
    for level in range(3):
        path = zipped(tmp_path / f"{level}.zip", {f"{level - 1}.zip" if level else "f": content})
        content = path.read_bytes()
    inner = path / "1.zip" / "0.zip"
    assert list_deep(path) == [inner / "f"]
    assert next(read_files([inner / "f"]))[1] == b"deep"
    with open_file(inner) as file:
        assert file.read(2) == b"PK"
    for level in range(3, 7):
        path = zipped(tmp_path / f"{level}.zip", {f"{level - 1}.zip": path.read_bytes()})
    with pytest.raises(BadInput, match="unpack it first"):
        list_deep(path)


def read_opened(paths):
    with open_file(paths[0]) as file:
        return file.read()


@pytest.mark.parametrize("method", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
@pytest.mark.parametrize("how", [read_files, read_opened])
def test_a_damaged_member_is_named(tmp_path, method, how):
    content = bytes(range(256)) * 40
    path = zipped(tmp_path / "a.zip", {"f": content}, compression=getattr(zipfile, method))
    damaged = bytearray(path.read_bytes())
    damaged[40:60] = bytes(20)
    path.write_bytes(damaged)
    with pytest.raises(BadInput, match=r"a\.zip/f cannot be read") as caught:
        list(how([path / "f"]))
    assert caught.value.fault == "broken_archive"


def test_an_unknown_method_is_named(tmp_path):
    path = zipped(tmp_path / "a.zip", {"f": b"x"})
    content = path.read_bytes().replace(b"PK\x03\x04\x14\x00", b"PK\x03\x04\x50\x00")
    path.write_bytes(content.replace(b"PK\x01\x02\x14\x03\x14\x00", b"PK\x01\x02\x14\x03\x50\x00"))
    with pytest.raises(BadInput, match="cannot be read"):
        list_files(path)


def test_a_tar_cut_short_is_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("./sub/f")
        info.size = 5000
        archive.addfile(info, io.BytesIO(bytes(range(250)) * 20))
    assert names(tmp_path / "a.tar.gz") == ["sub/f"]
    assert size_of(tmp_path / "a.tar.gz" / "sub" / "f") == 5000
    content = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="cut short"):
        list_files(tmp_path / "cut.tar.gz")


def test_a_file_that_claims_too_much_is_refused_before_it_is_read(tmp_path):
    path = zipped(tmp_path / "a.zip", {"f": bytes(1000)}, compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02") + 24
    claim = (LARGEST_FILE + 1).to_bytes(4, "little")
    path.write_bytes(content[:at] + claim + content[at + 4 :])
    with pytest.raises(BadInput, match="no slice does") as caught:
        list(read_files([path / "f"]))
    assert caught.value.fault == "too_large"


def test_a_damaged_archive_beside_others_is_a_scan_that_cannot_be_read(tmp_path):
    (tmp_path / "bert.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(BadInput, match=r"bert.zip cannot be read"):
        find_cases("folder", tmp_path)[0].load()
