"""Random changes of pictures and masks, on the device, by the batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from liverutils.slices.warp import Warp

PIECE = 2**16  # numbers, at least, of a batch that are augmented together on a CPU


@dataclass(frozen=True)
class Augment:
    """Random changes of a training batch, drawn anew for each slice, on the batch's device.

    Attributes:
        rotate: Largest rotation, degrees.
        scale: Largest relative change of size.
        shift: Largest shift, as a share of the picture's side.
        flip: Probability of exchanging left and right. (The liver then lies on the wrong side.)
        brightness: Largest change of brightness, as a share of the window.
        contrast: Largest relative change of contrast.
        noise: Largest standard deviation of added noise, as a share of the window.
    """

    rotate: float = 15.0
    scale: float = 0.15
    shift: float = 0.05
    flip: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.15
    noise: float = 0.05

    @property
    def reach(self) -> float:
        """Side of the square that a picture's changed pixels come from, as a share of its own."""
        angle = np.deg2rad(min(self.rotate, 45))
        return (np.cos(angle) + np.sin(angle)) * (1 + self.scale) + 2 * self.shift

    def __call__(
        self, images: Tensor, masks: Tensor, size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Change images (B, C, H, W) linearly interpolated, masks (B, H, W) nearest, alike.

        With `size` the changed pictures are the middle of these: `size` pixels a side, whose
        surroundings turn and shift into them.
        """
        transforms, draws = self._transforms(images), uniform(images, 3)
        if size:
            transforms = transforms * (size / images.shape[-1])
        shape = (size, size) if size else images.shape[2:]
        changed, moved = (
            images.new_empty(*images.shape[:2], *shape),
            masks.new_empty(len(masks), *shape),
        )
        for some in _pieces(changed):
            warp = Warp(transforms[some], shape)
            changed[some] = warp.pictures(images[some])
            self._change_values(changed[some], draws[:, some])
            moved[some] = warp.labels(masks[some])
        return changed, moved

    def _transforms(self, images: Tensor) -> Tensor:
        """One random 2×3 matrix per image, from output to input coordinates."""
        angle, zoom, right, down, mirror = uniform(images, 5)
        angle = angle * np.pi * self.rotate / 180
        zoom = 1 + self.scale * zoom
        mirrored = torch.where((mirror + 1) / 2 < self.flip, -1.0, 1.0)
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        rows = [cos * mirrored, -sin, self.shift * 2 * right, sin * mirrored, cos]
        return torch.stack([*rows, self.shift * 2 * down], dim=1).view(-1, 2, 3)

    def _change_values(self, images: Tensor, draws: Tensor) -> None:
        gain, offset, noise = draws.view(3, -1, 1, 1, 1)
        images.mul_(1 + self.contrast * gain).add_(2 * self.brightness * offset)
        images.add_(torch.randn_like(images).mul_(self.noise * (noise + 1))).clamp_(-1, 1)


def _pieces(images: Tensor) -> list[slice]:
    """Parts of a batch: what lies in a processor's cache is changed faster than what does not."""
    length = len(images)
    if images.device.type == "cpu":
        length = max(torch.get_num_threads(), PIECE // images[0].numel())
    return [slice(first, first + length) for first in range(0, len(images), length)]


def uniform(images: Tensor, n: int) -> Tensor:
    """`n` rows of one number in -1…1 per image."""
    return torch.rand(n, len(images), device=images.device) * 2 - 1
