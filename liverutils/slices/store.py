"""SliceStore: the slices of a cohort on disk, as memory-mapped arrays with a table."""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from liverutils.errors import BadInput
from liverutils.folders import FolderKind
from liverutils.scans import View, read_nifti_mask
from liverutils.slices.info import StoreInfo, broken
from liverutils.slices.resampling import Resampler

STORE = FolderKind(
    "slice store",
    marker="store.json",
    files=("images.npy", "masks.npy", "slices.csv", "store.json", "labels/*.nii.gz"),
)

ARRAYS = {"images": np.int16, "masks": np.uint8}

WHOLE_NUMBERS = ("index", "liver_px", "tumor_px", "label")
COLUMNS = ("patient", "volume", "view", *WHOLE_NUMBERS, "position_mm", "spacing")


@dataclass(frozen=True)
class SliceStore:
    """Slices of one view and one size, ready to be gathered by the batch.

    Attributes:
        folder: Where the store lies.
        images: (N, H, W) int16, HU or grey values, memory-mapped, as `scans.as_picture` shows.
        masks: (N, H, W) uint8, 0 background, 1 liver, 2 tumour, memory-mapped.
        slices: One row per slice: patient, volume, view, index (along the RAS axis), position_mm,
            spacing (of a store pixel, mm; NaN where unknown), liver_px and tumor_px (in the store's
            mask; liver includes tumour), label (0 no liver, 1 liver, 2 liver with lesion; from the
            mask on the scan's own grid, so a lesion too small for a store pixel still counts).
        info: What store.json says.
    """

    folder: Path
    images: np.ndarray
    masks: np.ndarray
    slices: pd.DataFrame
    info: StoreInfo

    @classmethod
    def open(cls, folder: Path | str) -> "SliceStore":
        """Open the store in `folder`; nothing is written, so a shared or read-only disk will do.

        Raises:
            BadInput: no_store; broken_store, a file of it is damaged or missing.
        """
        folder = Path(folder)
        if not (folder / "store.json").is_file():
            raise BadInput(
                f"{folder} is not a slice store (it has no store.json): build it with "
                "`liverutils prepare`.",
                fault="no_store",
            )
        info = StoreInfo.read(folder / "store.json")
        return cls(
            folder=folder,
            images=_map_array(folder, "images", info),
            masks=_map_array(folder, "masks", info),
            slices=_read_slices(folder / "slices.csv", info),
            info=info,
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
        scan = self.info.volumes[volume]
        spacing = scan.spacing or (1.0, 1.0, 1.0)
        return Resampler.for_scan(scan.shape, spacing, view, self.info.size)

    def true_mask(self, volume: str) -> np.ndarray:
        """Labels of one scan on its own voxel grid, uint8 (X, Y, Z), RAS."""
        return read_nifti_mask(self.folder / "labels" / f"{volume}.nii.gz")[0]


def open_if(folder: Path, is_same: Callable[[StoreInfo], bool]) -> SliceStore | None:
    """Open the store in `folder` if it is the one that is wanted; None where it is another.

    Raises:
        BadInput: broken_store.
    """
    if not (folder / "store.json").is_file():
        return None
    store = SliceStore.open(folder)
    return store if is_same(store.info) else None


def array_header(dtype: type, n_slices: int, size: int) -> bytes:
    """Return the head of images.npy or masks.npy; its length does not depend on the numbers."""
    header, descr = io.BytesIO(), np.lib.format.dtype_to_descr(np.dtype(dtype))
    facts = {"descr": descr, "fortran_order": False, "shape": (n_slices, size, size)}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue()


def _map_array(folder: Path, name: str, info: StoreInfo) -> np.ndarray:
    path, dtype = folder / f"{name}.npy", ARRAYS[name]
    shape = (info.slices, info.size, info.size)
    header = array_header(dtype, *shape[:2])
    try:
        with path.open("rb") as file:
            is_right = file.read(len(header)) == header
    except OSError as error:
        raise broken(path, str(error.strerror)) from error
    if not is_right:
        raise broken(path, f"its head is not that of {' x '.join(map(str, shape))} numbers")
    if path.stat().st_size != len(header) + math.prod(shape) * np.dtype(dtype).itemsize:
        raise broken(path, f"it has {path.stat().st_size} bytes")
    # Not copy-on-write: Linux refuses to map so more than there is memory.
    return np.memmap(path, dtype, "r", offset=len(header), shape=shape)


def _read_slices(path: Path, info: StoreInfo) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"patient": str, "volume": str, "view": str})
    except (OSError, ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
        raise broken(path, str(error).strip().replace("\n", " ")) from error
    if missing := set(COLUMNS) - set(table.columns):
        raise broken(path, f"no column {', '.join(sorted(missing))}")
    if len(table) != info.slices:
        raise broken(path, f"{len(table)} rows for {info.slices} slices")
    kinds = {column: table[column].dtype.kind for column in COLUMNS}
    if wrong := [column for column in WHOLE_NUMBERS if kinds[column] != "i"]:
        raise broken(path, f"{wrong[0]} is not a whole number everywhere")
    if wrong := [column for column in ("position_mm", "spacing") if kinds[column] not in "if"]:
        raise broken(path, f"{wrong[0]} is not a number everywhere")
    if table[["patient", "volume", "view"]].isna().any(axis=None):
        raise broken(path, "a slice without patient, volume or view")
    if strange := set(table.volume) - info.volumes.keys():
        raise broken(path, f"store.json does not know {min(strange)}")
    if not table.label.between(0, 2).all():
        raise broken(path, "a label is none of 0, 1 and 2")
    return table
