"""The simplest network that labels every pixel: convolve, pool, enlarge."""

from torch import Tensor, nn
from torch.nn import functional as F


class SimpleCNN(nn.Module):
    """Three times convolve and pool, convolve once more, and logits for squares of 8×8 pixels.

    The coarse logits are enlarged bilinearly to the size of the images, which may be any of at
    least 8 pixels a side. Nothing else brings back where an edge was.

    Args:
        in_channels: Slices per input.
        classes: Channels of the output.
        width: Channels of the first convolution; each pooling is followed by twice as many.
    """

    def __init__(self, in_channels: int = 1, classes: int = 3, width: int = 16) -> None:
        super().__init__()
        widths = [in_channels, width, 2 * width, 4 * width]
        layers = []
        for n_in, n_out in zip(widths, widths[1:], strict=False):
            layers += [*_convolve(n_in, n_out), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, *_convolve(4 * width, 4 * width))
        self.head = nn.Conv2d(4 * width, classes, 1)

    def coarse(self, images: Tensor) -> Tensor:
        """Map images (B, in_channels, H, W) to logits (B, classes, H // 8, W // 8)."""
        return self.head(self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, in_channels, H, W) to logits (B, classes, H, W)."""
        return F.interpolate(self.coarse(images), images.shape[-2:], mode="bilinear")


def _convolve(n_in: int, n_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    ]
