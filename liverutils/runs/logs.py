"""The logs of a run: CSV files and a JSON file in a folder of its own, named after the run."""

import hashlib
import re
import time
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pandas as pd

from liverutils.errors import BadInput
from liverutils.files import write_json, written_aside
from liverutils.models import read_weight_facts
from liverutils.runs.machine import machine_facts, peak_memory_mb
from liverutils.runs.record import RunRecord

TABLES = (
    "train",
    "val",
    "test",
    "runtime",
    "hyperparams",
    "confusion",
    "per_class_accuracy",
    "slices",
    "patients",
    "lesions",
    "elsewhere",
)


# Columns that any reader counts with.
NUMBERS = ("epoch", "step", "loss", "runtime", "val_loss", "test_loss")


HYPERPARAMS = ("learning_rate", "weight_decay", "batch_size", "epochs")


class RunLogs:
    """Where one run writes: `<folder>/<name>/<name>_<kind>.csv`, its run.json, weights, checkpoint.

    Every file is written aside and renamed, so that a killed run leaves none half-written.

    Attributes:
        folder: Of the logs of all runs.
        name: Of this run.
        home: The folder of this run alone.
        weights: Where its best weights go.
        checkpoint: Where it saves what it needs to go on.
        run_id: Tells this run from every other, an earlier one of the same name among them; it
            stands in run.json, the weights and the checkpoint. None before the run has begun.

    Raises:
        BadInput: bad_run_name, a name that is no plain name of a folder.
    """

    def __init__(self, folder: Path | str, name: str) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[^\W_][\w .+=-]{0,99}", name):
            raise BadInput(
                f"run_name is {name!r}: it names a folder and files, so take letters, digits and "
                "_ - + = . without any folder, at most 100, such as 'UNet_mine'.",
                fault="bad_run_name",
            )
        self.folder, self.name = Path(folder), name
        self.home = self.folder / name
        self.weights = self.home / f"{name}.safetensors"
        self.checkpoint = self.home / f"{name}.pt"
        self.run_id: str | None = None
        self._start = time.perf_counter()

    def begin(self, record: RunRecord, run_id: str | None = None) -> None:
        """Begin a run anew, or go on with the one of this id.

        What an earlier run of this name wrote is removed first, so that the files of two runs never
        lie side by side; run.json says from now on which run this is.

        Args:
            record: What the run is.
            run_id: Of the run that goes on.

        Raises:
            BadInput: folder_in_use, where tables of this name lie that the course did not write.
        """
        self.run_id = run_id or uuid4().hex[:12]
        if run_id is None:
            self._make_room()
        if self._read_own().run_id != self.run_id:
            begun = replace(record, run_name=self.name, run_id=self.run_id)
            write_json(self._json, begun.as_json)

    @property
    def _json(self) -> Path:
        return self.home / f"{self.name}_run.json"

    def _read_own(self) -> RunRecord:
        return RunRecord.read(self._json) if self._json.is_file() else RunRecord()

    def _make_room(self) -> None:
        last = self.weights.with_stem(f"{self.name}_last")
        own = [path for path in map(self.path, TABLES) if path.is_file()]
        if own and not self._json.is_file():
            raise BadInput(
                f"{own[0]} was not written by this course (there is no {self._json.name} beside "
                "it) and would be lost: take another run_name or logs_dir.",
                fault="folder_in_use",
            )
        for path in (*own, self.weights, last, self.checkpoint, self._json):
            path.unlink(missing_ok=True)

    def path(self, kind: str) -> Path:
        """Return the CSV file of a kind, such as "train" or "patients"."""
        return self.home / f"{self.name}_{kind}.csv"

    def write(self, kind: str, table: pd.DataFrame) -> None:
        """Write a table as the run's CSV of that kind."""
        with written_aside(self.path(kind)) as aside:
            table.to_csv(aside, index=False)
        record = self._read_own() if self.run_id else RunRecord()
        if record.files is not None:  # The run is finished, so its record lists what belongs to it.
            write_json(self._json, replace(record, files=self._list_files()).as_json)

    def _list_files(self) -> dict[str, str]:
        """The run's tables and what tells whether they are changed."""
        tables = filter(Path.is_file, map(self.path, TABLES))
        return {path.name: _checksum(path) for path in tables}

    def before_epoch(self, kind: str, epoch: int) -> pd.DataFrame:
        """Return the rows already logged for the epochs before `epoch`."""
        if epoch == 0 or not self.path(kind).is_file():
            return pd.DataFrame()
        table = _read_table(self.path(kind), kind)
        return table[table.epoch < epoch]

    def write_run(self, record: RunRecord) -> None:
        """Write run.json: what the run was, on what it ran, how long it took so far, its files."""
        complete = replace(
            record,
            run_name=self.name,
            run_id=self.run_id,
            machine=machine_facts(),
            wall_time_s=round(time.perf_counter() - self._start, 1),
            peak_memory_mb=peak_memory_mb(),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            files=self._list_files(),
        )
        write_json(self._json, complete.as_json)

    def finish(self, record: RunRecord) -> None:
        """Write run.json once more when all is scored; the checkpoint has served."""
        self.write_run(record)
        self.checkpoint.unlink(missing_ok=True)


