"""SliceStore: the slices of a cohort on disk, as memory-mapped arrays with a table."""

import errno
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from liverutils.datasets.sources import SOURCES, CaseFiles, fingerprint
from liverutils.datasets.volumes import (
    LIVER,
    TUMOR,
    VIEW_AXES,
    Case,
    View,
    read_nifti_mask,
    take_plane,
    write_nifti,
)
from liverutils.errors import BadInput
from liverutils.files import one_at_a_time, write_json, written_aside
from liverutils.parallel import in_processes

VERSION = 1
AIR = {"HU": -1024, "grey": 0}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class SliceStore:
    """Slices of one view and one size, ready to be gathered by the batch.

    Attributes:
        folder: Where the store lies.
        images: (N, H, W) int16, HU or grey values, memory-mapped, as `volumes.as_picture` shows.
        masks: (N, H, W) uint8, 0 background, 1 liver, 2 tumour, memory-mapped.
        slices: One row per slice: patient, volume, view, index (along the RAS axis), position_mm,
            spacing (of a store pixel, mm; NaN where unknown), liver_px and tumor_px (in the store's
            mask; liver includes tumour), label (0 no liver, 1 liver, 2 liver with lesion; from the
            mask on the scan's own grid, so a lesion too small for a store pixel still counts).
        info: Source, licence, view, size, intensity, fingerprint of the inputs, version, volumes.
    """

    folder: Path
    images: np.ndarray
    masks: np.ndarray
    slices: pd.DataFrame
    info: dict[str, Any]

    @classmethod
    def open(cls, folder: Path | str) -> "SliceStore":
        """Open the store in `folder`. Raises BadInput where there is none."""
        folder = Path(folder)
        if not (folder / "store.json").is_file():
            raise BadInput(
                f"{folder} is not a slice store (it has no store.json): build it with "
                "`liverutils prepare`.",
                fault="no_store",
            )
        return cls(
            folder=folder,
            # Not copy-on-write: Linux refuses to map so more than there is memory.
            images=np.load(folder / "images.npy", mmap_mode="r"),
            masks=np.load(folder / "masks.npy", mmap_mode="r"),
            slices=pd.read_csv(folder / "slices.csv", dtype={"patient": str, "volume": str}),
            info=json.loads((folder / "store.json").read_text()),
        )

    def __len__(self) -> int:
        return len(self.slices)

    @property
    def patients(self) -> list[str]:
        """The patients, sorted."""
        return sorted(self.slices.patient.unique())

    def rows_of(self, patients: Iterable[str]) -> np.ndarray:
        """Row numbers of the slices of `patients`, in the store's order."""
        return np.flatnonzero(self.slices.patient.isin(list(patients)))

    def resampler(self, volume: str, view: View) -> "Resampler":
        """Between one scan's grid and the store's pictures of it in a view."""
        scan = self.info["volumes"][volume]
        spacing = scan["spacing"] or (1.0, 1.0, 1.0)
        return Resampler.for_scan(scan["shape"], spacing, view, self.info["size"])

    def true_mask(self, volume: str) -> np.ndarray:
        """Labels of one scan on its own voxel grid, uint8 (X, Y, Z), RAS."""
        return read_nifti_mask(self.folder / "labels" / f"{volume}.nii.gz")[0]


