"""The files of a DICOM folder: which are slices of the series, and what the others are."""

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

from liverutils.errors import BadInput
from liverutils.scans.archives import list_files, try_files
from liverutils.scans.damage import LARGEST_FILE, damage_named, reason

CT_STORAGE = (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)


# What lies beside a series and never is a slice.
OTHER_SUFFIXES = {
    *(".nii", ".gz", ".txt", ".csv", ".tsv", ".json", ".xml", ".html", ".htm", ".pdf", ".md"),
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".zip", ".tar", ".db", ".ini", ".inf", ".exe"),
    *(".log", ".py", ".doc", ".docx", ".xls", ".xlsx", ".nrrd", ".mha", ".vtk", ".stl"),
}


# The largest matrix of a CT is 2048; compressed, no picture takes less than a byte per so many.
LARGEST_SIDE, LARGEST_COMPRESSION = 8192, 10_000


# How many files a sentence names.
NAMED = 3


Slice = tuple[Path, Dataset]


class Slices(list[Slice]):
    """The slices of one series with their files, and what was passed over in their folder.

    Attributes:
        repairs: As in `Case.provenance`.
    """

    def __init__(self, slices: Sequence[Slice], repairs: dict[str, str]) -> None:
        super().__init__(slices)
        self.repairs = repairs


@dataclass
class Sorted:
    """The files of a folder by what they are; for those that are no slices, in words."""

    slices: list[Slice] = field(default_factory=list)
    objects: dict[Path, str] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)
    unknown: dict[Path, str] = field(default_factory=dict)

    def repairs(self) -> dict[str, str]:
        """What was passed over, as for `Case.provenance`."""
        found = {"other_objects": self.objects, "passed_over": self.unknown}
        return {fault: name_files(files) for fault, files in found.items() if files}


def name_files(files: dict[Path, str]) -> str:
    """Count files and name the first of them, each with what it is."""
    named = [f"{path.name} ({what})" for path, what in list(files.items())[:NAMED]]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"{len(files)} file{'s' * (len(files) > 1)}: {', '.join(named)}{more}"


def sort_files(place: Path) -> Sorted:
    """Read every file of a folder or archive and say what it is.

    Slices are CT images with their pixels. Where there is none, every other picture counts as one,
    as some converters store CT as captures; `Modality` then decides.
    """
    found, pictures = Sorted(), list[Slice]()
    for path, content in try_files(list_files(place)):
        dataset = content if isinstance(content, BadInput) else _parse(path, content)
        if isinstance(dataset, BadInput):
            found.damaged[path] = "damaged"
        elif isinstance(dataset, str):
            _note(found, path, dataset)
        elif (kind := _kind(path, dataset)) == MediaStorageDirectoryStorage:
            continue
        elif kind and kind not in CT_STORAGE:
            found.objects[path] = kind.name.removesuffix(" Storage")
            if "PixelData" in dataset:
                pictures.append((path, dataset))
        elif fault := _what_is_missing(path, dataset):
            found.damaged[path] = fault
        else:
            found.slices.append((path, dataset))
    if not found.slices and not found.damaged:
        found.slices = pictures
        found.objects = {p: what for p, what in found.objects.items() if p not in dict(pictures)}
    return found


def _note(found: Sorted, path: Path, what: str) -> None:
    if what != "not DICOM":
        found.damaged[path] = what
    elif path.suffix.lower() not in OTHER_SUFFIXES:
        found.unknown[path] = what


