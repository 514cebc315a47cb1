"""2,000 damaged files, each read or refused in a sentence; seeded, so that a failure comes back."""

import io
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from isal import igzip

from liverutils.errors import BadInput
from liverutils.scans import (
    Case,
    case_from_dicom,
    case_from_nifti,
    list_deep,
    open_file,
    read_dicom_mask,
    read_files,
    read_nifti_mask,
    write_dicom_series,
    write_nifti,
)

# Values that break what trusts a header: zero, the ends of the ranges, NaN and infinity.
EXTREMES = (b"\0\0", b"\xff\xff", b"\xff\x7f", b"\0\x80", b"\0\0\xc0\x7f", b"\0\0\x80\x7f")


def damage(content: bytes, rng: np.random.Generator, header: int) -> bytes:
    """Change bytes, mostly of the header, or cut, double, or lose a piece."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, min(header, len(changed)) if rng.random() < 0.8 else len(changed)))
        how = rng.integers(0, 6)
        if how == 0:
            changed[at] ^= 1 << int(rng.integers(0, 8))
        elif how == 1:
            changed[at : at + 4] = rng.bytes(4)
        elif how == 2:
            value = EXTREMES[rng.integers(len(EXTREMES))]
            changed[at : at + len(value)] = value
        elif how == 3:
            del changed[at : at + int(rng.integers(1, 40))]
        elif how == 4:
            changed[at:at] = changed[at : at + int(rng.integers(1, 40))]
        elif rng.random() < 0.3:
            del changed[at:]
        if not changed:
            break
    return bytes(changed)


@pytest.fixture(scope="module")
def small_case() -> Case:
    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 400, (12, 10, 4)).astype(np.int16)
    return Case("a", "b", image, (image > 0).view(np.uint8), np.diag([2.0, 2.0, 5.0, 1.0]))


def read_nifti_case(path: Path) -> None:
    case_from_nifti(path, patient="a", volume="b")
    read_nifti_mask(path)


def read_series(place: Path) -> None:
    case_from_dicom(place, patient="a", volume="b")
    read_dicom_mask(place)


def read_archive(path: Path) -> None:
    files = list_deep(path)
    list(read_files(files))
    for file in files:
        with open_file(file) as opened:
            opened.read()


def check(read: Callable[[Path], None], place: Path, seed: int) -> None:
    """Read; anything but success and a sentence fails, and says with which seed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(place)
    except BadInput as error:
        assert str(error).endswith("."), f"seed {seed}: {error}"
    except Exception as error:
        raise AssertionError(f"seed {seed} of {read.__name__}: {error!r}") from error


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damaged_nifti(tmp_path, small_case, suffix):
    path = tmp_path / f"scan{suffix}"
    write_nifti(tmp_path / "scan.nii", small_case.image, small_case.affine)
    content = (tmp_path / "scan.nii").read_bytes()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        changed = damage(content, rng, 352)
        if suffix == ".nii.gz":
            # Half of them damaged within, half without.
            packed = igzip.compress(changed if seed % 2 else content, mtime=0)
            changed = packed if seed % 2 else damage(packed, rng, 40)
        path.write_bytes(changed)
        check(read_nifti_case, path, seed)


def test_damaged_dicom(tmp_path, small_case):
    write_dicom_series(tmp_path / "series", small_case)
    path = tmp_path / "series" / "image_1"
    content = path.read_bytes()
    for seed in range(600):
        path.write_bytes(damage(content, np.random.default_rng(seed), len(content) - 240))
        check(read_series, tmp_path / "series", seed)


def zip_bytes(method: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr("a/b.txt", bytes(range(200)) * 3)
        archive.writestr("c", b"c" * 300)
    return content.getvalue()


def tar_bytes(mode: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name in ("a/b", "c"):
            info = tarfile.TarInfo(name)
            info.size = 300
            archive.addfile(info, io.BytesIO(b"x" * 300))
    return content.getvalue()


ARCHIVES = {
    "stored.zip": lambda: zip_bytes(zipfile.ZIP_STORED),
    "deflated.zip": lambda: zip_bytes(zipfile.ZIP_DEFLATED),
    "bzip2.zip": lambda: zip_bytes(zipfile.ZIP_BZIP2),
    "lzma.zip": lambda: zip_bytes(zipfile.ZIP_LZMA),
    "plain.tar": lambda: tar_bytes("w"),
    "packed.tar.gz": lambda: tar_bytes("w:gz"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archives(tmp_path, name):
    content = ARCHIVES[name]()
    for seed in range(100):
        (tmp_path / name).write_bytes(damage(content, np.random.default_rng(seed), len(content)))
        check(read_archive, tmp_path / name, seed)
