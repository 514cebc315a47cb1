"""Cut one scan into the pictures of a store."""

import numpy as np
import pandas as pd

from liverutils.scans import LIVER, TUMOR, VIEW_AXES, Case, View, take_plane
from liverutils.slices.resampling import Resampler, lies_backwards

AIR = {"HU": -1024, "grey": 0}


def cut_case(case: Case, view: View, size: int) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Cut a labelled case into the store's pictures.

    Returns:
        images (N, size, size) int16 by area averaging; masks (N, size, size) uint8, each pixel
        the label that covers most of it; the table of the N slices.
    """
    axis = VIEW_AXES[view]
    n_slices = case.image.shape[axis]
    resampler = Resampler.for_scan(case.image.shape, case.spacing, view, size)
    images = np.empty((n_slices, size, size), np.int16)
    masks = np.zeros((n_slices, size, size), np.uint8)
    labels = np.moveaxis(case.labels, axis, 0).max((1, 2)).astype(np.int64)
    pixels = np.zeros((2, n_slices), np.int64)
    for index in range(n_slices):
        images[index] = cut_picture(resampler, case, view, index)
        if labels[index] >= LIVER:
            truth = take_plane(case.labels, view, index)
            masks[index] = _cut_labels(resampler, truth, labels[index] == TUMOR)
            pixels[:, index] = [np.count_nonzero(masks[index] >= label) for label in (LIVER, TUMOR)]
    known = case.spacing_known
    table = pd.DataFrame(
        {
            "patient": case.patient,
            "volume": case.volume,
            "view": view,
            "index": np.arange(n_slices),
            "position_mm": _positions(case, axis) if known else np.nan,
            "spacing": resampler.store_pixel if known else np.nan,
            "liver_px": pixels[0],
            "tumor_px": pixels[1],
            "label": labels,
        }
    )
    return images, masks, table


def _cut_labels(resampler: Resampler, truth: np.ndarray, has_tumor: bool) -> np.ndarray:
    """Return labels (size, size): liver where it covers half, tumour where it is half of that."""
    if resampler.block == 1:
        return truth
    if backwards := resampler.block and lies_backwards(truth):
        return _cut_labels(resampler, truth[backwards], has_tumor)[backwards]
    liver = resampler.average(truth >= LIVER)
    labels = (liver >= 0.5).astype(np.uint8)
    if has_tumor:
        labels[(labels == LIVER) & (resampler.average(truth == TUMOR) >= liver / 2)] = TUMOR
    return labels


def cut_picture(resampler: Resampler, case: Case, view: View, index: int) -> np.ndarray:
    """Return slice `index` of a scan as the store keeps it, (size, size) int16."""
    picture = take_plane(case.image, view, index)
    if resampler.block == 1:
        return picture
    return np.rint(resampler.average(picture, beyond=AIR[case.intensity])).astype(np.int16)


def _positions(case: Case, axis: int) -> np.ndarray:
    """Patient coordinate of each slice's centre along `axis`, mm."""
    centre = np.repeat((np.array(case.image.shape)[None] - 1) / 2, case.image.shape[axis], axis=0)
    centre[:, axis] = np.arange(case.image.shape[axis])
    return (centre @ case.affine[:3, :3].T + case.affine[:3, 3])[:, axis]
