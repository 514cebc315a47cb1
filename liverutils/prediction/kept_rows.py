"""What was asked of each scan, kept: a second run, or one that died, asks only what is missing."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from liverutils.files import written_aside
from liverutils.scans import Case
from liverutils.sources import CaseFiles


def rows_of_scans(
    files: Iterable[CaseFiles],
    row: Callable[[Case], Mapping[str, Any]],
    table: Path | str,
    made_with: str,
) -> pd.DataFrame:
    """Ask something of each scan, one in memory at a time, and keep the answers.

    Args:
        files: The scans.
        row: What is asked: scan → column → value.
        table: CSV that keeps the answers, written after each scan. Rows that were made with
            something else, or of other scans, are dropped.
        made_with: Names all that the answers depend on, such as the weights and their settings.

    Returns:
        A row per scan, in the order of `files`: `source`, `patient`, `volume`, `made_with`, and
        what `row` says.

    Raises:
        BadInput: What reading a scan raises.
    """
    files, table = list(files), Path(table)
    known = _read(table, made_with)
    rows: list[dict[str, Any]] = []
    for each in tqdm(files, "scans", unit="scan"):
        name = (each.source, each.patient, each.volume)
        if name not in known:
            names = dict(zip(("source", "patient", "volume"), name, strict=True))
            known[name] = names | {"made_with": made_with} | dict(row(each.load()))
            with written_aside(table) as aside:
                pd.DataFrame(known.values()).to_csv(aside, index=False)
        rows.append(known[name])
    return pd.DataFrame(rows)


def _read(table: Path, made_with: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The rows that were made with the same, by source, patient and volume."""
    if not table.is_file():
        return {}
    names = ["source", "patient", "volume", "made_with"]
    rows = pd.read_csv(table, dtype=dict.fromkeys(names, str))
    rows = rows[rows.made_with == made_with]
    return {(r["source"], r["patient"], r["volume"]): r for r in rows.to_dict("records")}
