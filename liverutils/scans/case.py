"""One CT scan in memory: the voxels, their labels, and where they lie in the patient."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from liverutils.errors import BadInput

View = Literal["axial", "coronal", "sagittal"]


LIVER, TUMOR = 1, 2


# Which axis each axis is, and which way it grows, as nibabel writes it.
RAS = np.array([[0, 1], [1, 1], [2, 1]])


# The lowest HU of a CT scale; what lies below is padding outside the field of view.
LOWEST_HU = -1024


# Grids are the same where no corner lies further from its twin than this.
SAME_GRID_MM = 0.1


# Millimetres in what voxel sizes are given in by mistake.
UNITS = {"microns": 0.001, "metres": 1000.0, "centimetres": 10.0}


SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 0.15, 50.0


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
        provenance: Source and files, and under "repairs" what was wrong and was put right: the
            fault's name and a phrase that says what was done.

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
        x, y, z = nib.affines.voxel_sizes(self.affine).tolist()
        return x, y, z

    @property
    def labels(self) -> np.ndarray:
        """The mask of a scan that must have one.

        Raises:
            BadInput: no_labels.
        """
        if self.mask is None:
            raise BadInput(
                f"Scan {self.volume} has no labels: give it a mask; to segment a scan that has "
                "none, use `liverutils predict`.",
                fault="no_labels",
            )
        return self.mask


def as_picture(plane: np.ndarray) -> np.ndarray:
    """Turn a plane of an RAS volume into a picture (rows, columns), as radiologists look at it.

    Axial (X, Y): front of the body at the top, patient's right on the left. Coronal (X, Z): head
    at the top, patient's right on the left. Sagittal (Y, Z): head at the top, front on the left.
    """
    return plane[::-1, ::-1].T


def take_plane(volume: np.ndarray, view: View, index: int) -> np.ndarray:
    """Return slice `index` of an RAS volume (X, Y, Z) as a picture (rows, columns)."""
    return as_picture(np.moveaxis(volume, VIEW_AXES[view], 0)[index])


def check_case(case: Case, name: str, mask_name: str = "") -> None:
    """Refuse what no later step can use.

    Args:
        name: The image's file, for the sentence.
        mask_name: The labels' file, where it is another.

    Raises:
        BadInput: single_slice, unknown_labels.
    """
    if min(case.image.shape) < 2:
        raise BadInput(
            f"{name} has the shape {case.image.shape}; give a volume of at least two slices.",
            fault="single_slice",
        )
    if case.mask is not None and case.mask.max() > TUMOR:
        labels = ", ".join(str(label) for label in np.unique(case.mask))
        raise BadInput(
            f"The labels of {mask_name or name} are {labels}; use 0 background, 1 liver, 2 tumour"
            " (255 stands for no whole number).",
            fault="unknown_labels",
        )


def check_body_size(path: Path | str, shape: tuple[int, ...], affine: np.ndarray) -> None:
    """Refuse voxel sizes that no scan of a body has, and say which unit they seem to be in.

    Raises:
        BadInput: wrong_unit.
    """
    spacing = nib.affines.voxel_sizes(affine)
    if _is_of_a_body(spacing, shape):
        return
    unit = next(
        (
            f"they seem to be in {name}, so multiply them by {factor:g}"
            for name, factor in UNITS.items()
            if _is_of_a_body(spacing * factor, shape)
        ),
        "check their unit",
    )
    sizes = " x ".join(f"{size:.4g}" for size in spacing)
    raise BadInput(
        f"{path} has voxels of {sizes} mm, {max(spacing * shape):.4g} mm from end to end, which no"
        f" body has; {unit}.",
        fault="wrong_unit",
    )


def _is_of_a_body(spacing: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Voxels of 0.15 to 50 mm that make no more than 3 m; finer ones only in a whole body part."""
    longest = float(max(spacing * shape))
    is_fine = min(spacing) < SMALLEST_VOXEL_MM
    return max(spacing) <= LARGEST_VOXEL_MM and longest <= 3000 and not (is_fine and longest < 100)


def check_same_grid(
    mask_path: Path,
    shape: tuple[int, ...],
    affine: np.ndarray,
    mask_shape: tuple[int, ...],
    mask_affine: np.ndarray,
) -> None:
    """Refuse labels on another grid than their image.

    Raises:
        BadInput: different_grids.
    """
    if shape != mask_shape:
        difference = f"{mask_shape} voxels against {shape}"
    elif same_grid(shape, affine, mask_affine):
        return
    else:
        difference = f"up to {_furthest_apart(shape, affine, mask_affine):.1f} mm apart"
    raise BadInput(
        f"{mask_path} is not on the grid of its image ({difference}); resample one to the other.",
        fault="different_grids",
    )


def same_grid(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> bool:
    """Say whether two affines put the corners of a volume in the same places."""
    return _furthest_apart(shape, affine, other) <= SAME_GRID_MM


def _furthest_apart(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(shape) - 1)
    apart = nib.affines.apply_affine(affine - other, corners)
    return float(np.linalg.norm(apart, axis=1).max())


def clip_padding(image: np.ndarray) -> dict[str, str]:
    """Raise values below `LOWEST_HU` to it, in place; return the repair, if any."""
    if image.min() >= LOWEST_HU:
        return {}
    n_padding = int(np.count_nonzero(image < LOWEST_HU))
    lowest = int(image.min())
    np.maximum(image, LOWEST_HU, out=image)
    return {"padding": f"{n_padding} voxels as low as {lowest} HU were set to {LOWEST_HU} HU"}


def turn_to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn axes, without copying, so that they grow to the right, the front and the head."""
    turn = nib.io_orientation(affine)
    to_stored = nib.orientations.inv_ornt_aff(turn, array.shape)
    return nib.apply_orientation(array, turn), affine @ to_stored


def turn_from_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Undo `turn_to_ras`: turn RAS axes, without copying, into those of the stored `affine`."""
    turn = nib.orientations.ornt_transform(RAS, nib.io_orientation(affine))
    return nib.apply_orientation(array, turn)
