"""U-Net: an encoder that sees far, a decoder that sees sharp, and bridges between them."""

import torch
from torch import Tensor, nn


class DoubleConv(nn.Sequential):
    """Two 3×3 convolutions that keep the size, each with batch normalisation and ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        )


class Up(nn.Module):
    """Double the size, join the encoder's features of that size, convolve."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(n_in, n_out, 2, stride=2)
        self.conv = DoubleConv(2 * n_out, n_out)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Map deep (B, n_in, H, W) and skip (B, n_out, 2H, 2W) to (B, n_out, 2H, 2W)."""
        return self.conv(torch.cat([skip, self.up(deep)], dim=1))


class UNet(nn.Module):
    """U-Net of Ronneberger, Fischer and Brox, https://arxiv.org/abs/1505.04597.

    It differs from the paper in three ways that are common today: padded convolutions, so that
    the output has the input's size; batch normalisation; and `width` channels at the top, 64 in
    the paper.

    Args:
        in_channels: Slices per input.
        classes: Channels of the output, as logits.
        width: Channels at full size; they double with each of the levels.
        depth: How often the size is halved. H and W must be multiples of 2**depth.
    """

    def __init__(
        self, in_channels: int = 1, classes: int = 3, width: int = 32, depth: int = 4
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.stem = DoubleConv(in_channels, width)
        self.down = nn.ModuleList(DoubleConv(n, 2 * n) for n in widths[:-1])
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(Up(2 * n, n) for n in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, in_channels, H, W) to logits (B, classes, H, W)."""
        return self.decode(*self.encode(images))

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the features of each level, from full size down to the bottom."""
        features = [self.stem(images)]
        for down in self.down:
            features.append(down(self.pool(features[-1])))
        return features

    def decode(self, *features: Tensor) -> Tensor:
        """Map the features of each level to logits."""
        *skips, deep = features
        for up in self.up:
            deep = up(deep, skips.pop())
        return self.head(deep)
