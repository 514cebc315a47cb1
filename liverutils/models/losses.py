"""Losses for segmentation into background, liver and tumour."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liverutils.errors import BadInput
from liverutils.scans import TUMOR


class BatchDice(nn.Module):
    """Soft Dice loss over all classes but the background, each taken over the whole batch.

    With p the probabilities of a class and t its true pixels, the loss is the mean over the classes
    of 1 − 2 Σpt / (Σp + Σt). A class that the batch does not show would cost the same however much
    of it is drawn, and nothing could be learned from it. It costs Σp / (Σp + s) instead, the more,
    the more is drawn.

    Args:
        smooth: s, pixels: so much drawn of an absent class costs half of what can be lost.
    """

    def __init__(self, smooth: float = 100.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (B, classes, H, W) and target (B, H, W) int64 to a number from 0 to 1."""
        probabilities = logits.float().softmax(1)
        losses = []
        for label in range(1, logits.shape[1]):
            drawn, true = probabilities[:, label], target == label
            absent = self.smooth * ~true.any()
            both, either = (drawn * true).sum(), drawn.sum() + true.sum()
            losses.append(1 - (2 * both + absent) / (either + absent))
        return torch.stack(losses).mean()


class DiceCrossEntropy(nn.Module):
    """Cross-entropy over all classes plus soft Dice loss over the classes but the background.

    Cross-entropy gives every pixel a gradient; Dice makes a small tumour count as much as a large
    liver. The Dice of a class is taken over the whole batch, since most slices hold no tumour.
    Milletari et al., https://arxiv.org/abs/1606.04797.

    Args:
        classes: Number of classes; each pixel has exactly one, so liver means liver without tumour.
    """

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.cross_entropy = nn.CrossEntropyLoss()
        self.dice = BatchDice()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (B, classes, H, W) and target (B, H, W) int64 to a number."""
        logits = logits.float()
        return self.cross_entropy(logits, target) + self.dice(logits, target)


class TwoTasks(nn.Module):
    """A segmentation loss plus `weight` times the cross-entropy of "tumour in this slice".

    Args:
        segmentation: Maps logits (B, C, H, W) and masks (B, H, W) to a number.
        weight: Of the second task; 0 leaves the segmentation alone.
    """

    def __init__(self, segmentation: nn.Module, weight: float) -> None:
        super().__init__()
        self.segmentation, self.weight = segmentation, weight

    def forward(self, outputs: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
        """Map outputs (B, C, H, W), (B,) and targets (B, H, W), (B,) labels 0…2 to a number."""
        (logits, tumor_logits), (masks, labels) = outputs, targets
        tumor = (labels == TUMOR).float()
        detection = F.binary_cross_entropy_with_logits(tumor_logits.float(), tumor)
        return self.segmentation(logits, masks) + self.weight * detection


def build_loss(name: str, classes: int = 3) -> nn.Module:
    """Return "cross_entropy" or "dice_cross_entropy" for logits of `classes` channels."""
    if name == "cross_entropy":
        return nn.CrossEntropyLoss()
    if name == "dice_cross_entropy":
        return DiceCrossEntropy(classes)
    raise BadInput(f"There is no loss {name!r}: use 'cross_entropy' or 'dice_cross_entropy'.")
