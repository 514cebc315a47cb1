"""CT series in DICOM, in and out, and every way in which one can be wrong."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import pixel_array
from pydicom.tag import Tag
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
)

from liverutils.errors import BadInput
from liverutils.scans.archives import list_files, read_files
from liverutils.scans.case import LOWEST_HU, Case, clip_padding, turn_to_ras

UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


GEOMETRY_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


class _StoredAs(NamedTuple):
    """How the pixels of a slice are stored, and how they become HU."""

    syntax: str
    rows: int
    columns: int
    samples: int | None
    bits_allocated: int | None
    bits_stored: int | None
    is_signed: int | None
    slope: float | None
    intercept: float | None
    padding: int | None


STORED_AS_TAGS = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"),
)


# To go from DICOM's axes (left, back, head) to RAS and back, first and second change their sign.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def case_from_dicom(
    place: Path | str,
    *,
    patient: str,
    volume: str,
    provenance: dict[str, Any] | None = None,
) -> Case:
    """Read the one CT series in a folder or archive, without labels.

    Raises:
        BadInput: As `read_dicom_slices`, and unreadable_pixels.
    """
    image, affine, repairs = stack_dicom(read_dicom_slices(Path(place)))
    return Case(
        patient, volume, image, None, affine, provenance={**(provenance or {}), "repairs": repairs}
    )


def read_dicom_slices(place: Path) -> list[tuple[Path, Dataset]]:
    """Read the one series in a folder or archive, sorted towards the head, feet or side.

    Files that are not DICOM, and DICOM files without a picture (DICOMDIR, reports), are passed
    over. Slices are ordered by ImagePositionPatient along the normal of ImageOrientationPatient.
    The checks follow the errors that icometrix/dicom2nifti names.

    Raises:
        BadInput: no_dicom, not_ct, localizer, multi_frame, two_series, no_positions,
            mixed_directions, single_slice, duplicate_slices, missing_slices, uneven_slices,
            gantry_tilt.
    """
    slices = [
        (path, dataset)
        for path, content in read_files(list_files(place))
        if (dataset := _parse_dicom(content)) is not None
    ]
    datasets = [dataset for _, dataset in slices]
    _check_series(place, datasets)
    distances = _distances(datasets)
    order = np.argsort(distances, kind="stable")
    slices = [slices[index] for index in order]
    _check_positions(place, [dataset for _, dataset in slices], distances[order])
    return slices


def stack_dicom(
    slices: list[tuple[Path, Dataset]],
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Turn the slices of a CT series into HU.

    Where RescaleSlope and RescaleIntercept are missing, stored values without any negative one are
    taken as HU + 1024, as scanners store unsigned pixels, and others as HU. `slices` is emptied on
    the way, so that the series is held little more than once.

    Returns:
        The volume, int16 (X, Y, Z) in RAS order, its affine, and what was put right.

    Raises:
        BadInput: unreadable_pixels.
    """
    affine = dicom_affine([dataset for _, dataset in slices])
    stored_as = _stored_as(slices)
    volume = np.empty((len(slices), stored_as[0].rows, stored_as[0].columns), np.int16)
    repairs, intercept = _missing_rescale(slices, stored_as)
    if stored_as[0].syntax in JPEG2000TransferSyntaxes:
        repairs["jpeg2000"] = "decompressed"
    while slices:
        path, dataset = slices.pop()
        how = stored_as[len(slices)]
        volume[len(slices)] = _to_hu(_pixels(path, dataset, how), how, intercept)
    image, affine = turn_to_ras(volume.T, affine)
    return image, affine, {**repairs, **clip_padding(image)}


