"""A CT scan in memory, and NIfTI and DICOM in and out."""

from dataclasses import dataclass, field
from typing import Any, Literal

import nibabel as nib
import numpy as np

View = Literal["axial", "coronal", "sagittal"]

BACKGROUND, LIVER, TUMOR = 0, 1, 2
CLASS_NAMES = ("background", "liver", "tumour")

# The array axis that each view cuts, in RAS order.
VIEW_AXES: dict[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class Case:
    """One CT scan, its labels and where it came from.

    Attributes:
        patient: The person. The same person in two data sets has the same name.
        volume: The scan, unique within its data set.
        image: int16 (X, Y, Z) in HU.
        mask: uint8 (X, Y, Z), 0 background, 1 liver, 2 tumour; None where there are no labels.
        affine: (4, 4), voxel indices to millimetres, RAS.
        spacing_known: False where the source has no voxel size (`affine` then counts voxels).
        intensity: "HU", or "grey" for 8-bit pictures whose HU are lost.
        provenance: Source, files and what was done to them.

    RAS means that index 0 grows towards the patient's right, 1 towards the front, 2 towards the
    head.
    """

    patient: str
    volume: str
    image: np.ndarray
    mask: np.ndarray | None
    affine: np.ndarray
    spacing_known: bool = True
    intensity: Literal["HU", "grey"] = "HU"
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z in mm; 1 voxel where `spacing_known` is False."""
        return tuple(float(s) for s in nib.affines.voxel_sizes(self.affine))


def as_picture(plane: np.ndarray) -> np.ndarray:
    """Turn a plane of an RAS volume into a picture (rows, columns), as radiologists look at it.

    Axial (X, Y): front of the body at the top, patient's right on the left. Coronal (X, Z): head
    at the top, patient's right on the left. Sagittal (Y, Z): head at the top, front on the left.
    """
    return plane[::-1, ::-1].T


def from_picture(picture: np.ndarray) -> np.ndarray:
    """Undo `as_picture`."""
    return picture.T[::-1, ::-1]


def take_plane(volume: np.ndarray, view: View, index: int) -> np.ndarray:
    """Return slice `index` of an RAS volume (X, Y, Z) as a picture (rows, columns)."""
    return as_picture(np.take(volume, index, axis=VIEW_AXES[view]))
