"""Overlap of two masks from counts of voxels, and the one rule for empty masks."""

import torch

from liverutils.scoring.names import DISTANCES, MONAI_NAMES, OVERLAPS


def empty_mask_rule(
    name: str, score: torch.Tensor, predicted_voxels: torch.Tensor, true_voxels: torch.Tensor
) -> torch.Tensor:
    """Replace a score where a mask is empty: the project's only rule for empty masks.

    | empty | Dice, IoU, precision, recall, surface Dice | ASSD, HD95 |
    |---|---|---|
    | neither mask | as computed | as computed |
    | both masks: rightly nothing found | 1 | 0 mm |
    | one mask: all missed, or all invented | 0 | infinite |

    Pixel accuracy and relative volume difference need no rule and are left alone. No patient is
    dropped; how many scores the rule decided is counted beside them (`empty` in `score_patient`,
    `both_empty`, `one_empty` and `infinite` in `summarise`), since a cohort of tumour-free
    patients would otherwise look like a solved task.

    Args:
        name: One of `SCORES`.
        score: Any shape; its values where a mask is empty do not matter.
        predicted_voxels: Voxels in the predicted mask, same shape as `score`.
        true_voxels: Voxels in the true mask, same shape.
    """
    if name not in OVERLAPS + DISTANCES:
        return score
    both, one = (1.0, 0.0) if name in OVERLAPS else (0.0, float("inf"))
    predicted_empty, true_empty = predicted_voxels == 0, true_voxels == 0
    score = torch.where(predicted_empty ^ true_empty, one, score)
    return torch.where(predicted_empty & true_empty, both, score)


def overlap_scores(counts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Turn voxel counts into Dice, IoU, precision, recall and pixel accuracy, with MONAI.

    Args:
        counts: float (N, 4): true positives, false positives, true negatives, false negatives.

    Returns:
        Score name → (N,), with `empty_mask_rule`. The pixel accuracy of an empty mask is what it
        is, near 1 for a small structure: that is its weakness.
    """
    from monai.metrics import compute_confusion_matrix_metric

    voxels = mask_voxels(counts)
    return {
        name: empty_mask_rule(name, compute_confusion_matrix_metric(monai_name, counts), *voxels)
        for name, monai_name in MONAI_NAMES.items()
    }


def mask_voxels(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the voxels of the predicted and of the true mask, (N,) each, of counts (N, 4)."""
    return counts[:, 0] + counts[:, 1], counts[:, 0] + counts[:, 3]


def relative_difference(predicted_voxels: torch.Tensor, true_voxels: torch.Tensor) -> torch.Tensor:
    """Predicted volume less the true one, over the true one; 0 where both are empty."""
    difference = predicted_voxels - true_voxels
    return torch.where(difference == 0, 0.0, difference / true_voxels)


def counts_of_class(confusion: torch.Tensor, label: int) -> torch.Tensor:
    """Reduce confusion (N, C, C) to counts (N, 4) of `label` and above; of 0 against the rest."""
    if label == 0:
        return counts_of_class(confusion, 1)[:, [2, 3, 0, 1]]
    below, above = slice(None, label), slice(label, None)
    cells = ((above, above), (below, above), (below, below), (above, below))
    return torch.stack([confusion[:, true, pred].sum((1, 2)) for true, pred in cells], dim=1)
