"""A folder of anyone's own scans, NIfTI or DICOM."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from liverutils.errors import BadInput
from liverutils.scans import (
    Case,
    case_from_dicom,
    case_from_nifti,
    check_case,
    check_same_grid,
    is_archive,
    list_files,
    open_file,
    read_nifti_mask,
)
from liverutils.sources.files import CaseFiles, is_nifti, read_nifti_case

MASK_WORDS = {"mask", "masks", "seg", "segmentation", "segmentations", "label", "labels"}


IMAGE_WORDS = {"image", "images", "volume", "volumes", "scan", "scans", "ct", "dicom"}


def read_scan(place: Path | str) -> Case:
    """Read one scan without labels: a NIfTI file, or the folder or archive of a CT series.

    Raises:
        BadInput: As `scans.case_from_nifti` and `scans.case_from_dicom`; missing.
    """
    place = Path(place)
    name = place.name.split(".")[0]
    read = case_from_nifti if is_nifti(place) else case_from_dicom
    return read(place, patient=name, volume=name)


def find_folder(raw: Path) -> list[CaseFiles]:
    """List one's own scans: every NIfTI file that is no mask, and every folder or zip of DICOM.

    A mask is a NIfTI file with a mark: `mask-NAME`, `NAME_mask`, `masks/NAME` or `NAME/mask`. It
    belongs to the scan that has the same name without marks. The first folder names the patient; in
    an archive that is one packed folder, the first below that.
    """
    files = list_files(raw)
    own_folder = raw / raw.name.split(".")[0]
    if is_archive(raw) and all(file.is_relative_to(own_folder) for file in files):
        raw = own_folder
    niftis = [file for file in files if is_nifti(file)]
    masks = by_name(raw, (file for file in niftis if _is_mask(file)))
    images = by_name(raw, (file for file in niftis if not _is_mask(file)))
    series = by_name(raw, _dicom_places(files))
    return [
        CaseFiles(
            "folder", name.split("/")[0], name.replace("/", "-"), place, masks.get(name), read
        )
        for places, read in ((images, read_nifti_case), (series, _read_dicom_case))
        for name, place in sorted(places.items())
    ]


def _is_mask(file: Path) -> bool:
    words = re.split(r"[-_]", file.name.lower().split(".nii")[0])
    return not MASK_WORDS.isdisjoint({words[0], words[-1], file.parent.name.lower()})


def by_name(raw: Path, places: Iterable[Path]) -> dict[str, Path]:
    """Return the places by the names of their folders and files, without marks and suffixes.

    `bert/mask.nii.gz`, `bert_mask.nii` and `segmentation-bert.nii.gz` are all named `bert`.

    Raises:
        BadInput: duplicate_cases.
    """
    named: dict[str, Path] = {}
    for place in places:
        parts = map(_without_marks, place.relative_to(raw).parts or (raw.name,))
        name = "/".join(part for part in parts if part) or raw.name
        if name in named:
            raise BadInput(
                f"{place} and {named[name]} are both scan {name}; rename one.",
                fault="duplicate_cases",
            )
        named[name] = place
    return named


def _without_marks(name: str) -> str:
    """Return `bert` for `bert_mask.nii.gz` and `volume-bert.nii`, and nothing for `images`."""
    words = re.split(r"([-_])", re.sub(r"\.nii(\.gz)?$|\.zip$", "", name, flags=re.IGNORECASE))
    marks = MASK_WORDS | IMAGE_WORDS
    while words and words[0].lower() in marks:
        words = words[2:]
    while words and words[-1].lower() in marks:
        words = words[:-2]
    return "".join(words)


def _dicom_places(files: Iterable[Path]) -> set[Path]:
    """Return the folders and archives among whose first files is DICOM, and archives unread.

    An archive in an archive is a place of its own; one that is damaged is a place too, since
    reading it says what is wrong. The DICOMDIR of a CD lists series and is none.
    """
    members = defaultdict(list)
    places = set()
    for file in files:
        if is_archive(file):
            try:
                inside = list_files(file)
            except BadInput:
                places.add(file)
                continue
            members[file] = [member for member in inside if not is_archive(member)]
            places |= _dicom_places(filter(is_archive, inside))
        elif file.name.upper() != "DICOMDIR":
            members[file.parent].append(file)
    return places | {place for place, inside in members.items() if any(map(_is_dicom, inside[:3]))}


def _is_dicom(file: Path) -> bool:
    try:
        with open_file(file) as stream:
            return stream.read(132)[128:] == b"DICM"
    except BadInput:
        return True  # Whoever reads the series says what is wrong.


def _read_dicom_case(files: CaseFiles) -> Case:
    case = case_from_dicom(
        files.image, patient=files.patient, volume=files.volume, provenance=files.provenance
    )
    if files.mask is None:
        return case
    mask, mask_affine = read_nifti_mask(files.mask)
    check_same_grid(files.mask, case.image.shape, case.affine, mask.shape, mask_affine)
    case = replace(case, mask=mask)
    check_case(case, str(files.mask))
    return case
