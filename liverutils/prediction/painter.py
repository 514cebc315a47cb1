"""From a store's pictures back to the voxels of the scan."""

import numpy as np
import torch
from torch import Tensor

from liverutils.scans import TUMOR, VIEW_AXES, View, as_picture
from liverutils.slices import Resampler


class Painter:
    """Interpolates the probabilities of slices to a scan's grid and paints the labels there.

    Attributes:
        labels: (X, Y, Z) uint8, RAS; zero until painted.
        probabilities: (X, Y, Z, 2) uint8, 255 for certain: liver, tumour included, and tumour;
            None where they are not kept.
    """

    def __init__(
        self, resampler: Resampler, view: View, shape: tuple[int, ...], keep: bool = False
    ) -> None:
        """Start with an empty volume of `shape`; `keep` keeps the probabilities too."""
        self._rows, self._columns = resampler.back()
        self._axis = VIEW_AXES[view]
        # In the order in which NIfTI stores voxels, so that an axial slice is one piece of memory.
        self.labels = np.zeros(shape, np.uint8, order="F")
        self.probabilities = np.zeros((*shape, 2), np.uint8, order="F") if keep else None

    def paint(self, first: int, probabilities: Tensor) -> None:
        """Paint the slices from `first` on; `probabilities` (B, classes, size, size), anywhere."""
        if self.probabilities is not None:
            self._keep(self.probabilities, first, probabilities)
        found = (probabilities[:, 1:].amax(1) > probabilities[:, 0]).cpu().numpy()
        if found.any():
            self._paint_box(first, probabilities, found)

    def _paint_box(self, first: int, probabilities: Tensor, found: np.ndarray) -> None:
        """Interpolate only the box that holds all but background: around it all is background."""
        rows, from_rows = _box(np.asarray(found.any((0, 2))), self._rows)
        columns, from_columns = _box(np.asarray(found.any((0, 1))), self._columns)
        scan = _interpolate(
            self._rows[rows, from_rows],
            probabilities[..., from_rows, from_columns],
            self._columns[columns, from_columns],
        )
        planes = np.moveaxis(self.labels, self._axis, 0)[first:]
        for plane, picture in zip(planes, likeliest(scan).cpu().numpy(), strict=False):
            as_picture(plane)[rows, columns] = picture

    def _keep(self, kept: np.ndarray, first: int, probabilities: Tensor) -> None:
        planes = np.moveaxis(kept, self._axis, 0)[first:]
        for plane, picture in zip(planes, probabilities, strict=False):
            scan = _interpolate(self._rows, picture, self._columns).cpu().numpy()
            as_picture(plane[..., 0])[:] = np.rint(255 * (1 - scan[0]))
            as_picture(plane[..., 1])[:] = np.rint(255 * scan[TUMOR])


def _interpolate(rows: np.ndarray, pictures: Tensor, columns: np.ndarray) -> Tensor:
    from_rows, from_columns = (torch.from_numpy(m).to(pictures.device) for m in (rows, columns))
    return from_rows @ pictures @ from_columns.T


def likeliest(scores: Tensor) -> Tensor:
    """Argmax over the classes of (B, classes, …), uint8; torch's own is slow for so few classes."""
    highest, labels = scores[:, 0], torch.zeros_like(scores[:, 0], dtype=torch.uint8)
    for label in range(1, scores.shape[1]):
        labels.masked_fill_(scores[:, label] > highest, label)
        highest = torch.maximum(highest, scores[:, label])
    return labels


def _box(found: np.ndarray, weights: np.ndarray) -> tuple[slice, slice]:
    """Rows of the scan that read any row `found` of the store, and all store rows they read."""
    first, last = np.flatnonzero(found)[[0, -1]]
    reading = np.flatnonzero(weights[:, first : last + 1].any(1))
    scan = slice(reading[0], reading[-1] + 1) if len(reading) else slice(0)
    return scan, slice(max(first - 1, 0), last + 2)
