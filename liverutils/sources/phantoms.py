"""The phantom cohorts as a source."""

from pathlib import Path

from liverutils.phantom import check_cohort
from liverutils.scans import list_deep
from liverutils.sources.files import CaseFiles, by_number, read_nifti_case, unread_niftis


def find_phantom(cohort: str, raw: Path) -> list[CaseFiles]:
    """List the patients of a cohort, as `phantom.make_cohort` writes them.

    Raises:
        BadInput: earlier_cohort.
    """
    check_cohort(raw, cohort)
    files = list_deep(raw)
    masks = by_number(files, r"segmentation-(\d+)\.nii(?:\.gz)?")
    cases = [
        CaseFiles(
            cohort,
            f"{cohort}-{number:03d}",
            f"{number:03d}",
            image,
            masks.get(number),
            read_nifti_case,
        )
        for number, image in by_number(files, r"volume-(\d+)\.nii(?:\.gz)?").items()
    ]
    organs = by_number(files, r"organs-(\d+)\.nii(?:\.gz)?").values()
    read = [*organs, *(place for case in cases for place in (case.image, case.mask))]
    return cases + (unread_niftis(cohort, files, read) if cases else [])
