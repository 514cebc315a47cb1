"""What a patient's liver holds, for a table: tumours, and all that looks like them."""

from collections.abc import Iterator

import numpy as np

from liverutils.phantom.scene import Patient
from liverutils.phantom.shapes import Tubes, upsample

VEIN = "unenhanced vein"

# Thinner ones vanish in a slice.
LEAST_VEIN_MM = 4.0

LESION_COLUMNS = (
    *("patient", "number", "kind", "is_tumor", "diameter_mm"),
    *("x_mm", "y_mm", "z_mm", "x_voxel", "y_voxel", "z_voxel", "volume_ml", "contrast_hu"),
)


def lesion_rows(patient: Patient, name: str, affine: np.ndarray) -> list[dict]:
    """List a patient's lesions and look-alikes: the rows of `lesions.csv`.

    Args:
        patient: As it was drawn.
        name: Of the patient.
        affine: (4, 4) from voxels to mm.

    Returns:
        For each `patient`, `number` (from 1), `kind`, `is_tumor`, `diameter_mm`, the centre in mm
        (`x_mm` …) and in voxels (`x_voxel` …), `volume_ml`, `contrast_hu` (of the middle to the
        liver). Veins that are darker than the liver look round where a slice cuts them: they stand
        there as pieces about as long as they are wide.
    """
    liver = patient.scan.hu["liver"]
    found = [
        (lesion.kind, lesion.is_tumor, lesion.diameter, lesion.centre, lesion.volume_ml, lesion.hu)
        for lesion in patient.lesions
    ]
    if patient.scan.hu["hepatic"] < liver:
        found += [
            (VEIN, False, diameter, centre, volume, patient.scan.hu["hepatic"])
            for diameter, centre, volume in _pieces_in_liver(patient)
        ]
    to_voxels = np.linalg.inv(affine)
    return [
        {
            "patient": name,
            "number": number,
            "kind": kind,
            "is_tumor": is_tumor,
            "diameter_mm": round(float(diameter), 2),
            **_place(centre, "mm"),
            **_place((to_voxels @ [*centre, 1])[:3], "voxel"),
            "volume_ml": round(float(volume), 3),
            "contrast_hu": round(float(hu - liver), 1),
        }
        for number, (kind, is_tumor, diameter, centre, volume, hu) in enumerate(found, start=1)
    ]


def _place(point: np.ndarray, unit: str) -> dict[str, float]:
    return {f"{axis}_{unit}": round(float(p), 2) for axis, p in zip("xyz", point, strict=True)}


def _pieces_in_liver(patient: Patient) -> Iterator[tuple[float, np.ndarray, float]]:
    """Yield diameter in mm, centre (x, y, z) in mm and volume in ml of pieces of hepatic veins."""
    anatomy = patient.anatomy
    for diameter, length, centre in _pieces(anatomy.tubes["hepatic"]):
        at = type(anatomy.grid)(*(np.array([centre[axis]], np.float32) for axis in (2, 0, 1)))
        if upsample(anatomy.fields["liver"], anatomy.grid, at).item() < 0:
            yield diameter, centre, np.pi / 4 * diameter**2 * length / 1000


def _pieces(tubes: Tubes) -> Iterator[tuple[float, float, np.ndarray]]:
    """Cut tubes into pieces about as long as they are wide: diameter, length, centre, in mm."""
    ends = zip(tubes.start, tubes.end, tubes.start_radius, tubes.end_radius, strict=True)
    for start, end, *radii in ends:
        diameter, length = sum(radii), np.linalg.norm(end - start)
        if diameter >= LEAST_VEIN_MM:
            count = max(1, round(length / diameter))
            for share in (np.arange(count) + 0.5) / count:
                yield diameter, length / count, start + share * (end - start)
