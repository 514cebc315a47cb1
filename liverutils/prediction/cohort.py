"""A folder of new scans segmented one after the other, and what became of each written down."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.files import read_json_object, write_json, written_aside
from liverutils.folders import FolderKind, check_own
from liverutils.locks import held_alone
from liverutils.prediction.scan_to_file import Prediction, load_networks, segment_file
from liverutils.scans import View
from liverutils.sources import CaseFiles, fingerprint

MASKS = FolderKind("folder of masks", marker="predictions.json", files=("*",))
# What would befall every other scan too.
ENDS_ALL = ("disk_full", "not_writable", "other_view")


def segment_scans(
    scans: Sequence[CaseFiles],
    weights: Path | str,
    out: Path | str,
    *,
    tumor_weights: Path | str | None = None,
    view: View | None = None,
    augment: bool = False,
    look_again: bool = True,
    device: str = "auto",
    only_missing: bool = False,
    reads: Path | str | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Segment every scan of a folder; one that cannot be does not keep the others from it.

    Writes `out/VOLUME.nii.gz` for each scan, `predictions.json`, which grows with each, and at the
    end `predictions.csv`. What was killed can be taken up again with `only_missing`.

    Args:
        scans: From `sources.find_cases`; their labels are not looked at.
        weights: As for `predict_scan`.
        out: A folder that is new, empty, or was written by this function.
        tumor_weights: As for `predict_scan`.
        view: As for `prediction.segment`.
        augment: As for `prediction.segment`.
        look_again: As for `segment_file`.
        device: As for `training.choose_device`.
        only_missing: Keep the answers in `out` that were made from the same scan by the same
            weights in the same way.
        reads: The folder that the scans come from, which `out` may not lie in.
        progress: Show a progress bar.

    Returns:
        A report per scan: "name", "scan", "status" ("segmented", "kept" or "failed"), "made_with";
        where it did not fail what `Prediction.report` tells, else "fault" and "sentence".

    Raises:
        BadInput: As `load_networks`; folder_in_use, in_use, bad_predictions, and what would befall
            every scan: disk_full, not_writable, other_view.
    """
    out = Path(out)
    check_own(out, MASKS, reads=[] if reads is None else [reads])
    networks = load_networks(weights, tumor_weights, device)
    how: dict[str, Any] = {"view": view, "augment": augment, "look_again": look_again}
    way = {"weights": _digest(weights)} | how
    way |= {"tumor_weights": _digest(tumor_weights) if tumor_weights else None}
    segment_into = partial(segment_file, networks, **how, progress=False)
    with held_alone(out, f"{out} is just being written by another process: wait for it to end."):
        reports = _Reports(out, _answers(out) if only_missing else {})
        for files in tqdm(scans, "segmenting", unit="scan", disable=not progress):
            scan = replace(files, mask=None, tumor=None)
            answer = partial(_answer, scan, way, reports, segment_into)
            reports.add({"name": scan.volume, "scan": str(scan.image)} | _told(scan.volume, answer))
        reports.end()
    return reports.done


class _Reports:
    """The reports in `predictions.json`: those of this call, and earlier ones still to be met."""

    def __init__(self, folder: Path, earlier: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        self.done: list[dict[str, Any]] = []
        self.earlier = earlier
        self._write()

    def add(self, report: dict[str, Any]) -> None:
        self.done.append(report)
        self._write()

    def take_earlier(self, name: str) -> dict[str, Any]:
        """Return the earlier report of a scan, which is no longer in the file: its mask may go."""
        report = self.earlier.pop(name, {})
        if report:
            self._write()
        return report

    def _write(self) -> None:
        write_json(self.folder / MASKS.marker, {"scans": [*self.done, *self.earlier.values()]})

    def end(self) -> None:
        self.earlier = {}
        self._write()
        columns = ("name", "status", "liver_ml", "tumor_ml", "tumors", "agreement", "fault", "scan")
        with written_aside(self.folder / "predictions.csv") as aside:
            pd.DataFrame(self.done).reindex(columns=columns).to_csv(aside, index=False)


def _answer(
    scan: CaseFiles, way: dict[str, Any], reports: _Reports, segment_into: Callable[..., Prediction]
) -> dict[str, Any]:
    """Segment a scan, or take the answer that was made from it in the same way before."""
    made_with = way | {"scan": fingerprint([scan])}
    mask = reports.folder / f"{scan.volume}.nii.gz"
    before = reports.take_earlier(scan.volume)
    if before.get("made_with") == made_with and mask.is_file():
        return before | {"status": "kept"}
    found = segment_into(scan.image, mask)
    return {"status": "segmented", "made_with": made_with} | found.report()


def _told(name: str, answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the report of a scan, or that it failed and why; whatever it was, others go on."""
    try:
        return answer()
    except Exception as error:
        told = error if isinstance(error, BadInput) else _failed(name, error)
        if told.fault in ENDS_ALL:
            raise
        return {"status": "failed", "fault": told.fault, "sentence": str(told)}


def _failed(name: str, error: Exception) -> BadInput:
    reason = " ".join(str(error).split())[:200]
    return BadInput(
        f"{name} could not be segmented ({type(error).__name__}: {reason}): try it alone, and look "
        "at it with `liverutils verify`.",
        fault="failed_scan",
    )


def _answers(out: Path) -> dict[str, dict[str, Any]]:
    """The reports of an earlier call by the scan's name, without those that failed."""
    path = out / MASKS.marker
    if not path.is_file():
        return {}
    reports = read_json_object(path, "bad_predictions").get("scans")
    if not isinstance(reports, list) or not all(isinstance(r, dict) for r in reports):
        raise BadInput(
            f"{path} does not list the scans that were segmented: remove it and begin again.",
            fault="bad_predictions",
        )
    return {report.get("name", ""): report for report in reports if "made_with" in report}


def _digest(path: Path | str) -> str:
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
