"""LiTS, and MSD Task03, which is the LiTS training set under other names."""

from functools import partial
from pathlib import Path

from liverutils.scans import list_deep
from liverutils.sources.files import CaseFiles, by_number, read_nifti_case, unread_niftis

# LiTS 28 to 47 are the 20 patients of 3D-IRCADb-01, in their order; by some accounts 48 is one too,
# so until slice counts decide it counts as the last of them.
FIRST_IRCADB_IN_LITS, LAST_IRCADB_IN_LITS, N_IRCADB = 28, 48, 20


def lits_patient(number: int) -> str:
    """Return the patient of a LiTS or MSD volume, who may be one of 3D-IRCADb-01."""
    if FIRST_IRCADB_IN_LITS <= number <= LAST_IRCADB_IN_LITS:
        return f"ircadb-{min(number - FIRST_IRCADB_IN_LITS + 1, N_IRCADB):02d}"
    return f"lits-{number:03d}"


def find_lits(raw: Path) -> list[CaseFiles]:
    """List the volumes of LiTS."""
    files = list_deep(raw)
    masks = by_number(files, r"segmentation-(\d+)\.nii(?:\.gz)?")
    cases = [
        _lits_case("lits", number, f"volume-{number}", image, masks.get(number))
        for number, image in by_number(files, r"volume-(\d+)\.nii(?:\.gz)?").items()
    ]
    # The test set, which is named so, has no labels.
    rest = [file for file in files if not file.name.startswith("test-")]
    return cases + _unread("lits", rest, cases)


def find_msd(raw: Path) -> list[CaseFiles]:
    """List the volumes of MSD Task03."""
    # The test set has no labels.
    files = [file for file in list_deep(raw) if file.parent.name in ("imagesTr", "labelsTr")]
    images, masks = (
        by_number(
            (file for file in files if file.parent.name == folder), r"liver_(\d+)\.nii(?:\.gz)?"
        )
        for folder in ("imagesTr", "labelsTr")
    )
    cases = [
        _lits_case("msd", number, f"liver_{number}", image, masks.get(number))
        for number, image in images.items()
    ]
    return cases + _unread("msd", files, cases)


def _unread(source: str, files: list[Path], cases: list[CaseFiles]) -> list[CaseFiles]:
    read = [place for case in cases for place in (case.image, case.mask)]
    return unread_niftis(source, files, read) if cases else []


def _lits_case(source: str, number: int, volume: str, image: Path, mask: Path | None) -> CaseFiles:
    # Some labels fit their image voxel for voxel though their affines say otherwise; those that do
    # not fit, `scans.verify_case` finds.
    read = partial(read_nifti_case, mask_fits=True)
    return CaseFiles(source, lits_patient(number), volume, image, mask, read)
