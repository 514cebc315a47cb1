"""A folder of anyone's own scans, NIfTI or DICOM."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from liverutils.errors import BadInput
from liverutils.scans import (
    LIVER,
    OTHER_SUFFIXES,
    TUMOR,
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
from liverutils.sources.files import CaseFiles, is_nifti, left_over, read_nifti_case
from liverutils.sources.names import (
    CHANNEL,
    by_name,
    is_mask,
    patient_of,
    scan_name,
    stem,
    structure_of,
)

# Scans in formats that are not read here.
OTHER_PICTURES = {".nrrd", ".mha", ".mhd", ".hdr", ".img", ".mgz", ".mnc"}


# So many files without a known suffix are more than notes beside the scans.
FEWEST_SLICES = 5


# Files of a folder that are opened to see whether one of them is DICOM.
MOST_LOOKED_AT = 100


def read_scan(place: Path | str) -> Case:
    """Read one scan without labels: a NIfTI file, or the folder or archive of a CT series.

    Raises:
        BadInput: As `scans.case_from_nifti` and `scans.case_from_dicom`; missing, unknown_format.
    """
    place = Path(place)
    _check_format(place)
    name = place.name.split(".")[0]
    read = case_from_nifti if is_nifti(place) else case_from_dicom
    return read(place, patient=name, volume=name)


def _check_format(place: Path) -> None:
    """Say of what is no scan what would be taken."""
    taken = "a NIfTI file (.nii or .nii.gz), or the folder, zip or tar of a CT series in DICOM"
    if is_archive(place) and (niftis := [file for file in list_files(place) if is_nifti(file)]):
        raise BadInput(
            f"{place} holds {niftis[0].name}, and what is taken is {taken}; unpack it.",
            fault="unknown_format",
        )
    is_one_file = place.is_file() and not (is_archive(place) or is_nifti(place))
    if is_one_file and not _is_dicom(place):
        raise BadInput(
            f"{place} is not taken: give {taken}; convert it first.", fault="unknown_format"
        )


def find_folder(raw: Path) -> list[CaseFiles]:
    """List one's own scans: every NIfTI file that is no mask, and every folder or zip of DICOM.

    A mask is a NIfTI file with a mark: `mask-NAME`, `NAME_mask`, `masks/NAME` or `NAME/mask`, and
    so with seg, label and gt; or `NAME_liver` and `NAME_tumor`, which together are one. It belongs
    to the scan that has the same name without marks. nnU-Net's raw folder and the data set and
    output folders of TotalSegmentator are read too. The first folder that is no split (train, test)
    names the patient; in an archive that is one packed folder, the first below that.

    Raises:
        BadInput: duplicate_cases, and what listing the files raises.
    """
    files = list_files(raw)
    own_folder = raw / raw.name.split(".")[0]
    if is_archive(raw) and all(file.is_relative_to(own_folder) for file in files):
        raw = own_folder
    niftis = _without_other_channels(file for file in files if is_nifti(file))
    series = by_name(raw, _dicom_places(files))
    parts = _structures(raw, niftis, series)
    rest = [file for file in niftis if file not in {*parts["liver"], *parts["tumor"]}]
    masks = by_name(
        raw, (file for file in rest if is_mask(file) and not _is_structure(file, parts))
    )
    images = by_name(raw, (file for file in rest if not is_mask(file)))
    livers, tumors = (by_name(raw, parts[part], structure=True) for part in ("liver", "tumor"))
    masks = {**livers, **masks}
    cases = [
        CaseFiles(
            source="folder",
            patient=patient_of(name),
            volume=name.replace("/", "-"),
            image=place,
            mask=masks.get(name),
            read=read_parts if name in livers or name in tumors else read,
            tumor=tumors.get(name),
        )
        for places, read in ((images, read_nifti_case), (series, _read_dicom_case))
        for name, place in sorted(places.items())
    ]
    return cases + (_left_over(files, cases, masks, niftis) if cases else [])


def _left_over(
    files: list[Path], cases: list[CaseFiles], masks: dict[str, Path], niftis: list[Path]
) -> list[CaseFiles]:
    """Return masks of no scan, pictures of other kinds, and folders of what is no DICOM."""
    used = {place for case in cases for place in (case.image, case.mask, case.tumor)}
    alone = [mask for mask in masks.values() if mask not in used]
    found = [left_over("folder", mask, "is a mask whose scan has another name") for mask in alone]
    places = defaultdict(list)
    for file in files:
        is_read = used & {file, *file.parents} or any(
            place.is_relative_to(file) for place in used if place
        )
        if file.suffix.lower() in OTHER_PICTURES or is_archive(file):
            if not is_read:
                found.append(left_over("folder", file, "holds no NIfTI file or DICOM series"))
        elif not is_read and file not in niftis and file.suffix.lower() in ("", ".dcm", ".ima"):
            places[file.parent].append(file)
    return found + [
        left_over("folder", folder, f"holds no DICOM that can be read ({inside[0].name})")
        for folder, inside in sorted(places.items())
        if not any(file.name.upper() == "DICOMDIR" for file in inside)
        and len(inside) >= FEWEST_SLICES
    ]


def _without_other_channels(niftis: Iterable[Path]) -> list[Path]:
    """Leave out the channels of nnU-Net's images after the first."""
    niftis = list(niftis)
    firsts = {re.sub(CHANNEL, "", stem(f.name)) for f in niftis if stem(f.name).endswith("_0000")}
    return [
        file
        for file in niftis
        if stem(file.name).endswith("_0000")
        or re.sub(CHANNEL, "", stem(file.name)) not in firsts
        or not re.search(CHANNEL, stem(file.name))
    ]


