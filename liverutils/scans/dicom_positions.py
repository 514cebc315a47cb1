"""Where the slices of a series lie: each is looked at, and every irregularity has its name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from liverutils.errors import BadInput
from liverutils.scans.dicom_files import Slice, numbers_of, values_of

# Some archives round positions to 0.1 mm, so two neighbours may be wrong by as much together.
ROUNDING_MM = 0.11


# How far slices may lie aside from the line through the first and the last.
ASIDE_MM = 0.5


MOST_TILT_DEGREES = 0.5


def sort_slices(place: Path, slices: Sequence[Slice]) -> list[Slice]:
    """Return slices in the order of their positions along their normal, checked.

    Raises:
        BadInput: no_positions, bad_header, mixed_directions, mixed_spacing, single_slice,
            two_volumes, gantry_tilt, two_phases, duplicate_slices, missing_slices, uneven_slices.
    """
    positions = numbers_of(slices, "ImagePositionPatient", 3)
    cosines = numbers_of(slices, "ImageOrientationPatient", 6)
    spacings = numbers_of(slices, "PixelSpacing", 2)
    _check_directions(slices, cosines)
    _check_spacings(slices, spacings)
    if len(slices) < 2:
        raise BadInput(
            f"{place} holds one slice; give a volume of at least two.", fault="single_slice"
        )
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    order = np.argsort(positions @ normal, kind="stable")
    ordered, positions = [slices[index] for index in order], positions[order]
    distances = positions @ normal
    _check_doubles(place, ordered, distances)
    _check_line(place, ordered, positions - np.outer(distances, normal), distances)
    _check_gaps(place, ordered, distances)
    return ordered


def _check_directions(slices: Sequence[Slice], cosines: np.ndarray) -> None:
    axes = cosines.reshape(-1, 2, 3)
    lengths = np.linalg.norm(axes, axis=2)
    across = (axes[:, 0] * axes[:, 1]).sum(1)
    wrong = (np.abs(lengths - 1).max(1) > 1e-2) | (np.abs(across) > 1e-2)
    if wrong.any():
        index = int(wrong.argmax())
        raise BadInput(
            f"{slices[index][0]} has an ImageOrientationPatient that is no pair of directions at a"
            " right angle; export it again.",
            fault="bad_header",
        )
    turned = np.abs(cosines - np.median(cosines, axis=0)).max(1) > 1e-3
    if turned.any():
        raise BadInput(
            f"{slices[int(turned.argmax())][0]} lies in another direction than most of its series;"
            " give one axial series.",
            fault="mixed_directions",
        )


def _check_spacings(slices: Sequence[Slice], spacings: np.ndarray) -> None:
    if spacings.min() <= 0:
        path = slices[int(spacings.min(1).argmin())][0]
        raise BadInput(
            f"{path} has a PixelSpacing that is not above 0; export it again.", fault="bad_header"
        )
    usual = np.median(spacings, axis=0)
    others = np.abs(spacings / usual - 1).max(1) > 1e-3
    if others.any():
        index = int(others.argmax())
        raise BadInput(
            f"{slices[index][0]} has pixels of {spacings[index][0]:.4g} mm and most of its series"
            f" of {usual[0]:.4g} mm; give slices of one reconstruction.",
            fault="mixed_spacing",
        )


def _check_doubles(place: Path, slices: Sequence[Slice], distances: np.ndarray) -> None:
    gaps = np.diff(distances)
    same = gaps <= min(0.01, 0.1 * float(gaps.mean()))
    if not same.any():
        return
    uids = values_of(slices, "SOPInstanceUID")
    n_places = len(slices) - int(same.sum())
    if len(slices) >= 1.8 * n_places and len(set(uids)) > n_places:
        raise BadInput(
            f"{place} holds {len(slices)} slices at {n_places} positions: several phases or"
            f" reconstructions in one series{_what_differs(slices)}; give one of them.",
            fault="two_phases",
        )
    first = int(same.argmax())
    raise BadInput(
        f"{slices[first][0]} and {slices[first + 1][0].name} both lie at {distances[first]:.2f} mm;"
        " remove one series or copy.",
        fault="duplicate_slices",
    )


def _what_differs(slices: Sequence[Slice]) -> str:
    """Say what tells phases in one series apart."""
    for keyword in ("AcquisitionNumber", "TemporalPositionIdentifier", "AcquisitionTime"):
        values = {str(value) for value in values_of(slices, keyword)}
        if 1 < len(values) <= len(slices) / 2:
            return f", told apart by {keyword} ({', '.join(sorted(values)[:4])})"
    return ""


def _check_line(
    place: Path, slices: Sequence[Slice], aside: np.ndarray, distances: np.ndarray
) -> None:
    """Check that slices lie on a line, and that it stands upright on them."""
    length = distances[-1] - distances[0]
    drift = (aside[-1] - aside[0]) / length
    off = np.linalg.norm(aside - aside[0] - np.outer(distances - distances[0], drift), axis=1)
    if off.max() > ASIDE_MM:
        steps = np.linalg.norm(np.diff(aside, axis=0), axis=1)
        index = int(steps.argmax())
        raise BadInput(
            f"{place} moves aside by {steps[index]:.1f} mm from {slices[index][0].name} to"
            f" {slices[index + 1][0].name}: two sub-volumes in one series; give one of them.",
            fault="two_volumes",
        )
    tilt = np.degrees(np.arctan(np.linalg.norm(drift)))
    if tilt > MOST_TILT_DEGREES:
        raise BadInput(
            f"{place} was scanned with the gantry tilted by {tilt:.1f} degrees; resample it"
            " upright.",
            fault="gantry_tilt",
        )


def _check_gaps(place: Path, slices: Sequence[Slice], distances: np.ndarray) -> None:
    gaps = np.diff(distances)
    gap = float(np.median(gaps))
    wide = gaps > max(1.5 * gap, gap + ROUNDING_MM)
    is_few = wide.sum() <= max(3, 0.1 * len(gaps))
    if wide.any() and is_few and gaps.max() > 1.9 * gap - ROUNDING_MM:
        widest = int(gaps.argmax())
        pieces = "" if gaps.max() < 6 * gap else ", or holds two sub-volumes"
        raise BadInput(
            f"{place} lacks slices after {distances[widest]:.2f} mm, {slices[widest][0].name}"
            f" ({gaps.max():.2f} mm to the next, {gap:.2f} mm elsewhere){pieces}; export the series"
            " again.",
            fault="missing_slices",
        )
    even = np.linspace(distances[0], distances[-1], len(distances))
    off = max(np.abs(gaps - gap).max(), np.abs(distances - even).max())
    if off > max(0.05 * gap, ROUNDING_MM):
        raise BadInput(
            f"{place} has slices {gaps.min():.2f} to {gaps.max():.2f} mm apart; resample it to"
            " even spacing.",
            fault="uneven_slices",
        )
