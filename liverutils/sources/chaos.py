"""CHAOS: DICOM with masks as pictures."""

from pathlib import Path

import numpy as np

from liverutils.errors import BadInput
from liverutils.scans import (
    Case,
    check_same_grid,
    dicom_affine,
    list_deep,
    list_files,
    read_dicom_slices,
    stack_dicom,
    turn_to_ras,
)
from liverutils.sources.files import CaseFiles, by_number, left_over
from liverutils.sources.pictures import read_pictures


def find_chaos(raw: Path) -> list[CaseFiles]:
    """List the CT scans of CHAOS."""
    files = list_deep(raw)
    labelled = {file.parent.with_name("DICOM_anon") for file in files if file.suffix == ".png"}
    places = {}
    for file in files:
        if file.parent.name == "DICOM_anon" and file.parent.parent.parent.name == "CT":
            places[file.parent] = int(file.parent.parent.name)
    cases = [
        CaseFiles(
            "chaos",
            f"chaos-{number:02d}",
            f"CT-{number}",
            place,
            place.with_name("Ground") if place in labelled else None,
            _read_chaos,
        )
        for place, number in sorted(places.items(), key=lambda item: item[1])
    ]
    of_ct = {place for place in labelled if place.parent.parent.name == "CT"}
    return cases + [
        left_over("chaos", place.with_name("Ground"), "holds masks without their DICOM_anon")
        for place in sorted(of_ct - places.keys())
        if cases
    ]


def _read_chaos(files: CaseFiles) -> Case:
    """Read a series and its liver masks, which are paired in the order of their names."""
    slices = read_dicom_slices(files.image)
    names = sorted(path.name for path, _ in slices)
    order = [names.index(path.name) for path, _ in slices]
    stored_affine = dicom_affine([dataset for _, dataset in slices])
    image, affine, repairs = stack_dicom(slices)
    mask = None
    if files.mask:
        pictures = sorted(by_number(list_files(files.mask), r".*?(\d+)\.png").values())
        if len(pictures) != len(order):
            raise BadInput(
                f"{files.mask} has {len(pictures)} masks for {len(order)} slices; download it"
                " again.",
                fault="different_grids",
            )
        stack = read_pictures([pictures[index] for index in order])
        mask, mask_affine = turn_to_ras((stack != 0).view(np.uint8).T, stored_affine)
        check_same_grid(files.mask, image.shape, affine, mask.shape, mask_affine)
    provenance = {**files.provenance, "repairs": repairs}
    return Case(files.patient, files.volume, image, mask, affine, provenance=provenance)
