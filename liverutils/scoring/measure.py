"""Diameters, volumes and RECIST sum of a mask on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from liverutils.errors import BadInput
from liverutils.scans import LIVER, TUMOR, read_nifti_mask
from liverutils.scoring.diameters import measure_lesions
from liverutils.scoring.response import (
    choose_targets,
    follow_lesions,
    least_measurable_mm,
    response_category,
)
from liverutils.sources import is_nifti

# A smaller spot may be noise, or a slice that cuts a lesion otherwise than the last time.
LEAST_NEW_MM = 5.0


@dataclass(frozen=True)
class Measurement:
    """What was measured in a mask.

    Attributes:
        spacing_mm: Voxel size along x, y and z.
        liver_ml: Volume of the liver, its tumours included.
        tumor_ml: Volume of all tumours.
        lesions: As `measure_lesions` returns them, and whether each is a `target`.
        recist_sum_mm: Sum of the target lesions' longest diameters; 0 where there is none.
    """

    spacing_mm: tuple[float, float, float]
    liver_ml: float
    tumor_ml: float
    lesions: pd.DataFrame
    recist_sum_mm: float

    @property
    def least_target_mm(self) -> float:
        """The smallest diameter of a target lesion at this distance of the slices."""
        return least_measurable_mm(self.spacing_mm[2])

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, lists and dictionaries, for JSON."""
        return {
            "spacing_mm": list(self.spacing_mm),
            "liver_ml": self.liver_ml,
            "tumor_ml": self.tumor_ml,
            "recist_sum_mm": self.recist_sum_mm,
            "least_target_mm": self.least_target_mm,
            "lesions": self.lesions.to_dict("records"),
        }

    def as_rows(self) -> Sequence[tuple[str, ...]]:
        """The lesions as rows of text below a head."""
        head = ("lesion", "slice", "longest mm", "across mm", "ml", "target")
        return [head] + [
            (str(row.lesion), str(row.slice), f"{row.long_mm:.1f}", f"{row.short_mm:.1f}",
             f"{row.volume_ml:.2f}", "yes" if row.target else "")
            for row in self.lesions.itertuples()
        ]  # fmt: skip

    def describe(self) -> str:
        """Volumes and the RECIST sum in two sentences."""
        return (
            f"Liver {self.liver_ml:.0f} ml, with tumours of {self.tumor_ml:.1f} ml in it.\n"
            f"RECIST sum {self.recist_sum_mm:.1f} mm, of at most two target lesions from"
            f" {self.least_target_mm:g} mm up."
        )


def measure_labels(labels: np.ndarray, affine: np.ndarray) -> Measurement:
    """Measure labels (X, Y, Z), RAS: 0 background, 1 liver, 2 tumour; `affine` goes to mm."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    ml = x * y * z / 1000
    lesions = measure_lesions(labels == TUMOR, affine)
    targets = choose_targets(lesions, z)
    return Measurement(
        spacing_mm=(x, y, z),
        liver_ml=float(np.count_nonzero(labels >= LIVER) * ml),
        tumor_ml=float(np.count_nonzero(labels == TUMOR) * ml),
        lesions=lesions.assign(target=lesions.index.isin(targets.index)),
        recist_sum_mm=float(targets["long_mm"].sum()),
    )


def assess_response(before: Measurement, after: Measurement) -> dict[str, Any]:
    """Compare two scans of one liver, in the same coordinates (mm), by diameter and by volume.

    Returns:
        `sum_mm`, `sum_ml` of the target lesions before, `now_mm`, `now_ml` of the same ones now,
        `new_lesions` (of at least 5 mm, belonging to no earlier lesion), and the categories by
        `diameter` (RECIST 1.1) and by `volume`, as `response_category` says.
    """
    targets = before.lesions[before.lesions["target"]]
    followed, _ = follow_lesions(targets, after.lesions)
    _, others = follow_lesions(before.lesions, after.lesions)
    new = int((others["long_mm"] >= LEAST_NEW_MM).sum())
    sums = followed[["long_mm", "volume_ml", "now_mm", "now_ml"]].sum().to_dict()
    mm, ml, now_mm, now_ml = (float(total) for total in sums.values())
    return {
        "sum_mm": mm,
        "now_mm": now_mm,
        "sum_ml": ml,
        "now_ml": now_ml,
        "new_lesions": new,
        "diameter": response_category(mm, now_mm, new_lesion=new > 0),
        "volume": response_category(ml, now_ml, new_lesion=new > 0, power=3),
    }


def measure_mask(path: Path | str) -> Measurement:
    """Measure a mask on disk: NIfTI, or a DICOM SEG, which needs no series for that.

    Raises:
        BadInput: empty_mask, unknown_labels, no_voxel_size, and as `scans.read_nifti_mask` and
            `scans.read_dicom_seg_alone`.
    """
    path = Path(path)
    if is_nifti(path):
        labels, affine = read_nifti_mask(path)
    else:
        # highdicom takes a second to import.
        from liverutils.scans import read_dicom_seg_alone

        labels, affine = read_dicom_seg_alone(path)
    if labels.max() > TUMOR:
        raise BadInput(
            f"The labels of {path} are {', '.join(map(str, np.unique(labels)))}; use 0 background,"
            " 1 liver, 2 tumour (255 stands for no whole number).",
            fault="unknown_labels",
        )
    if not labels.any():
        raise BadInput(f"{path} labels nothing: there is no liver to measure.", fault="empty_mask")
    # An identity affine is what files have that know no voxel size.
    if np.allclose(affine, np.eye(4)):
        raise BadInput(
            f"{path} tells no voxel size, so nothing in it is a millimetre: write the mask with the"
            " geometry of its scan.",
            fault="no_voxel_size",
        )
    return measure_labels(labels, affine)
