"""Building a slice store: against merely reading the same files, with two workers, in memory.

The readers work in one process. Building is timed in one process too, and as it comes, with a
process per core; those are started before the clock.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from isal import igzip
from PIL import Image

from liverutils.scans import LIVER, TUMOR, is_archive, list_files, read_files, write_nifti
from liverutils.slices import build_store
from liverutils.sources import CaseFiles, find_cases
from tests.benchmarks.common import alternate, report

# Builds a store from the folder in its first argument; prints what it needed before and at most.
# Not getrusage: its peak counts what the parent held when it forked.
BUILD_AND_PRINT_MEMORY = """
import sys
from pathlib import Path
from liverutils.sources.known import find_cases
from liverutils.slices.build import build_store
from tests.benchmarks._fresh import memory_mb

before = memory_mb()["VmHWM"]
folder = Path(sys.argv[1])
build_store(find_cases("lits", folder / "raw"), folder / "store", workers=1, progress=False)
print(before, memory_mb()["VmHWM"])
"""


def main() -> None:
    """Measure on synthetic NIfTI, and on the real CT that LIVER_CT_REAL_DATA names."""
    rows = [row for name, cases in data_sets() for row in measure(name, cases)]
    report("store_build", rows)
    report("store_workers", [measure_workers()])
    report("store_memory", [measure_memory(slices) for slices in (200, 800)])


def data_sets() -> Iterator[tuple[str, list[CaseFiles]]]:
    """Yield the data sets at hand."""
    with tempfile.TemporaryDirectory() as folder:
        write_scans(Path(folder), scans=8, slices=100)
        yield "NIfTI", find_cases("lits", folder)
    if real := os.environ.get("LIVER_CT_REAL_DATA"):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(4):  # One patient, as often as there is work for several processes.
                shutil.copytree(Path(real, "3Dircadb1.17"), Path(folder, f"3Dircadb1.{number}"))
            yield "ircadb", find_cases("ircadb", folder)
        yield "lits-png", find_cases("lits-png", Path(real, "lits-png-8.zip"))


def write_scans(folder: Path, scans: int, slices: int) -> None:
    """Write noisy volumes of 512 x 512 voxels, all with the same content."""
    noise = np.random.default_rng(0).normal(50, 15, (512, 512, 10)).astype(np.int16)
    image = np.concatenate([noise] * (slices // 10), axis=2)
    mask = np.zeros(image.shape, np.uint8)
    mask[100:300, 100:300, slices // 4 : slices // 2] = LIVER
    mask[150:180, 150:180, slices // 4 : slices // 3] = TUMOR
    for kind, array in (("volume", image), ("segmentation", mask)):
        first = folder / f"{kind}-0.nii.gz"
        write_nifti(first, array, np.diag([0.8, 0.8, 1, 1]))
        for number in range(1, scans):
            os.link(first, folder / f"{kind}-{number}.nii.gz")


def measure(name: str, cases: list[CaseFiles]) -> Iterator[dict]:
    """Time `build_store` against each reader of the same files."""
    files = [file for case in cases for file in files_of(case)]
    processes = sorted({1, min(len(cases), os.cpu_count() or 1)})
    for (reader, read), workers in product(READERS[name].items(), processes):
        with tempfile.TemporaryDirectory() as folder:
            stores = (Path(folder, str(number)) for number in range(100))

            def build(stores: Iterator[Path] = stores, workers: int = workers) -> None:
                build_store(cases, next(stores), size=256, workers=workers, progress=False)

            timed = alternate(build, lambda read=read: read(files), pairs=3)
        yield {
            "data": name,
            "scans": len(cases),
            "workers": workers,
            "reader": reader,
            "build_s": timed["ours_s"],
            "read_s": timed["other_s"],
            "ratio": timed["ratio"],
            "lowest_ratio": timed["lowest_ratio"],
        }


def files_of(case: CaseFiles) -> list[Path]:
    """Return the files that `case.load` reads."""
    if case.source == "ircadb":
        structures = list_files(case.mask)
        return list_files(case.image) + [
            file for file in structures if file.parent.name.startswith("liver")
        ]
    if case.source == "lits-png":
        number = case.volume.removeprefix("volume-")
        files = list_files(case.image) + list_files(case.mask)
        return [file for file in files if file.name.split("_")[0].split("-")[1] == number]
    return [case.image, case.mask]


def read_with_isal(files: list[Path]) -> None:
    """Decompress NIfTI with ISA-L, the fastest gzip at hand, and no more."""
    for file in files:
        np.frombuffer(igzip.decompress(file.read_bytes()), np.uint8)


def read_with_simpleitk(files: list[Path]) -> None:
    """Read NIfTI as SimpleITK does."""
    for file in files:
        SimpleITK.GetArrayViewFromImage(SimpleITK.ReadImage(str(file)))


def read_dicom_with_isal(files: list[Path]) -> None:
    """Decompress DICOM with ISA-L and parse it with pydicom."""
    for _, content in read_files(files):
        pydicom.dcmread(io.BytesIO(content)).pixel_array  # noqa: B018


def in_zipfile(decode: Callable[[io.BytesIO], object]) -> Callable[[list[Path]], None]:
    """Return a reader that takes the files out of their archives with Python's own zipfile."""

    def read(files: list[Path]) -> None:
        for place in {next(filter(is_archive, file.parents)) for file in files}:
            with zipfile.ZipFile(place) as archive:
                for file in (file for file in files if file.is_relative_to(place)):
                    decode(io.BytesIO(archive.read(file.relative_to(place).as_posix())))

    return read


READERS = {
    "NIfTI": {"ISA-L, bytes only": read_with_isal, "SimpleITK": read_with_simpleitk},
    "ircadb": {
        "ISA-L, pydicom": read_dicom_with_isal,
        "zipfile, pydicom": in_zipfile(lambda file: pydicom.dcmread(file).pixel_array),
    },
    "lits-png": {"zipfile, Pillow": in_zipfile(lambda file: np.asarray(Image.open(file)))},
}


def measure_workers() -> dict:
    """Time 128 scans of 512 x 512 x 100 voxels with one and with two workers.

    Fewer would measure how long the second process takes to import scipy and pandas.
    """
    with tempfile.TemporaryDirectory() as folder:
        (raw := Path(folder, "raw")).mkdir()
        write_scans(raw, scans=128, slices=100)
        seconds = {}
        for workers in (2, 1):
            start = time.perf_counter()
            store = Path(folder, str(workers))
            build_store(find_cases("lits", raw), store, workers=workers, progress=False)
            seconds[workers] = time.perf_counter() - start
    return {
        "scans": 128,
        "one_worker_s": seconds[1],
        "two_workers_s": seconds[2],
        "speedup": seconds[1] / seconds[2],
        "load": os.getloadavg()[0],
    }


def measure_memory(slices: int) -> dict:
    """Build the store of one scan in a process of its own; return what that process needs."""
    with tempfile.TemporaryDirectory() as folder:
        (raw := Path(folder, "raw")).mkdir()
        write_scans(raw, scans=1, slices=slices)
        output = subprocess.check_output(
            [sys.executable, "-c", BUILD_AND_PRINT_MEMORY, folder], text=True
        )
    before, peak = map(float, output.split())
    volume = 512 * 512 * slices * 2 / 2**20
    return {
        "slices": slices,
        "volume_mb": volume,
        "imports_mb": before,
        "peak_mb": peak,
        "peak_over_volume": peak / volume,
    }


if __name__ == "__main__":
    main()
