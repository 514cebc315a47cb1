"""Between the pictures of a scan's own grid and the square ones of a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from liverutils.scans import VIEW_AXES, View


@dataclass(frozen=True)
class Resampler:
    """Between a view's picture on the scan's grid and the store's square picture.

    Both pictures share their centre. The store's picture covers the longer side of the scan's,
    in mm, so its pixels are square and nothing is cut off; what lies beyond the scan is air.

    Attributes:
        shape: (rows, columns) of the scan's picture.
        pixel: (row, column) size of its pixels in mm, or in pixels where the spacing is unknown.
        size: Side of the store's picture in pixels.
    """

    shape: tuple[int, int]
    pixel: tuple[float, float]
    size: int

    @classmethod
    def for_scan(
        cls, shape: Sequence[int], spacing: Sequence[float], view: View, size: int
    ) -> "Resampler":
        """Return the resampler for one view of a scan of `shape` voxels of `spacing` mm."""
        column_axis, row_axis = (axis for axis in range(3) if axis != VIEW_AXES[view])
        return cls(
            (shape[row_axis], shape[column_axis]), (spacing[row_axis], spacing[column_axis]), size
        )

    @property
    def store_pixel(self) -> float:
        """Side of a store pixel in mm."""
        return max(n * mm for n, mm in zip(self.shape, self.pixel, strict=True)) / self.size

    @cached_property
    def shares(self) -> tuple[csr_array, csr_array]:
        """The matrices R, C with store = R @ picture @ C.T: shares of each store pixel."""
        rows, columns = (
            _overlap_shares(n, mm, self.size, self.store_pixel)
            for n, mm in zip(self.shape, self.pixel, strict=True)
        )
        return rows, columns

    def average(self, picture: np.ndarray, beyond: float = 0) -> np.ndarray:
        """Average a picture of the scan over the store's pixels.

        Args:
            picture: (rows, columns), any numbers.
            beyond: What lies outside the scan.

        Returns:
            (size, size) float32.
        """
        if self.block:
            return _average_blocks(picture, self.block)
        rows, columns = self.shares
        # Both products want C order; `order="C"` undoes the flips and the transpose of the view.
        halfway = rows @ picture.astype(np.float32, order="C")
        averaged = (columns @ np.ascontiguousarray(halfway.T)).T
        return averaged + np.float32(beyond) * self._outside if beyond else averaged

    @cached_property
    def block(self) -> int | None:
        """Side of the block of the scan's pixels that each store pixel is, where it is one."""
        block = self.shape[0] // self.size
        is_block = self.shape == (block * self.size,) * 2 and np.isclose(*self.pixel, rtol=1e-6)
        return block if is_block else None

    @cached_property
    def _outside(self) -> np.ndarray:
        """Share of each store pixel that lies beyond the scan."""
        rows, columns = self.shares
        return 1 - np.outer(rows.sum(1), columns.sum(1))

    def back(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrices R, C with scan's picture = R @ store's @ C.T, linear in between."""
        rows, columns = (
            _linear_weights(n, mm, self.size, self.store_pixel)
            for n, mm in zip(self.shape, self.pixel, strict=True)
        )
        return rows, columns


def _overlap_shares(n_in: int, mm_in: float, n_out: int, mm_out: float) -> csr_array:
    """Share of output pixel i that input pixel j covers, both rows of pixels centred on 0."""
    edges_in = (np.arange(n_in + 1) - n_in / 2) * mm_in
    edges_out = (np.arange(n_out + 1) - n_out / 2) * mm_out
    overlap = np.minimum(edges_out[1:, None], edges_in[None, 1:]) - np.maximum(
        edges_out[:-1, None], edges_in[None, :-1]
    )
    shares = np.clip(overlap / mm_out, 0, None)
    shares[shares < 1e-6] = 0
    return csr_array(shares.astype(np.float32))


def _average_blocks(picture: np.ndarray, block: int) -> np.ndarray:
    """Average squares of `block` pixels; several times as fast as products with sparse matrices."""
    if backwards := lies_backwards(picture):
        return _average_blocks(picture[backwards], block)[backwards]
    # A block's pixels are counted in fewer bytes than they are averaged in.
    rows: np.ndarray = picture[::block].astype(np.uint16 if picture.dtype == bool else np.float32)
    for row in range(1, block):
        rows += picture[row::block]
    squares = rows[:, ::block].copy()
    for column in range(1, block):
        squares += rows[:, column::block]
    return squares / np.float32(block**2)


def lies_backwards(picture: np.ndarray) -> tuple[slice, slice] | None:
    """Return the index that turns a picture around where it lies backwards in memory.

    Backwards, numpy adds at half its speed, and compares at a tenth.
    """
    if min(picture.strides) > 0:
        return None
    rows, columns = (slice(None, None, -1 if step < 0 else 1) for step in picture.strides)
    return rows, columns


def _linear_weights(n_out: int, mm_out: float, n_in: int, mm_in: float) -> np.ndarray:
    """Weights (n_out, n_in) that read a row of pixels at other centres, both centred on 0."""
    centres = ((np.arange(n_out) + 0.5 - n_out / 2) * mm_out) / mm_in + n_in / 2 - 0.5
    distance = np.abs(np.clip(centres, 0, n_in - 1)[:, None] - np.arange(n_in)[None, :])
    return np.clip(1 - distance, 0, None).astype(np.float32)
