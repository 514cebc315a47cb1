"""Logged runs side by side."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from liverutils.errors import BadInput
from liverutils.runs.logs import find_runs, foreign_weights, record_at, tables_at
from liverutils.runs.record import RunRecord

NOTHING_LOGGED = RunRecord()


@dataclass(frozen=True)
class LoggedRun:
    """The logs of one run.

    Attributes:
        name: As in `runs.find_runs`.
        tables: Table name, such as "val" or "patients", → rows; missing files are left out.
        record: What `<run>_run.json` says; empty where it is missing.
    """

    name: str
    tables: dict[str, pd.DataFrame]
    record: RunRecord = NOTHING_LOGGED

    def has(self, *needs: str) -> bool:
        """Whether the run logged all of these: "val", "val.val_loss" or "cost.ms_per_slice".

        Before the dot stands a table or a part of the record, behind it a column or key.
        """
        return all(self._has(*need.split(".")) for need in needs)

    def _has(self, part: str, name: str | None = None) -> bool:
        logged = self.tables.get(part, getattr(self.record, part, None))
        if not isinstance(logged, pd.DataFrame | dict) or len(logged) == 0:
            return False
        return name is None or name in logged


def load_runs(logs_dir: Path | str) -> dict[str, LoggedRun]:
    """Read every run in `logs_dir` and its sub-folders, ours or others' in the same layout.

    Raises:
        BadInput: The folder is missing or holds no logs, or a file is broken.
    """
    found = find_runs(logs_dir)
    for stem in found.values():
        for weights in foreign_weights(stem):
            warnings.warn(
                f"{weights} is not of the run that {stem.name}_run.json tells of: what the tables "
                "say was not measured with these weights.",
                stacklevel=2,
            )
    return {name: LoggedRun(name, tables_at(stem), record_at(stem)) for name, stem in found.items()}


def gather(runs: dict[str, LoggedRun], table: str) -> pd.DataFrame:
    """Put one table of all runs that have it into one, with the column `run` in front.

    Columns that only some runs have are NaN in the others; no run at all gives an empty table.
    """
    rows = [run.tables[table].assign(run=name) for name, run in runs.items() if table in run.tables]
    if not rows:
        return pd.DataFrame(columns=["run"])
    together = pd.concat(rows, ignore_index=True)
    return together[["run", *together.columns.drop("run")]]


def run_table(runs: dict[str, LoggedRun]) -> pd.DataFrame:
    """One row per run: how long it trained, what it cost and what it reached.

    Returns:
        `run`, `data` (its source), `epochs`, `minutes` (sum of the runtime log), what
        `<run>_run.json` says under `cost`, and the values of one epoch, each with its table's name
        in front: `train_loss` (mean over steps), `val_loss`, `val_dice_avg_class_1`, `test_loss`, …
        It is the epoch whose weights were kept (`best_epoch` of `<run>_run.json`), else that of the
        least validation loss, else the last. Where `<run>_run.json` has `scores` of the kept
        weights, they stand instead. What a run did not log is NaN.

    Raises:
        BadInput: A table without epochs.
    """
    return pd.DataFrame([_run_row(run) for run in runs.values()])


def kept_epoch(run: LoggedRun) -> int | None:
    """The epoch whose weights were kept, else that of the least validation loss, else None."""
    if run.record.best_epoch is not None:
        return run.record.best_epoch
    losses = run.tables.get("val", pd.DataFrame()).get("val_loss", pd.Series(dtype=float))
    return int(by_epoch(run, "val")["val_loss"].idxmin()) if losses.notna().any() else None


def at_kept_epoch(run: LoggedRun, table: str) -> pd.Series:
    """Return the numbers of a table at `kept_epoch`, or at the last one where that is not there."""
    rows, kept = by_epoch(run, table), kept_epoch(run)
    return rows.loc[kept] if kept in rows.index else rows.iloc[-1]


def by_epoch(run: LoggedRun, table: str) -> pd.DataFrame:
    """Return the numbers of a table by epoch; what has several rows an epoch is averaged.

    A test table may lack its epochs, as others log it: it then has a row for each epoch that was
    validated, or the single row of the end.

    Raises:
        BadInput: A table without epochs.
    """
    rows = run.tables[table]
    if "epoch" not in rows:
        if table != "test" or len(rows) not in (1, len(run.tables.get("val", rows))):
            raise BadInput(f"{run.name}_{table}.csv has no column epoch.", fault="broken_log")
        rows = rows.assign(epoch=range(len(rows)))
    numbers = rows.drop(columns="step", errors="ignore")
    return numbers.groupby("epoch").mean(numeric_only=True)


def _run_row(run: LoggedRun) -> dict[str, float | str]:
    epochs = {part: by_epoch(run, part) for part in ("train", "val", "test") if part in run.tables}
    runtime = run.tables.get("runtime", pd.DataFrame()).get("runtime", pd.Series([np.nan]))
    row = {
        "run": run.name,
        "data": run.record.source,
        "epochs": max((len(rows) for rows in epochs.values()), default=0),
        "minutes": runtime.sum(skipna=False) / 60,
    }
    row |= run.record.cost
    values = {part: at_kept_epoch(run, part) for part, rows in epochs.items() if len(rows)}
    for part, scores in (*values.items(), *run.record.scores.items()):
        prefix = f"{part}_"
        row |= {prefix + name.removeprefix(prefix): value for name, value in scores.items()}
    return row
