"""LiTS-PNG: slices as pictures."""

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from liverutils.errors import BadInput
from liverutils.scans import LIVER, TUMOR, Case, check_case, list_deep, read_files
from liverutils.sources.files import CaseFiles
from liverutils.sources.lits import lits_patient

# Names of the PNG files of a LiTS volume, without the slice: the pictures and the two masks.
PNG_KINDS = ("volume-{}", "segmentation-{}_livermask", "segmentation-{}_lesionmask")


def find_lits_png(raw: Path) -> list[CaseFiles]:
    """List the volumes with the slices and masks they have, which are too many to list twice."""
    places: dict[int, Path] = {}
    numbers: defaultdict[int, dict[str, list[int]]] = defaultdict(
        lambda: {kind: [] for kind in PNG_KINDS}
    )
    for file in list_deep(raw):
        if match := re.fullmatch(
            r"(volume|segmentation)-(\d+)(_[a-z]+mask)?_(\d+)\.png", file.name
        ):
            volume, kind = int(match[2]), match[1] + "-{}" + (match[3] or "")
            numbers[volume].setdefault(kind, []).append(int(match[4]))
            if match[1] == "volume":
                places[volume] = file.parent
    return [
        CaseFiles(
            "lits-png",
            lits_patient(volume),
            f"volume-{volume}",
            places[volume],
            _png_masks(places[volume]),
            partial(
                _read_lits_png,
                numbers={kind: sorted(found) for kind, found in numbers[volume].items()},
            ),
        )
        for volume in sorted(places)
    ]


def _png_masks(images: Path) -> Path:
    """Return where the masks lie: beside the folder `volumes`, or all in one folder."""
    return images.with_name("segmentations") if images.name == "volumes" else images


def _read_lits_png(files: CaseFiles, numbers: dict[str, list[int]]) -> Case:
    """Read the slices of one volume, given the numbers of those that there are of each kind.

    The spine is at the top of these pictures and the liver on their right: columns grow to the
    patient's right and rows to the front, as RAS has it, and slices are counted towards the head.
    """
    volume = files.volume.removeprefix("volume-")
    indices = numbers[PNG_KINDS[0]]
    _check_numbers(files.image / files.volume, indices)
    paths: list[Path] = []
    masks = files.mask or _png_masks(files.image)
    for kind, place in zip(PNG_KINDS, (files.image, masks, masks), strict=True):
        name = kind.format(volume)
        if numbers[kind] != indices:
            raise BadInput(
                f"{place} has {len(numbers[kind])} files {name} for {len(indices)} slices;"
                " download it again.",
                fault="different_grids",
            )
        paths += [place / f"{name}_{index}.png" for index in indices]
    pictures = read_pictures(paths[: len(indices)], np.int16)
    livers, lesions = np.split(read_pictures(paths[len(indices) :]), 2)
    if livers.shape != pictures.shape:
        raise BadInput(
            f"The masks of {files.image} ({files.volume}) have {livers.shape[1:]} pixels and its"
            f" slices {pictures.shape[1:]}; download them again.",
            fault="different_grids",
        )
    mask = (livers != 0) * np.uint8(LIVER)
    np.copyto(mask, TUMOR, where=lesions != 0)
    case = Case(
        files.patient,
        files.volume,
        pictures.T,
        mask.T,
        np.eye(4),
        spacing_known=False,
        intensity="grey",
        provenance=files.provenance,
    )
    check_case(case, f"{files.image} ({files.volume})")
    return case


def _check_numbers(place: Path, numbers: Sequence[int]) -> None:
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing:
        raise BadInput(
            f"{place} lacks slice {missing[0]}; download it again.", fault="missing_slices"
        )


def read_pictures(paths: Sequence[Path], dtype: type = np.uint8) -> np.ndarray:
    """Read 8-bit pictures of one size, grey or RGB with equal channels, as (N, rows, columns)."""
    stack: np.ndarray = np.empty((len(paths), 0, 0), dtype)
    for index, (path, content) in enumerate(read_files(paths)):
        picture = _decode(path, content)
        if index == 0:
            stack = np.empty((len(paths), *picture.shape), dtype)
        if picture.shape != stack.shape[1:]:
            raise BadInput(
                f"{path} has {picture.shape} pixels and the first slice {stack.shape[1:]}; use"
                " slices of one size.",
                fault="different_grids",
            )
        stack[index] = picture
    return stack


def _decode(path: Path, content: bytes) -> np.ndarray:
    try:
        picture = np.asarray(Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError) as error:  # what Pillow raises for broken pictures
        raise BadInput(
            f"{path} is no complete picture; copy or download it again.", fault="unreadable_pixels"
        ) from error
    return picture if picture.ndim == 2 else picture[..., 0]
