"""ResUNet: a U-Net whose brick is the residual unit."""

import torch
from torch import Tensor, nn


def pre_activated(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    """Batch normalisation and ReLU, then a 3×3 convolution: the order in which gradients flow."""
    return nn.Sequential(
        nn.BatchNorm2d(n_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
    )


class ResidualUnit(nn.Module):
    """Two pre-activated convolutions, and a shortcut past both that adds the input again.

    The shortcut is a 1×1 convolution with batch normalisation, which gives the input the output's
    channels and size. The first convolution may be another one than usual, or halve the size.
    """

    def __init__(
        self, n_in: int, n_out: int, stride: int = 1, first: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            first or pre_activated(n_in, n_out, stride), pre_activated(n_out, n_out)
        )
        self.stride = stride
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""
        # Pixels are left out before the 1×1 convolution: one with a stride is the same, and PyTorch
        # 2.12 crashes in it (backward on a CPU, float32, channels last, under 16 channels).
        return self.residual(x) + self.shortcut(x[..., :: self.stride, :: self.stride])


class ResUNet(nn.Module):
    """ResUNet of Zhang, Liu and Wang, https://arxiv.org/abs/1711.10684.

    Nothing is pooled: the first convolution of a unit takes steps of two pixels. The way up doubles
    the size by repeating pixels. The paper has `width` 64, `depth` 3 and one class with a sigmoid;
    here the output is one logit per class.

    Args:
        in_channels: Slices per input.
        classes: Channels of the output, as logits.
        width: Channels at full size; they double with each of the levels.
        depth: How often the size is halved. H and W must be multiples of 2**depth.
    """

    def __init__(
        self, in_channels: int = 1, classes: int = 3, width: int = 32, depth: int = 3
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        # The image is not normalised and rectified: half of its values would be lost.
        image_conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stem = ResidualUnit(in_channels, width, first=image_conv)
        self.down = nn.ModuleList(ResidualUnit(n, 2 * n, stride=2) for n in widths[:-1])
        self.enlarge = nn.Upsample(scale_factor=2)
        self.up = nn.ModuleList(ResidualUnit(3 * n, n) for n in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, in_channels, H, W) to logits (B, classes, H, W)."""
        features = [self.stem(images)]
        for down in self.down:
            features.append(down(features[-1]))
        deep = features.pop()
        for up in self.up:
            deep = up(torch.cat([features.pop(), self.enlarge(deep)], dim=1))
        return self.head(deep)
