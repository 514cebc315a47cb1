"""SliceStore: the slices of a cohort on disk, as memory-mapped arrays with a table."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from liverutils.errors import BadInput
from liverutils.scans import View, read_nifti_mask
from liverutils.slices.resampling import Resampler


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