def read_dicom_mask(place: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a structure stored as a DICOM series: uint8 (X, Y, Z), 1 where not 0, in RAS order.

    Raises:
        BadInput: As `read_dicom_slices`, and unreadable_pixels.
    """
    slices = read_dicom_slices(place)
    stored_as = _stored_as(slices)
    stack = np.zeros((len(slices), stored_as[0].rows, stored_as[0].columns), bool)
    for plane, (path, dataset), how in zip(stack, slices, stored_as, strict=True):
        pixels = _pixels(path, dataset, how)
        if pixels.any():  # Most slices of most structures are empty.
            np.not_equal(pixels, 0, out=plane)
    affine = dicom_affine([dataset for _, dataset in slices])
    return turn_to_ras(stack.view(np.uint8).T, affine)


def _parse_dicom(content: bytes) -> Dataset | None:
    try:
        # The dataset holds on to an open file, and with it the content a second time.
        with io.BytesIO(content) as file:
            dataset = pydicom.dcmread(file)
    except InvalidDicomError:
        return None
    return dataset if "PixelData" in dataset else None


def _values(datasets: Sequence[Dataset], keyword: str) -> list[Any]:
    """Return one attribute of each dataset, None where it is missing.

    Slices of a series share most attributes. What is stored alike is converted once, since pydicom
    takes longer to convert a series than to read it.
    """
    tag = Tag(keyword)
    converted: dict[tuple[Any, ...], Any] = {}

    def value(dataset: Dataset) -> Any:
        if tag not in dataset:
            return None
        element = dataset.get_item(tag)
        if not isinstance(element, RawDataElement):
            return element.value
        stored = element.VR, element.is_little_endian, element.value
        if stored not in converted:
            converted[stored] = dataset[tag].value
        return converted[stored]

    return [value(dataset) for dataset in datasets]


def _stored_as(slices: list[tuple[Path, Dataset]]) -> list[_StoredAs]:
    datasets = [dataset for _, dataset in slices]
    syntaxes = _values([dataset.file_meta for dataset in datasets], "TransferSyntaxUID")
    columns = [_values(datasets, tag) for tag in STORED_AS_TAGS]
    return [_StoredAs(*row) for row in zip(syntaxes, *columns, strict=True)]


def _check_series(place: Path, datasets: list[Dataset]) -> None:
    if not datasets:
        raise BadInput(f"{place} holds no DICOM pictures; check the path.", fault="no_dicom")
    if any("LOCALIZER" in (kind or ()) for kind in _values(datasets, "ImageType")):
        raise BadInput(
            f"{place} holds a localizer beside the series; move it out of the folder.",
            fault="localizer",
        )
    if any(modality != "CT" for modality in _values(datasets, "Modality")):
        raise BadInput(f"{place} is not a CT series; give a CT scan.", fault="not_ct")
    if any(int(frames or 1) > 1 for frames in _values(datasets, "NumberOfFrames")):
        raise BadInput(
            f"{place} holds multi-frame DICOM; convert it to one file per slice.",
            fault="multi_frame",
        )
    _check_one_series(place, datasets)
    if not all(value for tag in GEOMETRY_TAGS for value in _values(datasets, tag)):
        raise BadInput(
            f"{place} has slices without {', '.join(GEOMETRY_TAGS)}; export the series again.",
            fault="no_positions",
        )
    orientations = np.array(_values(datasets, "ImageOrientationPatient"), float)
    if np.abs(orientations - orientations[0]).max() > 1e-3:
        raise BadInput(
            f"{place} holds slices of different orientations; give one axial series.",
            fault="mixed_directions",
        )
    if len(datasets) < 2:
        raise BadInput(
            f"{place} holds one slice; give a volume of at least two.", fault="single_slice"
        )


def _check_one_series(place: Path, datasets: list[Dataset]) -> None:
    series = set(_values(datasets, "SeriesInstanceUID"))
    shapes = set(zip(*(_values(datasets, tag) for tag in ("Rows", "Columns")), strict=True))
    # Some anonymisers, that of CHAOS among them, give every slice a series of its own.
    is_split = 1 < len(series) < len(datasets)
    if is_split or len(shapes) > 1:
        raise BadInput(
            f"{place} holds {len(series)} series; keep one of them in the folder.",
            fault="two_series",
        )


def _distances(datasets: list[Dataset]) -> np.ndarray:
    """Return each slice's distance in mm from the origin, along the normal of the slices."""
    positions = np.array(_values(datasets, "ImagePositionPatient"), float)
    return positions @ _normal(datasets[0])


def _normal(dataset: Dataset) -> np.ndarray:
    cosines = np.array(dataset.ImageOrientationPatient, float)
    return np.cross(cosines[:3], cosines[3:])


def _check_positions(place: Path, datasets: list[Dataset], distances: np.ndarray) -> None:
    """Check slices that are sorted by their distances."""
    gaps = np.diff(distances)
    gap = float(np.median(gaps))
    if gaps.min() < 0.01:
        raise BadInput(
            f"{place} holds two slices at {distances[gaps.argmin()]:.2f} mm; remove one series or"
            " copy.",
            fault="duplicate_slices",
        )
    if gaps.max() > 1.5 * gap:
        raise BadInput(
            f"{place} lacks slices after {distances[gaps.argmax()]:.2f} mm ({gaps.max():.2f} mm to"
            f" the next, {gap:.2f} mm elsewhere); export the series again.",
            fault="missing_slices",
        )
    if np.abs(gaps - gap).max() > max(0.05 * gap, 0.02):
        raise BadInput(
            f"{place} has slices {gaps.min():.2f} to {gaps.max():.2f} mm apart; resample it to"
            " even spacing.",
            fault="uneven_slices",
        )
    first, last = (np.array(datasets[end].ImagePositionPatient, float) for end in (0, -1))
    tilt = np.degrees(
        np.arccos(min((last - first) @ _normal(datasets[0]) / np.linalg.norm(last - first), 1.0))
    )
    if tilt > 0.5:
        raise BadInput(
            f"{place} was scanned with the gantry tilted by {tilt:.1f} degrees; resample it"
            " upright.",
            fault="gantry_tilt",
        )


def dicom_affine(datasets: list[Dataset]) -> np.ndarray:
    """Return the affine from (column, row, slice) to RAS mm; DICOM's own axes are LPS.

    DICOM PS3.3, C.7.6.2.1.1, with the spacing of the slices from their positions.
    """
    first, last = datasets[0], datasets[-1]
    cosines = np.array(first.ImageOrientationPatient, float)
    row_spacing, column_spacing = (float(spacing) for spacing in first.PixelSpacing)
    origin = np.array(first.ImagePositionPatient, float)
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] * column_spacing
    affine[:3, 1] = cosines[3:] * row_spacing
    affine[:3, 2] = (np.array(last.ImagePositionPatient, float) - origin) / (len(datasets) - 1)
    affine[:3, 3] = origin
    return LPS_TO_RAS @ affine


