"""3D-IRCADb-01: a folder of zipped DICOM per patient, a folder of masks per structure."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from liverutils.scans import (
    LIVER,
    TUMOR,
    Case,
    check_same_grid,
    is_archive,
    list_files,
    read_dicom_mask,
    read_dicom_slices,
    stack_dicom,
)
from liverutils.sources.files import CaseFiles, left_over

# livertumor1, livertumor01, liver_tumor-1, tumor01, livertumors: as the publisher and others write
# it; cysts and tumours of other organs are none.
TUMOR_NAMES = r"(liver[ _-]?)?tumou?rs?[ _-]?\d*"


def find_ircadb(raw: Path) -> list[CaseFiles]:
    """List the patients of 3D-IRCADb-01."""
    files = list_files(raw)
    parts = r".*_(DICOM|VTK)(\.zip)?"
    patients = [file for file in files if is_archive(file) and not _outermost(raw, file, parts)]
    files += [file for archive in patients for file in list_files(archive)]
    images, masks = (
        {place for file in files if (place := _outermost(raw, file, rf"{name}(\.zip)?"))}
        for name in ("PATIENT_DICOM", "MASKS_DICOM")
    )
    masks_by_patient = {place.parent: place for place in masks}
    cases = [_ircadb_case(image, masks_by_patient.get(image.parent)) for image in images]
    alone = sorted(masks_by_patient.keys() - {image.parent for image in images})
    cases += [
        left_over("ircadb", masks_by_patient[folder], "holds masks without their PATIENT_DICOM")
        for folder in alone
        if images
    ]
    return sorted(cases, key=lambda case: case.patient)


def _outermost(raw: Path, file: Path, pattern: str) -> Path | None:
    """Return the outermost folder or file from `raw` down to `file` that has such a name."""
    around = [place for place in (file, *file.parents) if place.is_relative_to(raw)]
    return next((place for place in reversed(around) if re.fullmatch(pattern, place.name)), None)


def _ircadb_case(image: Path, mask: Path | None) -> CaseFiles:
    folder = image.parent.name.removesuffix(".zip")
    number = re.fullmatch(r"3Dircadb1\.(\d+)", folder)
    patient = f"ircadb-{int(number[1]):02d}" if number else f"ircadb-{folder}"
    return CaseFiles("ircadb", patient, folder, image, mask, _read_ircadb)


def _read_ircadb(files: CaseFiles) -> Case:
    """Read a patient; tumours count as liver, whether or not the liver's mask holds them."""
    image, affine, repairs = stack_dicom(read_dicom_slices(files.image))
    provenance = {**files.provenance, "repairs": repairs}
    mask = None
    if files.mask:
        structures = {file.parent.name: file.parent for file in list_files(files.mask)}
        provenance["structures"] = sorted(structures)
        mask = np.zeros_like(image, np.uint8)
        for name, label in _liver_and_tumors(structures).items():
            structure, structure_affine = read_dicom_mask(structures[name])
            check_same_grid(
                structures[name], image.shape, affine, structure.shape, structure_affine
            )
            np.copyto(mask, label, where=structure.view(bool))
    return Case(files.patient, files.volume, image, mask, affine, provenance=provenance)


def _liver_and_tumors(structures: Iterable[str]) -> dict[str, int]:
    """Return the label of each structure that is one, tumours last, so that they lie on top."""
    livers = {name: LIVER for name in structures if name.lower() == "liver"}
    tumors = {name: TUMOR for name in structures if re.fullmatch(TUMOR_NAMES, name.lower())}
    return {**livers, **tumors}
