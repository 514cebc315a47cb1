"""Build a slice store from the scans of a cohort, in parallel and whole or not at all."""

import shutil
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.files import write_json, written_aside
from liverutils.folders import check_own
from liverutils.locks import one_at_a_time
from liverutils.parallel import in_processes
from liverutils.scans import View, on_disk, read_case, write_nifti
from liverutils.slices.cut import cut_case
from liverutils.slices.info import SkippedScan, StoredScan, StoreInfo
from liverutils.slices.store import ARRAYS, STORE, SliceStore, array_header, open_if
from liverutils.sources import SOURCES, CaseFiles, fingerprint, personal_names

VERSION = 1


class Cut(NamedTuple):
    """A scan whose pictures lie in the folder of parts, its table and what its values are."""

    volume: str
    table: pd.DataFrame
    intensity: str
    scan: StoredScan


def build_store(
    cases: Sequence[CaseFiles],
    out: Path | str,
    *,
    view: View = "axial",
    size: int = 256,
    workers: int | None = None,
    progress: bool = True,
    keep_going: bool = False,
    raw: Path | str | None = None,
    cropped_to: str | None = None,
) -> SliceStore:
    """Build the slice store of `cases` in `out`, or open it if it is there already.

    Cases are read by `workers` processes (default: one per core), each holding one scan at a
    time. The store is written aside and renamed, so a killed build leaves nothing behind. A store
    of other scans or another version is replaced; a folder that holds anything else is left alone.

    Args:
        cases: What `sources.find_cases` returns.
        out: The store's folder, by custom `data/<name>/<view>-<size>`.
        view: The axis to cut along.
        size: Side of the square pictures in pixels.
        workers: Number of processes; 1 reads in this process.
        progress: Show a progress bar.
        keep_going: Leave out cases that cannot be used and list them in `info.skipped`.
        raw: The folder or archive in which the cases were found; the store cannot lie in it.
        cropped_to: What the cases are cropped to, such as "liver"; weights trained on them say so.

    Raises:
        BadInput: A case cannot be used (unless `keep_going`), or none can; folder_in_use,
            not_writable, disk_full, killed_worker.
    """
    out = Path(out)
    if not cases:
        raise BadInput("There is no case to build a slice store from.", fault="no_cases")
    source, identity = SOURCES[cases[0].source], fingerprint(cases)

    def is_same(info: StoreInfo) -> bool:
        there = info.version, info.view, info.size, info.fingerprint, info.cropped_to
        return there == (VERSION, view, size, identity, cropped_to)

    if store := open_if(out, is_same):
        return store
    if named := personal_names(case.patient for case in cases):
        warnings.warn(
            f"{', '.join(named[:3])} look{'s' * (len(named) == 1)} like a person's name or date of "
            "birth, and stands in the store, the logs, and the names of pictures: rename the "
            "files or folders before you share any of them.",
            stacklevel=2,
        )
    reads = {on_disk(place) for case in cases for place in (case.image, case.mask) if place}
    check_own(out, STORE, reads=reads | ({Path(raw)} if raw else set()))
    with one_at_a_time(out):
        if store := open_if(out, is_same):
            return store
        check_own(out, STORE)
        with written_aside(out, replace_folder=True) as aside:
            aside.mkdir()
            done = _cut_all(cases, aside, view, size, workers, progress, keep_going)
            cuts = [case for case in done if isinstance(case, Cut)]
            table = pd.concat([cut.table for cut in cuts], ignore_index=True)
            table.to_csv(aside / "slices.csv", index=False, float_format="%.6g")
            info = StoreInfo(
                source=source.name,
                licence=source.licence,
                citation=source.citation,
                version=VERSION,
                view=view,
                size=size,
                fingerprint=identity,
                cropped_to=cropped_to,
                intensity=_one_intensity(cuts),
                slices=len(table),
                volumes={cut.volume: cut.scan for cut in cuts},
                skipped=tuple(case for case in done if isinstance(case, SkippedScan)),
            )
            write_json(aside / "store.json", info.as_json)
        return SliceStore.open(out)