def _parse(path: Path, content: bytes) -> Dataset | str:
    """Read a file; return in words why it cannot be."""
    if not content:
        return "empty" if path.suffix.lower() not in OTHER_SUFFIXES else "not DICOM"
    if _inflates_too_far(content):
        return f"inflates to more than {LARGEST_FILE >> 30} GB"
    if content[128:132] == b"DICM":
        try:
            return _read(content, force=False)
        except Exception as error:
            return f"damaged: {reason(error)}"
    try:
        # Some programs leave out the 128 bytes and "DICM" before the first element.
        dataset = _read(content, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            is_implicit = dataset.original_encoding[0]
            dataset.file_meta.TransferSyntaxUID = (
                ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
            )
        known = "SOPClassUID" in dataset or ("Rows" in dataset and "PixelData" in dataset)
        return dataset if known else "not DICOM"
    except Exception:
        return "not DICOM"


def _read(content: bytes, force: bool) -> Dataset:
    # The dataset holds on to an open file, and with it the content a second time.
    with io.BytesIO(content) as file:
        dataset = pydicom.dcmread(file, force=force)
    # pydicom converts an element when it is asked for: what says what the file is, now.
    list(dataset.file_meta)
    dataset.get("SOPClassUID")
    dataset.get("PixelData")
    return dataset


def of_one_acquisition(slices: list[Slice], drawn_on: set[str]) -> list[Slice]:
    """Return the slices of the acquisition to which slices of these SOPInstanceUIDs belong.

    All of them, where they are of one acquisition, or where those named are of several or of none.
    """
    numbers = [str(number) for number in values_of(slices, "AcquisitionNumber")]
    uids = [str(uid) for uid in values_of(slices, "SOPInstanceUID")]
    wanted = {number for number, uid in zip(numbers, uids, strict=True) if uid in drawn_on}
    if len(wanted) != 1:
        return slices
    return [each for each, number in zip(slices, numbers, strict=True) if number in wanted]


def is_dicom_seg(path: Path) -> bool:
    """Say whether a file is a DICOM SEG, going by what it says of itself."""
    try:
        return str(pydicom.dcmread(path, specific_tags=["Modality"]).get("Modality")) == "SEG"
    except Exception:  # Whatever pydicom raises on what is no DICOM.
        return False


def _inflates_too_far(content: bytes) -> bool:
    """Say whether a deflated file would take more memory than any slice."""
    head = content[:1024]
    if DeflatedExplicitVRLittleEndian.encode() not in head or len(content) < 144:
        return False
    if len(content) * 1032 <= LARGEST_FILE:
        return False
    begin = 144 + int.from_bytes(content[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflater.decompress(content[begin:], LARGEST_FILE)
    except zlib.error:
        return False  # pydicom will say so.
    return bool(inflater.unconsumed_tail)


def _kind(path: Path, dataset: Dataset) -> UID | None:
    """Return what kind of object it is; None where it does not say."""
    if path.name.upper() == "DICOMDIR":
        return MediaStorageDirectoryStorage
    named = (
        dataset.file_meta.get("MediaStorageSOPClassUID"),
        dataset.get("SOPClassUID"),
    )
    kinds = [UID(str(uid)) for uid in named if uid]
    # One that is cut short names nothing.
    known = [kind for kind in kinds if kind.name != kind]
    return (known or kinds)[-1] if kinds else None


def _what_is_missing(path: Path, dataset: Dataset) -> str | None:
    """Return what a CT image lacks, in words."""
    if "PixelData" not in dataset:
        return "without pixels"
    try:
        compressed = UID(dataset.file_meta.get("TransferSyntaxUID", "")).is_encapsulated
    except (ValueError, AttributeError):
        compressed = False
    slices = [(path, dataset)]
    names = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    try:
        rows, columns, samples, bits = (whole_numbers(slices, name)[0] or 0 for name in names)
    except BadInput as error:
        return f"damaged: {str(error).split(' cannot be read ')[-1].split(';')[0].strip('()')}"
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        return f"damaged: {rows} x {columns} pixels"
    needed = rows * columns * max(samples, 1) * bits // 8
    stored = dataset.get_item("PixelData").value
    if len(stored or b"") < (rows * columns // LARGEST_COMPRESSION if compressed else needed):
        return "cut short"
    return None


def values_of(slices: Sequence[Slice], keyword: str) -> list[Any]:
    """Return one attribute of each slice, None where it is missing.

    Slices of a series share most attributes. What is stored alike is converted once, since pydicom
    takes longer to convert a series than to read it.

    Raises:
        BadInput: bad_header.
    """
    tag = Tag(keyword)
    converted: dict[tuple[Any, ...], Any] = {}

    def value(path: Path, dataset: Dataset) -> Any:
        if tag not in dataset:
            return None
        with damage_named(path, f"its {keyword} is none, so export it again", "bad_header"):
            element = dataset.get_item(tag)
            if not isinstance(element, RawDataElement):
                return element.value
            stored = element.VR, element.is_little_endian, element.value
            if stored not in converted:
                converted[stored] = dataset[tag].value
            return converted[stored]

    return [value(*each) for each in slices]


def numbers_of(slices: Sequence[Slice], keyword: str, count: int) -> np.ndarray:
    """Return `count` numbers of each slice, (slices, count).

    Raises:
        BadInput: no_positions where a slice lacks them, bad_header.
    """
    values = values_of(slices, keyword)
    return np.array(
        [_numbers(path, keyword, v, count) for (path, _), v in zip(slices, values, strict=True)]
    )


def _numbers(path: Path, keyword: str, value: Any, count: int) -> list[float]:
    if value is None or value == "":
        raise BadInput(
            f"{path} is a slice without {keyword}; export the series again.", fault="no_positions"
        )
    with damage_named(path, f"its {keyword} is none, so export it again", "bad_header"):
        numbers = [float(number) for number in np.atleast_1d(np.asarray(value, float))]
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise BadInput(
            f"{path} has the {keyword} {value}, and {count} numbers belong there; export it again.",
            fault="bad_header",
        )
    return numbers


def whole_numbers(slices: Sequence[Slice], keyword: str) -> list[int | None]:
    """Return a whole number of each slice, None where it is missing.

    Raises:
        BadInput: bad_header.
    """
    found: list[int | None] = []
    for (path, _), value in zip(slices, values_of(slices, keyword), strict=True):
        with damage_named(path, f"its {keyword} is none, so export it again", "bad_header"):
            found.append(None if value is None or value == "" else int(value))
    return found


def optional_numbers(slices: Sequence[Slice], keyword: str) -> list[float | None]:
    """Return a number of each slice, None where it is missing.

    Raises:
        BadInput: bad_header.
    """
    values = values_of(slices, keyword)
    return [
        None if value is None or value == "" else _numbers(path, keyword, value, 1)[0]
        for (path, _), value in zip(slices, values, strict=True)
    ]