def find_runs(folder: Path | str) -> dict[str, Path]:
    """Find the runs logged in `folder` and its sub-folders, each in a folder of its own or not.

    Returns:
        Run name → the stem its files share, such as `logs/UNet/UNet` for
        `logs/UNet/UNet_val.csv`. Runs of the same name are told apart by the folder they lie in:
        `a/UNet` for `a/UNet_val.csv` and `a/UNet/UNet_val.csv`.

    Raises:
        BadInput: The folder is missing or holds no logs.
    """
    folder = Path(folder)
    stems = sorted({stem for path in folder.rglob("*") if (stem := _stem(path))})
    if not stems:
        raise BadInput(
            f"No logs in {folder}: expected files such as UNet_val.csv; run a training notebook "
            "first or name the folder that holds the logs.",
            fault="no_logs",
        )
    alike: dict[str, list[Path]] = {}
    for stem in stems:
        alike.setdefault(stem.name, []).append(stem.relative_to(folder))
    names = {folder / stem: name for same in alike.values() for name, stem in _told_apart(same)}
    return {names[stem]: stem for stem in stems}


def read_run(folder: Path | str, run: str) -> dict[str, pd.DataFrame]:
    """Read the tables of `run` that are in `folder`, or in the run's own folder in there.

    Returns:
        Table name (one of `TABLES`) → its rows; one that is missing is left out. Columns beyond the
        documented ones are kept. `hyperparams` may lack its header; its columns are then those of
        `HYPERPARAMS`.

    Raises:
        BadInput: A file is not a CSV table.
    """
    return tables_at(_stem_of(Path(folder), run))


def read_record(folder: Path | str, run: str) -> RunRecord:
    """Read `<run>_run.json`: parameters, versions, data and split; empty where it is missing.

    Raises:
        BadInput: As `RunRecord.read`.
    """
    return record_at(_stem_of(Path(folder), run))


def tables_at(stem: Path) -> dict[str, pd.DataFrame]:
    """Read the tables whose files begin with `stem`; see `read_run`.

    A table of another run than run.json tells of, or changed since, is left out with a warning: no
    one should take two runs for one.
    """
    listed = record_at(stem).files
    paths = {table: stem.with_name(f"{stem.name}_{table}.csv") for table in TABLES}
    there = {table: path for table, path in paths.items() if path.exists()}
    for table, path in list(there.items()):
        if listed is not None and listed.get(path.name) != _checksum(path):
            warnings.warn(
                f"{path} is left out: it is not the file that {stem.name}_run.json lists, so it is "
                "of another run or was changed.",
                stacklevel=2,
            )
            del there[table]
    return {table: _read_table(path, table) for table, path in there.items()}


def foreign_weights(stem: Path) -> list[Path]:
    """Return the weights beside a run.json, best and last, that are not of the run it tells of."""
    run_id = record_at(stem).run_id
    kept = [stem.with_name(f"{stem.name}{which}.safetensors") for which in ("", "_last")]
    return [path for path in kept if run_id and path.is_file() and _run_id_in(path) != run_id]


def _run_id_in(weights: Path) -> str | None:
    try:
        return read_weight_facts(weights).get("run_id")
    except BadInput:  # Damaged, or another program's.
        return None


def _checksum(path: Path) -> str:
    """Of a table's text; git may have changed how its lines end."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]


def record_at(stem: Path) -> RunRecord:
    """Read the run.json whose name begins with `stem`; see `read_record`."""
    path = stem.with_name(f"{stem.name}_run.json")
    return RunRecord.read(path) if path.exists() else RunRecord()


def _stem_of(folder: Path, run: str) -> Path:
    """What the run's files begin with: in a folder of its own, as the course writes, or flat."""
    own = folder / run / run
    has_own = any(_stem(path) == own for path in own.parent.glob("*"))
    return own if has_own else folder / run


def _told_apart(stems: list[Path]) -> list[tuple[str, Path]]:
    """Names for stems of the same last part, as short as they can be."""
    if len(stems) == 1:
        return [(stems[0].name, stems[0])]
    short = [stem.parent if stem.parent.name == stem.name else stem for stem in stems]
    names = short if len(set(short)) == len(stems) else stems
    return [(name.as_posix(), stem) for name, stem in zip(names, stems, strict=True)]


def _stem(path: Path) -> Path | None:
    """`logs/UNet` for `logs/UNet_val.csv`; None where the file belongs to no run."""
    for ending in [f"_{table}.csv" for table in TABLES] + ["_run.json"]:
        if path.name.endswith(ending) and path.name != ending:
            return path.with_name(path.name.removesuffix(ending))
    return None


def _read_table(path: Path, table: str) -> pd.DataFrame:
    try:
        headerless = table == "hyperparams" and _starts_with_numbers(path)
        rows = pd.read_csv(path, skipinitialspace=True, header=None if headerless else 0)
    except (OSError, ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
        reason = str(error).strip().replace("\n", " ")
        raise BadInput(
            f"{path} is not a CSV table ({reason}): delete it or run the notebook again.",
            fault="broken_log",
        ) from error
    if headerless:
        return rows.rename(columns=dict(enumerate(HYPERPARAMS)))
    for column in () if table == "hyperparams" else NUMBERS:  # there `loss` is the loss's name
        if column in rows and len(rows) and not pd.api.types.is_numeric_dtype(rows[column]):
            raise BadInput(
                f"{path} has something else than numbers as {column}: delete it or run the "
                "notebook again.",
                fault="broken_log",
            )
    return rows


def _starts_with_numbers(path: Path) -> bool:
    first_line = path.read_text(errors="replace").partition("\n")[0]
    cells = pd.Series(first_line.split(","))
    return bool(pd.to_numeric(cells, errors="coerce").notna().all())
