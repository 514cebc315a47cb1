"""Liver and tumours read from a DICOM Segmentation object onto the grid of its series."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.errors import InvalidDicomError

from liverutils.errors import BadInput
from liverutils.scans.archives import open_file
from liverutils.scans.case import LIVER, TUMOR, turn_to_ras
from liverutils.scans.dicom import LPS_TO_RAS

if TYPE_CHECKING:
    import highdicom as hd


def read_dicom_seg(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Read liver and tumours from a DICOM SEG on the grid of its series.

    Segments are known by their labels: "liver", and those that begin with "tumor" or "liver tumor";
    vessels and what a surgeon would leave of the liver are passed over.

    Args:
        path: The file; it may lie in an archive.
        shape: Of the series, as `scans.case_from_dicom` returns it.
        affine: The same.

    Returns:
        uint8 (X, Y, Z), RAS: 0 background, 1 liver, 2 tumour.

    Raises:
        BadInput: not_seg, no_liver_segment, different_grids.
    """
    with _as_dicom_seg(path) as segmentation:
        labels = np.zeros(shape, np.uint8)
        for number, label in _wanted_segments(segmentation, path):
            volume = segmentation.get_volume(
                segment_numbers=[number], combine_segments=True, relabel=True,
                allow_missing_positions=True,
            )  # fmt: skip
            part, part_affine = turn_to_ras(volume.array, LPS_TO_RAS @ volume.affine)
            labels[_place_in(path, shape, affine, part.shape, part_affine)][part > 0] = label
    return labels


def read_dicom_seg_alone(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read liver and tumours from a DICOM SEG on its own grid, where its series is not at hand.

    Returns:
        uint8 (X, Y, Z), RAS, from the lowest to the highest slice that it labels; its affine.

    Raises:
        BadInput: not_seg, no_liver_segment.
    """
    with _as_dicom_seg(path) as segmentation:
        wanted = _wanted_segments(segmentation, path)
        volume = segmentation.get_volume(
            segment_numbers=[number for number, _ in wanted], allow_missing_positions=True
        )
        segments, affine = turn_to_ras(volume.array, LPS_TO_RAS @ volume.affine)
        labels = np.zeros(segments.shape[:3], np.uint8)
        for place, (_, label) in enumerate(wanted):
            labels[segments[..., place] > 0] = label
    return labels, affine


def slices_drawn_on(path: Path) -> set[str]:
    """Return the SOPInstanceUIDs of the slices to which a DICOM SEG refers.

    Raises:
        BadInput: not_seg.
    """
    with _as_dicom_seg(path) as segmentation:
        return {
            str(instance.ReferencedSOPInstanceUID)
            for series in segmentation.get("ReferencedSeriesSequence", [])
            for instance in series.get("ReferencedInstanceSequence", [])
        }


@contextmanager
def _as_dicom_seg(path: Path) -> Iterator[hd.seg.Segmentation]:
    """Open a DICOM SEG; what goes wrong while it is read raises BadInput, not_seg."""
    # It takes a second to import, and every notebook knows of this reader.
    import highdicom as hd

    try:
        with open_file(path) as file:
            yield hd.seg.segread(io.BytesIO(file.read()))
    except BadInput:
        raise
    except (ValueError, RuntimeError, AttributeError, InvalidDicomError) as error:
        raise BadInput(
            f"{path} cannot be read as a DICOM SEG ({' '.join(str(error).split())[:100]}); export"
            " it again.",
            fault="not_seg",
        ) from error


def _wanted_segments(segmentation: hd.seg.Segmentation, path: Path) -> list[tuple[int, int]]:
    """Return number and label of the segments to read, the liver first, tumours on it."""
    wanted = []
    names = []
    for number in segmentation.segment_numbers:
        name = str(segmentation.get_segment_description(number).segment_label).lower()
        names.append(name)
        if re.fullmatch(r"liver", name):
            wanted.append((number, LIVER))
        elif re.match(r"(liver[ _-]?)?tumou?r", name):
            wanted.append((number, TUMOR))
    if not any(label == LIVER for _, label in wanted):
        raise BadInput(
            f"{path} has no segment named liver, but {', '.join(names)}; name it so.",
            fault="no_liver_segment",
        )
    return sorted(wanted, key=lambda segment: segment[1])


def _place_in(
    path: Path,
    shape: tuple[int, ...],
    affine: np.ndarray,
    part_shape: tuple[int, ...],
    part_affine: np.ndarray,
) -> tuple[slice, ...]:
    """Return where a part of a grid lies in the whole."""
    first = np.linalg.solve(affine, part_affine @ [0, 0, 0, 1])[:3]
    start = np.rint(first).astype(int)
    fits = np.allclose(affine[:3, :3], part_affine[:3, :3], atol=1e-3)
    inside = (start >= 0).all() and (start + part_shape <= np.array(shape)).all()
    if not fits or np.abs(first - start).max() > 0.1 or not inside:
        raise BadInput(
            f"{path} is not on the grid of its series; find the series that it was drawn on.",
            fault="different_grids",
        )
    return tuple(slice(a, a + size) for a, size in zip(start, part_shape, strict=True))
