"""LiTS, and MSD Task03, which is the LiTS training set under other names."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from liverutils.scans import Case, list_deep, turned_axes
from liverutils.sources.files import CaseFiles, by_number, read_nifti_case

# LiTS 28 to 47 are the 20 patients of 3D-IRCADb-01, in their order.
FIRST_IRCADB_IN_LITS, N_IRCADB = 28, 20


# Labels of LiTS that fit their image voxel for voxel although the affines say otherwise.
LITS_MASK_FITS = {*range(FIRST_IRCADB_IN_LITS, FIRST_IRCADB_IN_LITS + N_IRCADB), 53}


def lits_patient(number: int) -> str:
    """Return the patient of a LiTS or MSD volume, who may be one of 3D-IRCADb-01."""
    in_ircadb = number - FIRST_IRCADB_IN_LITS
    if 0 <= in_ircadb < N_IRCADB:
        return f"ircadb-{in_ircadb + 1:02d}"
    return f"lits-{number:03d}"


def find_lits(raw: Path) -> list[CaseFiles]:
    """List the volumes of LiTS."""
    files = list_deep(raw)
    masks = by_number(files, r"segmentation-(\d+)\.nii(?:\.gz)?")
    return [
        _lits_case("lits", number, f"volume-{number}", image, masks.get(number))
        for number, image in by_number(files, r"volume-(\d+)\.nii(?:\.gz)?").items()
    ]


def find_msd(raw: Path) -> list[CaseFiles]:
    """List the volumes of MSD Task03."""
    files = list_deep(raw)
    images, masks = (
        by_number(
            (file for file in files if file.parent.name == folder), r"liver_(\d+)\.nii(?:\.gz)?"
        )
        for folder in ("imagesTr", "labelsTr")
    )
    return [
        _lits_case("msd", number, f"liver_{number}", image, masks.get(number))
        for number, image in images.items()
    ]


def _lits_case(source: str, number: int, volume: str, image: Path, mask: Path | None) -> CaseFiles:
    read = partial(_read_lits, mask_fits=number in LITS_MASK_FITS)
    return CaseFiles(source, lits_patient(number), volume, image, mask, read)


def _read_lits(files: CaseFiles, mask_fits: bool) -> Case:
    """Read a volume; where its affine is the identity, anatomy tells right from left."""
    case = read_nifti_case(files, mask_fits)
    repairs = case.provenance["repairs"]
    if "identity_affine" not in repairs or not (turned := turned_axes(case)):
        return case
    detail = f"{repairs['identity_affine']}, turned because {' and '.join(turned.values())}"
    return replace(
        case,
        image=np.flip(case.image, tuple(turned)),
        mask=np.flip(case.labels, tuple(turned)),
        provenance={**case.provenance, "repairs": {**repairs, "identity_affine": detail}},
    )
