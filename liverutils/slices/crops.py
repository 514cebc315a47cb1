"""A scan cropped to a box around its liver, and labels put back where they belong.

Apart from `cascade.py`, so that the processes that cut a store need not load the networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import ndimage

from liverutils.scans import Case
from liverutils.sources import CaseFiles

Box = tuple[slice, slice, slice]


MARGIN_MM = 10.0


def liver_box(mask: np.ndarray, spacing: Sequence[float], margin_mm: float = MARGIN_MM) -> Box:
    """Return the box around a mask, wider by a margin on every side, cut off at the scan's border.

    An empty mask gives the box of the whole scan: who has not found the liver looks everywhere.

    Args:
        mask: (X, Y, Z), bool or labels; all but 0 counts.
        spacing: Voxel size along x, y and z in mm.
        margin_mm: In mm, rounded up to whole voxels.
    """
    boxes = ndimage.find_objects((mask > 0).view(np.uint8))
    found = boxes[0] if boxes else tuple(slice(0, n) for n in mask.shape)
    margins = np.ceil(margin_mm / np.asarray(spacing)).astype(int).tolist()
    x, y, z = (
        slice(max(side.start - margin, 0), min(side.stop + margin, n))
        for side, margin, n in zip(found, margins, mask.shape, strict=True)
    )
    return x, y, z


def crop_case(case: Case, box: Box) -> Case:
    """Return what of a case lies in the box, in its place in the patient."""
    affine = case.affine.copy()
    affine[:3, 3] += case.affine[:3, :3] @ [side.start for side in box]
    mask = None if case.mask is None else case.mask[box]
    return replace(case, image=case.image[box], mask=mask, affine=affine)


def paste(labels: np.ndarray, box: Box, shape: Sequence[int]) -> np.ndarray:
    """Undo the crop: put labels of the box into an empty volume of `shape`."""
    whole = np.zeros(shape, labels.dtype)
    whole[box] = labels
    return whole


def crop_files(files: CaseFiles, box: Box) -> CaseFiles:
    """Return case files that are cropped to the box whenever they are read.

    A scan whose box holds nothing of the labelled liver is left whole: a store needs some.
    """
    return replace(files, read=partial(_read_cropped, read=files.read, box=box))


def _read_cropped(files: CaseFiles, read: Callable[[CaseFiles], Case], box: Box) -> Case:
    case = read(files)
    cropped = crop_case(case, box)
    return cropped if cropped.mask is None or cropped.mask.any() else case