def _cut_all(
    cases: Sequence[CaseFiles],
    folder: Path,
    view: View,
    size: int,
    workers: int | None,
    progress: bool,
    keep_going: bool,
) -> list[Cut | SkippedScan]:
    """Cut every case into images.npy and masks.npy; return one description per case, in order."""
    for name in ("labels", "parts"):
        (folder / name).mkdir()
    cut = partial(_cut_to_disk, folder=folder, view=view, size=size, keep_going=keep_going)
    done = in_processes(cut, cases, workers)
    shown = tqdm(done, "slices", len(cases), unit="scan", disable=not progress)
    described = _join_parts(folder, shown, size)
    (folder / "parts").rmdir()
    first = described[0]
    if isinstance(first, SkippedScan) and not any(isinstance(case, Cut) for case in described):
        raise BadInput(
            f"None of the {len(cases)} cases can be used; the first: {first.skipped}",
            fault=first.fault,
        )
    return described


def _cut_to_disk(
    files: CaseFiles, folder: Path, view: View, size: int, keep_going: bool
) -> Cut | SkippedScan:
    try:
        case = read_case(files)
        if not case.labels.any():
            raise BadInput(
                f"Scan {files.volume} has no voxel labelled liver: find the right labels, or leave "
                "it out with --keep-going.",
                fault="empty_mask",
            )
    except BadInput as error:
        if not keep_going:
            raise
        return SkippedScan(files.volume, files.patient, str(error), error.fault)
    images, masks, table = cut_case(case, view, size)
    # Not ndarray.tofile: its error on a full disk does not say that the disk is full.
    (folder / "parts" / f"{case.volume}.images").write_bytes(images.data)
    (folder / "parts" / f"{case.volume}.masks").write_bytes(masks.data)
    write_nifti(folder / "labels" / f"{case.volume}.nii.gz", case.labels, case.affine)
    x, y, z = case.image.shape
    scan = StoredScan(
        patient=case.patient,
        shape=(x, y, z),
        affine=np.asarray(case.affine).tolist(),
        spacing=case.spacing if case.spacing_known else None,
    )
    return Cut(case.volume, table, case.intensity, scan)


def _join_parts(
    folder: Path, done: Iterable[Cut | SkippedScan], size: int
) -> list[Cut | SkippedScan]:
    """Append the part files to images.npy and masks.npy; return what was done.

    Each part is removed as soon as it is copied, mostly before the system has written it to disk.
    """
    cases, n_slices = [], 0
    with (folder / "images.npy").open("wb") as images, (folder / "masks.npy").open("wb") as masks:
        _write_headers(images, masks, n_slices, size)
        for case in done:
            cases.append(case)
            if isinstance(case, Cut):
                n_slices += len(case.table)
                for joined, suffix in ((images, "images"), (masks, "masks")):
                    part = folder / "parts" / f"{case.volume}.{suffix}"
                    with part.open("rb") as opened:
                        shutil.copyfileobj(opened, joined, 1 << 20)
                    part.unlink()
        _write_headers(images, masks, n_slices, size)
    return cases


def _write_headers(images: BinaryIO, masks: BinaryIO, n_slices: int, size: int) -> None:
    """Write the heads of both files, whose length does not depend on the number of slices."""
    for file, dtype in zip((images, masks), ARRAYS.values(), strict=True):
        file.seek(0)
        file.write(array_header(dtype, n_slices, size))


def _one_intensity(cuts: Sequence[Cut]) -> str:
    kinds = {cut.intensity for cut in cuts}
    if len(kinds) > 1:
        raise BadInput(
            "Scans in HU and scans in grey values cannot share one store: prepare them apart.",
            fault="mixed_intensity",
        )
    return kinds.pop()
