"""Turn, zoom and shift pictures by a matrix."""

from torch import Tensor
from torch.nn import functional as F


class Warp:
    """A change of place, of as many pictures as there are matrices.

    Args:
        transforms: (B, 2, 3), from output to input coordinates, both from -1 to 1 across the
            picture.
        shape: Rows and columns of the output.
    """

    def __init__(self, transforms: Tensor, shape: tuple[int, ...]) -> None:
        size = [len(transforms), 1, *shape]
        self.grid = F.affine_grid(transforms, size, align_corners=False)

    def pictures(self, pictures: Tensor) -> Tensor:
        """Pictures (B, C, H, W), linearly interpolated; beyond their border they go on as there."""
        return F.grid_sample(pictures, self.grid, padding_mode="border", align_corners=False)

    def labels(self, labels: Tensor) -> Tensor:
        """Labels (B, H, W), each the nearest one, as floats; beyond the border they are 0."""
        channel = labels[:, None].to(self.grid.dtype)
        return F.grid_sample(channel, self.grid, mode="nearest", align_corners=False)[:, 0]
