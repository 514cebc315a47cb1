"""TotalSegmentator's data set: a folder per scan, a file per organ; of them the liver.

Version 2, https://doi.org/10.5281/zenodo.10047292, holds `sNNNN/ct.nii.gz` with a binary file for
each of 117 structures in `sNNNN/segmentations/`, and a `meta.csv` that is parted by semicolons.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from liverutils.scans import LIVER, Case, list_deep
from liverutils.sources.files import CaseFiles, left_over, read_nifti_case


def find_totalsegmentator(raw: Path) -> list[CaseFiles]:
    """List the scans: `sNNNN/ct.nii.gz`, with `sNNNN/segmentations/liver.nii.gz`."""
    files = set(list_deep(raw))
    cases = []
    for image in sorted(file for file in files if file.name == "ct.nii.gz"):
        liver = image.parent / "segmentations" / "liver.nii.gz"
        name = image.parent.name
        mask = liver if liver in files else None
        cases.append(
            CaseFiles("totalsegmentator", f"totalsegmentator-{name}", name, image, mask, _read)
        )
    seen = {case.image.parent for case in cases}
    livers = {file for file in files if file.parts[-2:] == ("segmentations", "liver.nii.gz")}
    alone = sorted(liver for liver in livers if liver.parents[1] not in seen)
    return cases + [
        left_over("totalsegmentator", liver, "lies beside no ct.nii.gz") for liver in alone if cases
    ]


def _read(files: CaseFiles) -> Case:
    """Read a scan and its liver; lesions are not labelled apart."""
    case = read_nifti_case(files)
    if case.mask is None:
        return case
    return replace(case, mask=(case.mask > 0).astype(np.uint8) * np.uint8(LIVER))