def _pixels(path: Path, dataset: Dataset, stored_as: _StoredAs) -> np.ndarray:
    """Return the stored values (rows, columns); they may be read-only."""
    try:
        if not _is_plain(stored_as):
            return pixel_array(dataset, view_only=True)
        shape, kind = (stored_as.rows, stored_as.columns), "i" if stored_as.is_signed else "u"
        dtype = f"<{kind}{(stored_as.bits_allocated or 0) // 8}"
        return np.frombuffer(dataset.PixelData, dtype, shape[0] * shape[1]).reshape(shape)
    except (ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise BadInput(
            f"{path} cannot be decoded ({str(error).splitlines()[0]}); export it again,"
            " uncompressed.",
            fault="unreadable_pixels",
        ) from error


def _is_plain(stored_as: _StoredAs) -> bool:
    """Say whether the pixels are bare numbers, which numpy takes in less time than pydicom."""
    return (
        stored_as.syntax in UNCOMPRESSED
        and stored_as.samples == 1
        and stored_as.is_signed in (0, 1)
        and stored_as.bits_stored == stored_as.bits_allocated
        and stored_as.bits_allocated in (8, 16)
    )


def _missing_rescale(
    slices: list[tuple[Path, Dataset]], stored_as: list[_StoredAs]
) -> tuple[dict[str, str], int]:
    """Return the intercept to take for slices that have none, and the repair that this is."""
    lowest = [
        int(_pixels(*where, how).min())
        for where, how in zip(slices, stored_as, strict=True)
        if how.intercept is None
    ]
    if not lowest:
        return {}, 0
    intercept = LOWEST_HU if min(lowest) >= 0 else 0
    return {"missing_rescale": f"RescaleIntercept {intercept} was assumed"}, intercept


def _to_hu(stored: np.ndarray, stored_as: _StoredAs, missing_intercept: int) -> np.ndarray:
    slope = 1.0 if stored_as.slope is None else float(stored_as.slope)
    intercept = float(missing_intercept if stored_as.intercept is None else stored_as.intercept)
    if (slope, intercept) == (1, 0):
        hu = stored
    elif slope == 1 and intercept == int(intercept):
        hu = stored.astype(np.int32) + int(intercept)
    else:
        hu = np.rint(stored * slope + intercept)
    if stored_as.padding is not None:
        hu = np.where((stored == stored_as.padding) & (hu > LOWEST_HU), LOWEST_HU - 1, hu)
    limits = np.iinfo(np.int16)
    return hu if hu.dtype == np.int16 else hu.clip(limits.min, limits.max)
