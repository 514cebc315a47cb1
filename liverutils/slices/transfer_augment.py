"""Augmentation for networks that leave home: other scanners, other resolutions, other settings."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from liverutils.slices.augment import Augment, uniform


@dataclass(frozen=True)
class TransferAugment(Augment):
    """Stronger changes than `Augment`'s, and those that tell one scanner from another.

    Attributes:
        gamma: Largest exponent of the grey scale, as a logarithm.
        sharpness: Up to how much of a blurred picture's difference is added, or taken away.
        coarse: Share of the pictures that lose half their resolution.
        shading: Largest brightening or darkening that varies slowly, as a share of the window.
    """

    rotate: float = 20.0
    scale: float = 0.3
    shift: float = 0.12
    brightness: float = 0.12
    contrast: float = 0.3
    noise: float = 0.08
    gamma: float = 0.4
    sharpness: float = 1.0
    coarse: float = 0.25
    shading: float = 0.1

    def _change_values(self, images: Tensor, draws: Tensor) -> None:
        gamma, sharpness, coarse = uniform(images, 3).view(3, -1, 1, 1, 1)
        blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        images.add_((images - blurred).mul_(self.sharpness * sharpness))
        half = F.interpolate(F.avg_pool2d(images, 2), size=images.shape[-2:], mode="bilinear")
        images.copy_(torch.where((coarse + 1) / 2 < self.coarse, half, images))
        images.clamp_(-1, 1).add_(1).mul_(0.5).pow_(torch.exp(self.gamma * gamma))
        images.mul_(2).sub_(1)
        knots = torch.randn(len(images), 1, 4, 4, device=images.device)
        slow = F.interpolate(knots, size=images.shape[-2:], mode="bicubic", align_corners=True)
        images.add_(slow.mul_(self.shading))
        super()._change_values(images, draws)
