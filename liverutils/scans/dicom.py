"""CT series in DICOM, in and out, and every way in which one can be wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
)

from liverutils.errors import BadInput
from liverutils.scans.case import (
    LOWEST_HU,
    Case,
    check_body_size,
    clip_padding,
    turn_to_ras,
)
from liverutils.scans.damage import damage_named
from liverutils.scans.dicom_files import (
    Slice,
    Slices,
    Sorted,
    name_files,
    of_one_acquisition,
    optional_numbers,
    sort_files,
    values_of,
    whole_numbers,
)
from liverutils.scans.dicom_positions import sort_slices

UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


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


WHOLE_NUMBER_TAGS = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
)


# To go from DICOM's axes (left, back, head) to RAS and back, first and second change their sign.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def case_from_dicom(
    place: Path | str,
    *,
    patient: str,
    volume: str,
    provenance: dict[str, Any] | None = None,
    drawn_on: set[str] | None = None,
) -> Case:
    """Read the one CT series in a folder or archive, without labels.

    Args:
        drawn_on: As for `read_dicom_slices`.

    Raises:
        BadInput: As `read_dicom_slices`, and unreadable_pixels.
    """
    image, affine, repairs = stack_dicom(read_dicom_slices(Path(place), drawn_on))
    return Case(
        patient, volume, image, None, affine, provenance={**(provenance or {}), "repairs": repairs}
    )


def read_dicom_slices(place: Path, drawn_on: set[str] | None = None) -> Slices:
    """Read the one series in a folder or archive, sorted towards the head, feet or side.

    Slices are ordered by ImagePositionPatient along the normal of ImageOrientationPatient. Other
    objects (SEG, reports, PET, captures) and files that are not DICOM are passed over and named in
    the result; a slice that cannot be read is a fault, as the scan would lack it. The checks follow
    the errors that icometrix/dicom2nifti names, and look at every slice.

    Args:
        place: A folder or archive.
        drawn_on: SOPInstanceUIDs of slices that have labels: of a series with several phases, the
            phase that they are of is read.

    Raises:
        BadInput: no_dicom, damaged_slices, not_ct, not_grey, localizer, multi_frame, two_series,
            wrong_unit; as `dicom_positions.sort_slices`.
    """
    found = sort_files(place)
    _check_series(place, found)
    chosen = of_one_acquisition(found.slices, drawn_on) if drawn_on else found.slices
    slices = sort_slices(place, chosen)
    repairs = found.repairs()
    if left := len(found.slices) - len(chosen):
        repairs["other_phases"] = f"{left} of {len(found.slices)} slices are of another"
    rows, columns = (whole_numbers(slices[:1], name)[0] or 0 for name in ("Rows", "Columns"))
    affine = dicom_affine([dataset for _, dataset in slices])
    check_body_size(place, (columns, rows, len(slices)), affine)
    return Slices(slices, repairs)


def stack_dicom(slices: Slices) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
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
    repairs |= slices.repairs
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


def _stored_as(slices: Sequence[Slice]) -> list[_StoredAs]:
    syntaxes = [dataset.file_meta.get("TransferSyntaxUID") for _, dataset in slices]
    columns: list[list[Any]] = [whole_numbers(slices, tag) for tag in WHOLE_NUMBER_TAGS]
    columns += [optional_numbers(slices, tag) for tag in ("RescaleSlope", "RescaleIntercept")]
    columns.append(whole_numbers(slices, "PixelPaddingValue"))
    return [_StoredAs(*row) for row in zip(syntaxes, *columns, strict=True)]


def _check_series(place: Path, found: Sorted) -> None:
    slices = found.slices
    if found.damaged:
        raise BadInput(
            f"{place} holds what cannot be read, {name_files(found.damaged)}; copy or export the"
            " series again.",
            fault="damaged_slices",
        )
    if not slices:
        others = {**found.objects, **found.unknown}
        instead = f", but {name_files(others)}" if others else ""
        raise BadInput(
            f"{place} holds no DICOM pictures{instead}; check the path.", fault="no_dicom"
        )
    for (path, _), kind in zip(slices, values_of(slices, "ImageType"), strict=True):
        if "LOCALIZER" in (kind or ()):
            raise BadInput(
                f"{path} is a localizer beside the series; move it out of the folder.",
                fault="localizer",
            )
    for (path, dataset), modality in zip(slices, values_of(slices, "Modality"), strict=True):
        if modality != "CT":
            kind = dataset.SOPClassUID.name if "SOPClassUID" in dataset else "unknown kind"
            raise BadInput(
                f"{path} is not CT but {modality or 'without modality'} ({kind}); give a CT scan.",
                fault="not_ct",
            )
    for (path, _), frames in zip(slices, whole_numbers(slices, "NumberOfFrames"), strict=True):
        if (frames or 1) > 1:
            raise BadInput(
                f"{path} is multi-frame DICOM; convert it to one file per slice.",
                fault="multi_frame",
            )
    for (path, _), samples in zip(slices, whole_numbers(slices, "SamplesPerPixel"), strict=True):
        if (samples or 1) > 1:
            raise BadInput(
                f"{path} holds a picture in colours, and CT is grey; export the series itself.",
                fault="not_grey",
            )
    _check_one_series(place, slices)


def _check_one_series(place: Path, slices: Sequence[Slice]) -> None:
    uids = [str(uid) for uid in values_of(slices, "SeriesInstanceUID")]
    first = dict(zip(reversed(uids), reversed(slices), strict=True))
    # Some anonymisers, that of CHAOS among them, give every slice a series of its own.
    if 1 < len(first) < len(slices):
        each = [f"{uids.count(uid)} files as {path.name}" for uid, (path, _) in first.items()]
        raise BadInput(
            f"{place} holds {len(first)} series ({', '.join(sorted(each)[:4])}); keep one of them"
            " in the folder.",
            fault="two_series",
        )
    sizes = list(zip(*(whole_numbers(slices, tag) for tag in ("Rows", "Columns")), strict=True))
    for (path, _), size in zip(slices, sizes, strict=True):
        if size != sizes[0]:
            raise BadInput(
                f"{path} has {size[0]} x {size[1]} pixels and {slices[0][0].name} {sizes[0][0]} x"
                f" {sizes[0][1]}: two series; keep one of them in the folder.",
                fault="two_series",
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
    shape = (stored_as.rows, stored_as.columns)
    with damage_named(path, "export it again, uncompressed", "unreadable_pixels"):
        if not _is_plain(stored_as):
            pixels = pixel_array(dataset, view_only=True)
        else:
            kind = "i" if stored_as.is_signed else "u"
            dtype = f"<{kind}{(stored_as.bits_allocated or 0) // 8}"
            pixels = np.frombuffer(dataset.PixelData, dtype, shape[0] * shape[1]).reshape(shape)
    if pixels.shape != shape:
        raise BadInput(
            f"{path} holds a picture of {pixels.shape} pixels where {shape} were announced; export"
            " it again.",
            fault="unreadable_pixels",
        )
    return pixels


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
    slices: Sequence[Slice], stored_as: list[_StoredAs]
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