def _structures(raw: Path, niftis: list[Path], series: dict[str, Path]) -> dict[str, list[Path]]:
    """Return the files that hold only the liver or only tumours of a scan that is there too.

    A file such as `anna_liver.nii.gz` without `anna.nii.gz` is a scan that is named so.
    """
    images = {scan_name(raw, file) for file in niftis if not is_mask(file)} | set(series)
    found: dict[str, list[Path]] = {"liver": [], "tumor": []}
    for file in niftis:
        part = structure_of(file)
        if part and scan_name(raw, file, structure=True) in images - {scan_name(raw, file)}:
            found[part].append(file)
    return found


def _is_structure(file: Path, parts: dict[str, list[Path]]) -> bool:
    """Say whether a mask lies beside one of a liver or tumour only: another organ's."""
    return file.parent in {part.parent for part in parts["liver"]} and is_mask(file.parent / "x")


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
    for place, inside in members.items():
        likely = [file for file in inside if file.suffix.lower() not in OTHER_SUFFIXES]
        if any(map(_is_dicom, likely[:MOST_LOOKED_AT])):
            places.add(place)
    return places


def _is_dicom(file: Path) -> bool:
    try:
        with open_file(file) as stream:
            head = stream.read(132)
        # Some programs leave out the 128 bytes and "DICM" before the first element.
        begins_at_once = head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0"
        return head[128:] == b"DICM" or begins_at_once
    except BadInput:
        return True  # Whoever reads the series says what is wrong.


def read_parts(files: CaseFiles) -> Case:
    """Read a scan whose liver and tumours lie in a file each; tumours count as liver.

    Raises:
        BadInput: As `scans.case_from_nifti` and `scans.case_from_dicom`; different_grids.
    """
    read = read_nifti_case if is_nifti(files.image) else _read_dicom_case
    case = read(replace(files, mask=None))
    labels = np.zeros(case.image.shape, np.uint8)
    for place, label in ((files.mask, LIVER), (files.tumor, TUMOR)):
        if place is not None:
            part, affine = read_nifti_mask(place)
            check_same_grid(place, case.image.shape, case.affine, part.shape, affine)
            labels[part > 0] = label
            labels[part == TUMOR] = TUMOR
    return replace(case, mask=labels, provenance=files.provenance | _repairs(case))


def _repairs(case: Case) -> dict:
    return {"repairs": case.provenance.get("repairs", {})}


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
