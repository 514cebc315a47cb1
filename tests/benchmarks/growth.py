"""How time and memory grow where patients, slices or pixels double, up to LiTS's size.

python -m tests.benchmarks.growth [PART …], where a part is a stage below or `lits`

Each size of each stage is measured in a process of its own, after a tiny run that loads what is
loaded on first use. Memory is what the peak adds to that, pages of files apart. The exponents are
slopes of log time and log memory over log factor at the largest sizes, where fixed costs hide least
of the growth: 1 is linear, 2 is quadratic.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from liverutils.models import Settings, build_model
from liverutils.prediction import segment
from liverutils.prediction.network import TrainedNetwork
from liverutils.scans import Case, write_nifti
from liverutils.scoring import score_patient
from liverutils.slices import (
    INPUT_WINDOWS,
    Augment,
    SliceStore,
    build_store,
    slice_loaders,
    split_patients,
)
from liverutils.sources import find_cases
from tests.benchmarks import _lits_size
from tests.benchmarks._fresh import (
    free_promptly,
    in_fresh_process,
    memory_mb,
    peak_anonymous_mb,
    restart_peak,
)
from tests.benchmarks._lits_size import BATCH, write_sparse_store
from tests.benchmarks.common import report, seconds_of

FACTORS = (1, 2, 4, 8, 16)
FITTED = 3  # largest factors
TOLERANCE = 0.1
MIN_RUNS, MIN_SECONDS = 2, 0.5


@dataclass(frozen=True)
class Size:
    """So many patients with one scan each, of so many slices of `side` × `side` voxels."""

    patients: int
    slices: int
    side: int

    def times(self, what: str, factor: int) -> "Size":
        """Return the size with so many times the patients, slices or pixels of a slice."""
        if what == "pixels":
            # U-Net halves its pictures four times.
            return replace(self, side=16 * round(self.side / 16 * factor**0.5))
        return replace(self, **{what: factor * getattr(self, what)})

    def over(self, other: "Size") -> float:
        """Return how many times the voxels of another size these are."""
        return self.voxels / other.voxels

    @property
    def voxels(self) -> int:
        """Of all scans together."""
        return self.patients * self.slices * self.side**2


TINY = Size(patients=4, slices=16, side=32)


# --- The stages: each prepares a size in a folder and returns the work to measure -------------


def build(folder: Path, size: Size) -> Callable[[], object]:
    """Build a store, one scan after the other in this process."""
    case = make_case(size)
    for number in range(size.patients):
        for kind, array in (("volume", case.image), ("segmentation", case.mask)):
            path, first = (folder / f"{kind}-{n}.nii.gz" for n in (number, 0))
            path.hardlink_to(first) if number else write_nifti(path, array, case.affine)
    cases, stores = find_cases("lits", folder), (folder / f"store-{n}" for n in count())
    return lambda: build_store(cases, next(stores), size=size.side, workers=1, progress=False)


def gather_epoch(folder: Path, size: Size) -> Callable[[], object]:
    """Gather, window and augment the batches of a training epoch; no network takes them."""
    store = open_sparse(folder, size)
    split = split_patients(store.slices)
    dls = slice_loaders(store, split, batch_size=BATCH, augment=Augment())

    def epoch() -> None:
        for _ in dls.train:
            pass

    return epoch


def segment_scans(folder: Path, size: Size) -> Callable[[], object]:
    """Segment scans with a small U-Net that is as fine as they are."""
    torch.manual_seed(0)
    data = {"view": "axial", "size": size.side, "window": INPUT_WINDOWS["HU"], "intensity": "HU"}
    network = TrainedNetwork(
        build_model("UNet", width=8).eval(),
        data | {"context_slices": 0},
        torch.device("cpu"),
        Settings(),
    )
    case = make_case(size)

    def segment_all() -> None:
        for _ in range(size.patients):
            segment(network, case)

    return segment_all


def score_scans(folder: Path, size: Size) -> Callable[[], object]:
    """Score predictions that lie two voxels off."""
    true = make_case(size).mask
    predicted = np.roll(true, 2, axis=0)

    def score_all() -> None:
        for _ in range(size.patients):
            score_patient(predicted, true, (0.8, 0.8, 1.5))

    return score_all


def open_table(folder: Path, size: Size) -> Callable[[], object]:
    """Open a store with its table."""
    return partial(SliceStore.open, open_sparse(folder, size).folder)


def split_table(folder: Path, size: Size) -> Callable[[], object]:
    """Split the patients."""
    return partial(split_patients, open_sparse(folder, size).slices)


def make_loaders(folder: Path, size: Size) -> Callable[[], object]:
    """Make the loaders, with neighbouring slices."""
    store = open_sparse(folder, size)
    split = split_patients(store.slices)
    return partial(slice_loaders, store, split, batch_size=BATCH, context_slices=1)


def find_scans(folder: Path, size: Size) -> Callable[[], object]:
    """Find the slices of each test scan, as scoring does."""
    test = make_loaders(folder, size)()[2].dataset

    def find_all() -> None:
        slices = replace(test)  # Which has not looked for any scan yet.
        for volume in slices.slices.volume.unique():
            slices.of_volume(volume)

    return find_all


def open_sparse(folder: Path, size: Size) -> SliceStore:
    """Open a sparse store of a size."""
    sparse = write_sparse_store(folder / "sparse", size.patients, size.slices, size.side)
    return SliceStore.open(sparse)


def make_case(size: Size) -> Case:
    """Return a scan of noise around an egg-shaped liver with a tumour in its middle."""
    shape = (size.side, size.side, size.slices)
    image, mask = np.empty(shape, np.int16, "F"), np.empty(shape, np.uint8, "F")
    noise = np.random.default_rng(0)
    x, y, z = (np.linspace(-1, 1, n) for n in shape)
    # Slice by slice, or the peak of memory would be that of making the scan.
    for index, height in enumerate(z):
        away = x[:, None] ** 2 + y**2 + height**2
        mask[..., index] = (away < 0.3).astype(np.uint8) + (away < 0.02)
        image[..., index] = noise.normal(50, 15, shape[:2]) + 50 * mask[..., index]
    return Case("egg", "egg", image, mask, np.diag([0.8, 0.8, 1.5, 1]))


class Stage(NamedTuple):
    """What is measured, from which size on, and what its memory may grow with."""

    prepare: Callable[[Path, Size], Callable[[], object]]
    base: Size
    doubled: tuple[str, ...] = ("patients", "slices", "pixels")
    memory_grows_with: tuple[str, ...] = ("slices", "pixels")


# Tables of LiTS's size at 16 times the base; their pictures do not matter.
TABLES = {"base": Size(8, 443, 16), "doubled": ("patients",), "memory_grows_with": ("patients",)}

STAGES = {
    "store": Stage(build, Size(2, 40, 256)),
    "epoch": Stage(gather_epoch, Size(8, 32, 192), memory_grows_with=("pixels",)),
    "predict": Stage(segment_scans, Size(1, 32, 128)),
    "score": Stage(score_scans, Size(1, 64, 128)),
    "open": Stage(open_table, **TABLES),
    "split": Stage(split_table, **TABLES),
    "loaders": Stage(make_loaders, **TABLES),
    "scans": Stage(find_scans, **TABLES),
}


# --- Measuring --------------------------------------------------------------------------------


def main(*parts: str) -> None:
    """Measure some parts, by default all."""
    if unknown := set(parts) - {*STAGES, "lits"}:
        sys.exit(f"There is no part {', '.join(unknown)}; there are {', '.join(STAGES)}, lits.")
    rows = []
    for name in [name for name in STAGES if name in parts or not parts]:
        rows += measure_stage(name)
        report("_".join(["growth", *parts]), rows)
    if "lits" in parts or not parts:
        measure_lits()


def measure_stage(name: str) -> Iterator[dict]:
    """Yield a row for each of what is doubled and each factor."""
    stage = STAGES[name]
    base = in_fresh_process(measure, name, stage.base)
    for what in stage.doubled:
        sizes = [stage.base.times(what, factor) for factor in FACTORS]
        measured = [base] + [in_fresh_process(measure, name, size) for size in sizes[1:]]
        factors = [size.over(stage.base) for size in sizes]
        exponents = {
            f"{figure}_exponent": exponent(factors, [row[figure] for row in measured])
            for figure in ("seconds", "peak_mb")
        }
        memory_limit = float(what in stage.memory_grows_with)
        is_bounded = (
            exponents["seconds_exponent"] <= 1 + TOLERANCE
            and exponents["peak_mb_exponent"] <= memory_limit + TOLERANCE
        )
        verdict = {"memory_limit": memory_limit, "verdict": "ok" if is_bounded else "too fast"}
        for factor, figures in zip(factors, measured, strict=True):
            yield {"stage": name, "doubled": what, "factor": factor} | figures | exponents | verdict


def measure(name: str, size: Size) -> dict[str, float]:
    """Do a stage's work at one size; return its least seconds and what it adds to memory."""
    with tempfile.TemporaryDirectory() as folder:
        for place in ("tiny", "sized"):
            Path(folder, place).mkdir()
        STAGES[name].prepare(Path(folder, "tiny"), TINY)()
        before = memory_mb()["RssAnon"]
        work = STAGES[name].prepare(Path(folder, "sized"), size)
        seconds = [seconds_of(work)]
        while len(seconds) < MIN_RUNS or sum(seconds) < MIN_SECONDS:
            seconds.append(seconds_of(work))
        free_promptly()
        restart_peak()
        work()
        return {"seconds": min(seconds), "peak_mb": peak_anonymous_mb() - before}


def exponent(factors: list[float], figures: list[float]) -> float:
    """Return the slope of log figure over log factor at the largest factors."""
    largest = slice(-FITTED, None)
    return float(np.polyfit(np.log(factors[largest]), np.log(figures[largest]), 1)[0])


def measure_lits() -> None:
    """Measure an epoch at LiTS's size, and where its stores would lie with a T4."""
    slices = (_lits_size.PATIENTS, _lits_size.SLICES_EACH)
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            pixels: write_sparse_store(Path(folder, str(pixels)), *slices, pixels)
            for pixels in (128, 256, _lits_size.PIXELS)
        }
        epoch = in_fresh_process(_lits_size.measure_epoch, stores[_lits_size.PIXELS])
        report("growth_lits_epoch", [epoch])
        report("growth_lits_t4", [_lits_size.place_on_t4(store) for store in stores.values()])


if __name__ == "__main__":
    main(*sys.argv[1:])
