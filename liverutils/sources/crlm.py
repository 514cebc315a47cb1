"""Colorectal-Liver-Metastases (TCIA): a CT series per patient, and its masks as DICOM SEG.

As https://doi.org/10.7937/QXK2-QG03 describes it, the SEG has the segments Liver, Liver Remnant,
Hepatic, Portal and Tumor_1, Tumor_2, …; it covers the slices with liver only. Some series hold
several phases (so says the reader in constantinpape/torch-em), of which the SEG refers to one.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pydicom

from liverutils.errors import BadInput
from liverutils.scans import (
    Case,
    case_from_dicom,
    list_deep,
    open_file,
    read_dicom_seg,
    slices_drawn_on,
)
from liverutils.sources.files import CaseFiles, left_over


def find_crlm(raw: Path) -> list[CaseFiles]:
    """List the patients, `CRLM-CT-NNNN`, with the folders of their CT and of its SEG."""
    folders = defaultdict(list)
    for file in list_deep(raw):
        if any(part.startswith("CRLM-CT-") for part in file.parts):
            folders[file.parent].append(file)
    places: dict[str, dict[str, Path]] = defaultdict(dict)
    for folder, files in sorted(folders.items()):
        patient = next(part for part in folder.parts if part.startswith("CRLM-CT-"))
        modality = _modality(files[0])
        if modality in ("CT", "SEG"):
            if modality in places[patient]:
                raise BadInput(
                    f"{folder} and {places[patient][modality]} are both the {modality} of"
                    f" {patient}; take one away.",
                    fault="duplicate_cases",
                )
            places[patient][modality] = files[0] if modality == "SEG" else folder
    return [
        CaseFiles("crlm", patient, patient, found["CT"], found.get("SEG"), _read)
        if "CT" in found
        else left_over("crlm", found["SEG"], f"is the DICOM SEG of {patient}, whose CT is missing")
        for patient, found in sorted(places.items())
    ]


def _modality(file: Path) -> str:
    with open_file(file) as stream:
        try:
            return str(pydicom.dcmread(stream, specific_tags=["Modality"]).get("Modality", ""))
        except pydicom.errors.InvalidDicomError:
            return ""


def _read(files: CaseFiles) -> Case:
    case = case_from_dicom(
        files.image,
        patient=files.patient,
        volume=files.volume,
        provenance=files.provenance,
        drawn_on=slices_drawn_on(files.mask) if files.mask else None,
    )
    if files.mask is None:
        return case
    return replace(case, mask=read_dicom_seg(files.mask, case.image.shape, case.affine))
