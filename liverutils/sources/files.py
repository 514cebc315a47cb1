"""The files of one scan, wherever they come from."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from liverutils.errors import BadInput
from liverutils.scans import Case, case_from_nifti, list_files, on_disk

FINGERPRINT_BYTES = 1 << 16

PERSONAL = re.compile(
    r"\b[A-Z][a-zà-ÿ]{1,}[_ ,.-]+[A-Z][a-zà-ÿ]{1,}(?![a-z])"
    r"|\w\^\w"
    r"|(?<!\d)(19|20)\d\d[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)"
)


@dataclass(frozen=True)
class CaseFiles:
    """The files of one scan, found but not read; small, and safe to send to another process.

    Attributes:
        source: Name of the data set.
        patient: The person; the same in every data set that has the person.
        volume: The scan, unique within its data set.
        image: NIfTI file, or place of a DICOM series or of PNG slices; may lie in an archive.
        mask: The same for the labels, or None.
        read: Turns these files into a Case.
        copy_geometry: Labels in NIfTI lie on their image voxel for voxel, whatever they say.
        tumor: The tumours' own file where the mask holds only the liver, or None.
    """

    source: str
    patient: str
    volume: str
    image: Path
    mask: Path | None
    read: Callable[["CaseFiles"], Case]
    copy_geometry: bool = False
    tumor: Path | None = None

    def load(self) -> Case:
        """Read image and labels. Raises BadInput, with the fault's name, where they are unfit."""
        return self.read(self)

    @property
    def provenance(self) -> dict[str, str]:
        """Source and names of the files, without the folders of this machine."""
        files = {"image": self.image.name, "mask": self.mask.name if self.mask else ""}
        return {"source": self.source, **files}


def personal_names(patients: Iterable[str]) -> list[str]:
    """Return the names of patients that look like a person's, such as `Doe_Jane_1970`.

    Two words that begin with a capital, a caret between words as in DICOM, or a date.
    """
    return sorted({name for name in patients if PERSONAL.search(name)})


def is_nifti(path: Path) -> bool:
    """Say whether the name is that of a NIfTI file."""
    return re.search(r"\.nii(\.gz)?$", path.name, re.IGNORECASE) is not None


def fingerprint(cases: Iterable[CaseFiles]) -> str:
    """Return a sha256 that tells whether two machines hold the same scans.

    It covers the names of the scans and, of every file on disk that holds them, the name relative
    to their common folder, the size, and the first and last 64 KiB.
    """
    cases = sorted(cases, key=lambda case: (case.source, case.volume))
    digest = hashlib.sha256()
    for case in cases:
        digest.update(f"{case.source}/{case.patient}/{case.volume}\n".encode())
    places = {
        on_disk(place) for case in cases for place in (case.image, case.mask, case.tumor) if place
    }
    files = {file for place in places for file in _files_on_disk(place)}
    root = Path(os.path.commonpath([file.parent for file in files]))
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(root).as_posix()}:{size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(FINGERPRINT_BYTES))
            stream.seek(max(size - FINGERPRINT_BYTES, 0))
            digest.update(stream.read(FINGERPRINT_BYTES))
    return digest.hexdigest()


def _files_on_disk(place: Path) -> list[Path]:
    return list_files(place) if place.is_dir() else [place]


def by_number(files: Iterable[Path], pattern: str) -> dict[int, Path]:
    """Return the files whose names match, by the number in the pattern's group, in order."""
    found: dict[int, Path] = {}
    for file in files:
        if match := re.fullmatch(pattern, file.name):
            number = int(match[1])
            if number in found:
                raise BadInput(
                    f"{file} and {found[number]} are both number {number}; remove one.",
                    fault="duplicate_cases",
                )
            found[number] = file
    return dict(sorted(found.items()))


def read_nifti_case(files: CaseFiles, mask_fits: bool = False) -> Case:
    """Read a NIfTI scan and its labels, named as the files are."""
    return case_from_nifti(
        files.image,
        files.mask,
        patient=files.patient,
        volume=files.volume,
        provenance=files.provenance,
        mask_fits=mask_fits or files.copy_geometry,
    )


def left_over(source: str, place: Path, reason: str) -> CaseFiles:
    """Return what lies among the scans and is none: whoever reads it is told so.

    So that a file with a slip in its name, or a patient without pictures, is not lost in silence.

    Args:
        reason: What it is, as in "{place} {reason}; rename it or take it away."
    """
    name = re.sub(r"\.nii(\.gz)?$", "", place.name, flags=re.IGNORECASE)
    return CaseFiles(source, name, name, place, None, partial(_refuse, reason=reason))


def _refuse(files: CaseFiles, reason: str) -> Case:
    raise BadInput(f"{files.image} {reason}; rename it or take it away.", fault="not_used")


def unread_niftis(
    source: str, files: Iterable[Path], read: Iterable[Path | None]
) -> list[CaseFiles]:
    """Return the NIfTI files that are read for no scan, as what is left over."""
    used = set(read)
    reason = "has a name that no scan or mask of this data set has, or belongs to no scan"
    return [
        left_over(source, file, reason) for file in files if is_nifti(file) and file not in used
    ]
