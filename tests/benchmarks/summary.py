"""All benchmarks in one table of README.md here, from their files in logs/bench: `make readme`."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from liverutils.course import repository_root
from liverutils.course.readme import fill, markdown_table


@dataclass(frozen=True)
class Figure:
    """What a benchmark is held to.

    Attributes:
        what: Of ours.
        against: What it is compared with.
        file: The benchmark's table, without its suffix.
        rows: Which of its rows count, as `DataFrame.query` takes it; all where it is empty.
        value: The figure, as `DataFrame.eval` takes it.
        unit: What the figure is in.
        goal: What each row must reach; None where the figure is only told.
        is_limit: The goal is the most, not the least.
    """

    what: str
    against: str
    file: str
    rows: str
    value: str
    unit: str = "times as fast"
    goal: float | None = None
    is_limit: bool = False


STEP = "bare steps on one batch in memory, the limit"
MONAI = "MONAI's CacheDataset and ThreadDataLoader"
READERS = {
    "NIfTI and DICOM": {
        "one process that reads the same files as its users do, with SimpleITK or pydicom": (
            "data != 'lits-png' and not reader.str.contains('ISA-L')"
        ),
        "one process that only inflates them, with ISA-L (and parses them, with pydicom)": (
            "reader.str.contains('ISA-L')"
        ),
    },
    "PNG": {"one process that reads the same files with Pillow": "data == 'lits-png'"},
}
EARLIER = "an earlier project's recipe for the same liver Dice, {}"
NNUNET = "nnU-Net v2, 2d, small batches, as long on the same patients: {} Dice"
FIGURES = (
    Figure("training epoch", STEP, "epoch_speed", "not augmented", "ratio", goal=0.95),
    Figure("training epoch, augmented", STEP, "epoch_speed", "augmented", "ratio", goal=0.95),
    Figure("batches alone", MONAI, "data_pipeline", "other == 'MONAI'", "ratio", goal=1.5),
    Figure("training on the batches", MONAI, "data_pipeline_training", "", "ratio", goal=1),
    Figure(
        "batches alone",
        "reading with nibabel, slice by slice",
        "data_pipeline",
        "other == 'nibabel'",
        "ratio",
    ),
    *(
        Figure(
            "training",
            EARLIER.format(data),
            f"earlier_recipe_{data}_summary",
            "",
            "1 / share_of_its_time",
            "times as soon",
            3,
        )
        for data in ("phantom", "lits-png")
    ),
    *(
        Figure(
            "U-Net",
            NNUNET.format(structure),
            "nnunet_phantom_differences",
            f"score == '{structure}_dice'",
            "difference",
            "more",
            0,
        )
        for structure in ("liver", "tumor")
    ),
    *(
        Figure(
            f"prepare {what}, {how}",
            reader,
            "store_build",
            f"{rows} and {workers}",
            "ratio",
            goal=0.8,
        )
        for what, readers in READERS.items()
        for how, workers in (
            ("a process per core", "workers > 1"),
            ("one process", "workers == 1"),
        )
        for reader, rows in readers.items()
    ),
    Figure(
        "predict",
        "the bare network on the same slices, as fast as it goes",
        "predict_speed",
        "settings == 'ours'",
        "ratio",
        goal=0.9,
    ),
    Figure(
        "all volume metrics",
        "surface-distance",
        "metrics_speed",
        "other != 'MONAI'",
        "ratio",
        goal=1,
    ),
    Figure("all volume metrics", "MONAI", "metrics_speed", "other == 'MONAI'", "ratio", goal=1),
    Figure("phantom patients", "", "phantom_speed", "", "million_voxels_per_s", "M voxels/s"),
    Figure(
        "a notebook until its first batch",
        "importing fastai",
        "import_time",
        "until == 'first batch'",
        "ours_over_fastai",
        "times as long",
        1.2,
        is_limit=True,
    ),
    Figure(
        "time, where patients, slices or pixels double",
        "as much longer as there is more",
        "growth",
        "",
        "seconds_exponent",
        "as exponent",
        1.1,
        is_limit=True,
    ),
    Figure(
        "memory, where it must not or must grow",
        "not at all, or as the data",
        "growth",
        "",
        "peak_mb_exponent - memory_limit",
        "beyond that exponent",
        0.1,
        is_limit=True,
    ),
    Figure(
        "the core set: starts, imports, data",
        "its whole time",
        "batch_overhead",
        "run == 'all'",
        "share",
        "of it",
        0.333,
        is_limit=True,
    ),
)


def main() -> None:
    """Write the table of all benchmarks that have run into their README."""
    root = repository_root()
    fill(
        root / "tests" / "benchmarks" / "README.md",
        "speed",
        partial(speed, root / "logs" / "bench"),
    )


def speed(folder: Path) -> str:
    """Return the Markdown table of the benchmarks in a folder, and on what they ran."""
    figures = [figure for figure in FIGURES if (folder / f"{figure.file}.csv").is_file()]
    machines = sorted({_machine(folder, figure.file) for figure in figures})
    table = markdown_table(summarise(figure, folder) for figure in figures)
    return f"On {'; '.join(machines)}.\n\n{table}"


def _machine(folder: Path, name: str) -> str:
    facts = json.loads((folder / f"{name}_machine.json").read_text())
    return f"{facts['cores']} cores, {facts['device']}, torch {facts['versions']['torch']}"


def summarise(figure: Figure, folder: Path) -> dict[str, str]:
    """Return a row: the median of what was measured, its range, and whether all reach the goal."""
    table = pd.read_csv(folder / f"{figure.file}.csv")
    values = (table.query(figure.rows) if figure.rows else table).eval(figure.value)
    low, middle, high = (f"{value:.2f}" for value in values.quantile([0, 0.5, 1]))
    measured = middle if low == high else f"{middle} ({low} to {high})"
    goal = reached = ""
    if figure.goal is not None:
        goal = f"{'≤' if figure.is_limit else '≥'} {figure.goal:g}"
        meets = values.le if figure.is_limit else values.ge
        reached = "yes" if meets(figure.goal).all() else "no"
    return {
        "ours": figure.what,
        "against": figure.against,
        "measured": f"{measured} {figure.unit}",
        "goal": goal,
        "reached": reached,
        "benchmark": f"[{figure.file}](../../logs/bench/{figure.file}.csv)",
    }


if __name__ == "__main__":
    main()