@dataclass(frozen=True)
class Resampler:
    """Between a view's picture on the scan's grid and the store's square picture.

    Both pictures share their centre. The store's picture covers the longer side of the scan's,
    in mm, so its pixels are square and nothing is cut off; what lies beyond the scan is air.

    Attributes:
        shape: (rows, columns) of the scan's picture.
        pixel: (row, column) size of its pixels in mm, or in pixels where the spacing is unknown.
        size: Side of the store's picture in pixels.
    """

    shape: tuple[int, int]
    pixel: tuple[float, float]
    size: int

    @classmethod
    def for_scan(
        cls, shape: Sequence[int], spacing: Sequence[float], view: View, size: int
    ) -> "Resampler":
        """Return the resampler for one view of a scan of `shape` voxels of `spacing` mm."""
        column_axis, row_axis = (axis for axis in range(3) if axis != VIEW_AXES[view])
        return cls(
            (shape[row_axis], shape[column_axis]), (spacing[row_axis], spacing[column_axis]), size
        )

    @property
    def store_pixel(self) -> float:
        """Side of a store pixel in mm."""
        return max(n * mm for n, mm in zip(self.shape, self.pixel, strict=True)) / self.size

    def weights(self) -> tuple[csr_array, csr_array]:
        """Return the matrices R, C with store = R @ picture @ C.T: shares of each store pixel."""
        return tuple(
            _overlap_shares(n, mm, self.size, self.store_pixel)
            for n, mm in zip(self.shape, self.pixel, strict=True)
        )

    @cached_property
    def _shares(self) -> tuple[csr_array, csr_array]:
        return self.weights()

    def average(self, picture: np.ndarray, beyond: float = 0) -> np.ndarray:
        """Average a picture of the scan over the store's pixels.

        Args:
            picture: (rows, columns), any numbers.
            beyond: What lies outside the scan.

        Returns:
            (size, size) float32.
        """
        if self.block:
            return _average_blocks(picture, self.block)
        rows, columns = self._shares
        # Both products want C order; `order="C"` undoes the flips and the transpose of the view.
        halfway = rows @ picture.astype(np.float32, order="C")
        averaged = (columns @ np.ascontiguousarray(halfway.T)).T
        return averaged + np.float32(beyond) * self._outside if beyond else averaged

    @cached_property
    def block(self) -> int | None:
        """Side of the block of the scan's pixels that each store pixel is, where it is one."""
        block = self.shape[0] // self.size
        is_block = self.shape == (block * self.size,) * 2 and np.isclose(*self.pixel, rtol=1e-6)
        return block if is_block else None

    @cached_property
    def _outside(self) -> np.ndarray:
        """Share of each store pixel that lies beyond the scan."""
        rows, columns = self._shares
        return 1 - np.outer(rows.sum(1), columns.sum(1))

    def back(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrices R, C with scan's picture = R @ store's @ C.T, linear in between."""
        return tuple(
            _linear_weights(n, mm, self.size, self.store_pixel)
            for n, mm in zip(self.shape, self.pixel, strict=True)
        )


def _overlap_shares(n_in: int, mm_in: float, n_out: int, mm_out: float) -> csr_array:
    """Share of output pixel i that input pixel j covers, both rows of pixels centred on 0."""
    edges_in = (np.arange(n_in + 1) - n_in / 2) * mm_in
    edges_out = (np.arange(n_out + 1) - n_out / 2) * mm_out
    overlap = np.minimum(edges_out[1:, None], edges_in[None, 1:]) - np.maximum(
        edges_out[:-1, None], edges_in[None, :-1]
    )
    shares = np.clip(overlap / mm_out, 0, None)
    shares[shares < 1e-6] = 0
    return csr_array(shares.astype(np.float32))


def _average_blocks(picture: np.ndarray, block: int) -> np.ndarray:
    """Average squares of `block` pixels; several times as fast as products with sparse matrices."""
    if backwards := _backwards(picture):
        return _average_blocks(picture[backwards], block)[backwards]
    # A block's pixels are counted in fewer bytes than they are averaged in.
    rows = picture[::block].astype(np.uint16 if picture.dtype == bool else np.float32)
    for row in range(1, block):
        rows += picture[row::block]
    squares = rows[:, ::block].copy()
    for column in range(1, block):
        squares += rows[:, column::block]
    return squares / np.float32(block**2)


def _backwards(picture: np.ndarray) -> tuple[slice, slice] | None:
    """Return the index that turns a picture around where it lies backwards in memory.

    Backwards, numpy adds at half its speed, and compares at a tenth.
    """
    if min(picture.strides) > 0:
        return None
    return tuple(slice(None, None, -1 if stride < 0 else 1) for stride in picture.strides)


def _linear_weights(n_out: int, mm_out: float, n_in: int, mm_in: float) -> np.ndarray:
    """Weights (n_out, n_in) that read a row of pixels at other centres, both centred on 0."""
    centres = ((np.arange(n_out) + 0.5 - n_out / 2) * mm_out) / mm_in + n_in / 2 - 0.5
    distance = np.abs(np.clip(centres, 0, n_in - 1)[:, None] - np.arange(n_in)[None, :])
    return np.clip(1 - distance, 0, None).astype(np.float32)


def cut_case(case: Case, view: View, size: int) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Cut a labelled case into the store's pictures.

    Returns:
        images (N, size, size) int16 by area averaging; masks (N, size, size) uint8, each pixel
        the label that covers most of it; the table of the N slices.
    """
    axis = VIEW_AXES[view]
    n_slices = case.image.shape[axis]
    resampler = Resampler.for_scan(case.image.shape, case.spacing, view, size)
    images = np.empty((n_slices, size, size), np.int16)
    masks = np.zeros((n_slices, size, size), np.uint8)
    labels = np.moveaxis(case.mask, axis, 0).max((1, 2)).astype(np.int64)
    pixels = np.zeros((2, n_slices), np.int64)
    for index in range(n_slices):
        images[index] = cut_picture(resampler, case, view, index)
        if labels[index] >= LIVER:
            truth = take_plane(case.mask, view, index)
            masks[index] = _cut_labels(resampler, truth, labels[index] == TUMOR)
            pixels[:, index] = [np.count_nonzero(masks[index] >= label) for label in (LIVER, TUMOR)]
    known = case.spacing_known
    table = pd.DataFrame(
        {
            "patient": case.patient,
            "volume": case.volume,
            "view": view,
            "index": np.arange(n_slices),
            "position_mm": _positions(case, axis) if known else np.nan,
            "spacing": resampler.store_pixel if known else np.nan,
            "liver_px": pixels[0],
            "tumor_px": pixels[1],
            "label": labels,
        }
    )
    return images, masks, table


def _cut_labels(resampler: Resampler, truth: np.ndarray, has_tumor: bool) -> np.ndarray:
    """Return labels (size, size): liver where it covers half, tumour where it is half of that."""
    if resampler.block == 1:
        return truth
    if backwards := resampler.block and _backwards(truth):
        return _cut_labels(resampler, truth[backwards], has_tumor)[backwards]
    liver = resampler.average(truth >= LIVER)
    labels = (liver >= 0.5).astype(np.uint8)
    if has_tumor:
        labels[(labels == LIVER) & (resampler.average(truth == TUMOR) >= liver / 2)] = TUMOR
    return labels


def cut_picture(resampler: Resampler, case: Case, view: View, index: int) -> np.ndarray:
    """Return slice `index` of a scan as the store keeps it, (size, size) int16."""
    picture = take_plane(case.image, view, index)
    if resampler.block == 1:
        return picture
    return np.rint(resampler.average(picture, beyond=AIR[case.intensity])).astype(np.int16)


def _positions(case: Case, axis: int) -> np.ndarray:
    """Patient coordinate of each slice's centre along `axis`, mm."""
    centre = np.repeat((np.array(case.image.shape)[None] - 1) / 2, case.image.shape[axis], axis=0)
    centre[:, axis] = np.arange(case.image.shape[axis])
    return (centre @ case.affine[:3, :3].T + case.affine[:3, 3])[:, axis]


def build_store(
    cases: Sequence[CaseFiles],
    out: Path | str,
    *,
    view: View = "axial",
    size: int = 256,
    workers: int | None = None,
    progress: bool = True,
    keep_going: bool = False,
) -> SliceStore:
    """Build the slice store of `cases` in `out`, or open it if it is there already.

    Cases are read by `workers` processes (default: one per core), each holding one scan at a
    time. The store is written aside and renamed, so a killed build leaves nothing behind.

    Args:
        cases: What `sources.find_cases` returns.
        out: The store's folder, by custom `data/<name>/<view>-<size>`.
        view: The axis to cut along.
        size: Side of the square pictures in pixels.
        workers: Number of processes; 1 reads in this process.
        progress: Show a progress bar.
        keep_going: Leave out cases that cannot be used and list them in `info["skipped"]`.

    Raises:
        BadInput: A case cannot be used (unless `keep_going`), none can, or the disk is full.
    """
    out = Path(out)
    if not cases:
        raise BadInput("There is no case to build a slice store from.", fault="no_cases")
    identity = {
        "version": VERSION,
        "view": view,
        "size": size,
        "fingerprint": fingerprint(cases),
    }
    with one_at_a_time(out):
        if (out / "store.json").is_file():
            store = SliceStore.open(out)
            if all(store.info.get(key) == value for key, value in identity.items()):
                return store
        try:
            with written_aside(out) as aside:
                aside.mkdir()
                done = _cut_all(cases, aside, view, size, workers, progress, keep_going)
                source = SOURCES[cases[0].source]
                facts = {
                    "source": source.name,
                    "licence": source.licence,
                    "citation": source.citation,
                }
                _describe(aside, done, facts | identity)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise BadInput(
                f"No room left on the disk of {out} while building the slice store: free some "
                "space or choose another folder; nothing was kept of this attempt.",
                fault="disk_full",
            ) from error
        return SliceStore.open(out)


def _cut_all(cases, folder, view, size, workers, progress, keep_going) -> list[dict[str, Any]]:
    """Cut every case into images.npy and masks.npy; return one description per case, in order."""
    for name in ("labels", "parts"):
        (folder / name).mkdir()
    cut = partial(_cut_to_disk, folder=folder, view=view, size=size, keep_going=keep_going)
    done = in_processes(cut, cases, workers)
    shown = tqdm(done, "slices", len(cases), unit="scan", disable=not progress)
    described = _join_parts(folder, shown, size)
    (folder / "parts").rmdir()
    if not any("table" in case for case in described):
        raise BadInput(
            f"None of the {len(cases)} cases can be used; the first: {described[0]['skipped']}",
            fault=described[0]["fault"],
        )
    return described


def _cut_to_disk(files: CaseFiles, folder: Path, view, size, keep_going) -> dict[str, Any]:
    try:
        case = files.load()
        if case.mask is None:
            raise BadInput(
                f"Scan {files.volume} has no labels: a store needs them; to segment a scan "
                "use `liverutils predict`.",
                fault="no_labels",
            )
        if not case.mask.any():
            raise BadInput(
                f"Scan {files.volume} has no voxel labelled liver: find the right labels, or leave "
                "it out with --keep-going.",
                fault="empty_mask",
            )
    except BadInput as error:
        if not keep_going:
            raise
        return {
            "volume": files.volume,
            "patient": files.patient,
            "skipped": str(error),
            "fault": error.fault,
        }
    images, masks, table = cut_case(case, view, size)
    # Not ndarray.tofile: its error on a full disk does not say that the disk is full.
    (folder / "parts" / f"{case.volume}.images").write_bytes(images)
    (folder / "parts" / f"{case.volume}.masks").write_bytes(masks)
    write_nifti(folder / "labels" / f"{case.volume}.nii.gz", case.mask, case.affine)
    return {
        "volume": case.volume,
        "table": table,
        "intensity": case.intensity,
        "scan": {
            "patient": case.patient,
            "shape": list(case.image.shape),
            "affine": np.asarray(case.affine).tolist(),
            "spacing": list(case.spacing) if case.spacing_known else None,
        },
    }


def _join_parts(folder: Path, done: Iterable[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Append the part files to images.npy and masks.npy; return the descriptions.

    Each part is removed as soon as it is copied, mostly before the system has written it to disk.
    """
    cases, n_slices = [], 0
    with (folder / "images.npy").open("wb") as images, (folder / "masks.npy").open("wb") as masks:
        _write_headers(images, masks, n_slices, size)
        for case in done:
            cases.append(case)
            if "table" in case:
                n_slices += len(case["table"])
                for joined, suffix in ((images, "images"), (masks, "masks")):
                    part = folder / "parts" / f"{case['volume']}.{suffix}"
                    with part.open("rb") as opened:
                        shutil.copyfileobj(opened, joined, 1 << 20)
                    part.unlink()
        _write_headers(images, masks, n_slices, size)
    return cases


def _write_headers(images: BinaryIO, masks: BinaryIO, n_slices: int, size: int) -> None:
    """Write the heads of both files, whose length does not depend on the number of slices."""
    for file, dtype in ((images, np.int16), (masks, np.uint8)):
        descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
        header = {"descr": descr, "fortran_order": False, "shape": (n_slices, size, size)}
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header)


def _describe(folder: Path, done: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    used = [case for case in done if "table" in case]
    kinds = {case["intensity"] for case in used}
    if len(kinds) > 1:
        raise BadInput(
            "Scans in HU and scans in grey values cannot share one store: prepare them apart.",
            fault="mixed_intensity",
        )
    table = pd.concat([case["table"] for case in used], ignore_index=True)
    table.to_csv(folder / "slices.csv", index=False, float_format="%.6g")
    write_json(
        folder / "store.json",
        facts
        | {
            "intensity": kinds.pop(),
            "slices": len(table),
            "volumes": {case["volume"]: case["scan"] for case in used},
            "skipped": [case for case in done if "skipped" in case],
        },
    )
