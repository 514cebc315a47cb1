"""A U-Net of two tasks: draw liver and tumour, and say whether the slice shows a tumour."""

from fastai.layers import AdaptiveConcatPool2d
from torch import Tensor, nn

from liverutils.models.unet import UNet


class MultiTaskUNet(UNet):
    """A U-Net with a second head on its bottom level: tumour in this slice or not.

    The head pools the bottom features over the picture, by mean and by maximum, since a small
    tumour hardly moves a mean. Dropout silences whole channels of the bottom and single inputs of
    the head.

    Args:
        in_channels: Slices per input.
        classes: Channels of the segmentation, as logits.
        width: Channels at full size; they double with each of the levels.
        depth: How often the size is halved. H and W must be multiples of 2**depth.
        dropout: Probability of silencing, while training.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 3,
        width: int = 32,
        depth: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(in_channels, classes, width, depth)
        self.dropout = nn.Dropout2d(dropout)
        self.tumor_head = nn.Sequential(
            AdaptiveConcatPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * width * 2**depth, 1),
        )

    def forward(  # type: ignore[override]  # A second answer more than the U-Net gives.
        self, images: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map images (B, in_channels, H, W) to logits (B, classes, H, W) and of a tumour (B,)."""
        *skips, deep = self.encode(images)
        deep = self.dropout(deep)
        return self.decode(*skips, deep), self.tumor_head(deep).flatten()
