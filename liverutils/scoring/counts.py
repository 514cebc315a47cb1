"""Counts of pixels by patient, summed up batch by batch while a network trains."""

import torch

from liverutils.errors import BadInput
from liverutils.scans import LIVER, TUMOR
from liverutils.scoring.overlaps import counts_of_class, overlap_scores


class PatientCounts:
    """Confusion counts per patient, gathered batch by batch on the device without waiting for it.

    Batches may hold slices of several patients, and a patient's slices may come in any batch.
    """

    def __init__(
        self, n_patients: int, classes: int = 3, device: torch.device | str = "cpu"
    ) -> None:
        """Start at zero for `n_patients` patients and labels 0 … `classes` − 1."""
        self.classes = classes
        self._counts = torch.zeros(n_patients, classes**2, dtype=torch.int64, device=device)

    def add(self, predicted: torch.Tensor, true: torch.Tensor, patient: torch.Tensor) -> None:
        """Count a batch.

        Args:
            predicted: Predicted labels, integers (B, H, W).
            true: True labels, uint8 (B, H, W).
            patient: Number of the patient of each slice, integers (B,).

        Raises:
            BadInput: Shapes differ, or `predicted` holds logits instead of labels.
        """
        if predicted.shape != true.shape or patient.shape != true.shape[:1]:
            raise BadInput(
                f"Predicted labels {tuple(predicted.shape)}, true labels {tuple(true.shape)} and "
                f"patients {tuple(patient.shape)} must be (B, H, W), (B, H, W) and (B,): shapes "
                "that merely broadcast would compare every slice with every other.",
                fault="wrong_shape",
            )
        if predicted.is_floating_point():
            raise BadInput(
                f"Predicted labels are {predicted.dtype}: take the argmax over classes first.",
                fault="not_labels",
            )
        # Not torch.bincount: on a GPU it waits for the largest value to reach the host.
        cells = (true * self.classes + predicted).flatten(1).long()
        one = self._counts.new_ones(()).expand_as(cells)
        slices = self._counts.new_zeros(len(cells), self.classes**2).scatter_add_(1, cells, one)
        self._counts.index_add_(0, patient.long(), slices)

    @property
    def confusion(self) -> torch.Tensor:
        """Pixels by patient, true and predicted label, int64 (patients, classes, classes)."""
        return self._counts.view(-1, self.classes, self.classes)

    def overlaps(self, label: int) -> dict[str, torch.Tensor]:
        """Return `overlap_scores` of each patient (patients,) for `label` and the labels above."""
        return overlap_scores(counts_of_class(self.confusion.double(), label))

    def scores(self) -> dict[str, float]:
        """Scores averaged over the patients seen, with `empty_mask_rule`.

        Returns:
            `{dice,iou,precision,recall}_avg_class_{c}`, where class 1 is the liver, tumour
            included, class 2 the tumour, class 0 what is not liver; and `pixel_accuracy`, the
            share of pixels with the right label.

        Raises:
            BadInput: Nothing was counted.
        """
        confusion = self.confusion[self.confusion.sum((1, 2)) > 0].cpu().double()
        if len(confusion) == 0:
            raise BadInput("No slice was scored: the data to score are empty.", fault="no_slices")
        total = confusion.sum((1, 2))
        right = confusion.diagonal(dim1=1, dim2=2).sum(1)
        averages = {
            f"{name}_avg_class_{label}": float(score.mean())
            for label in range(self.classes)
            for name, score in overlap_scores(counts_of_class(confusion, label)).items()
            if name != "pixel_accuracy"
        }
        return averages | {"pixel_accuracy": float((right / total).mean())}


def score_images(logits: torch.Tensor, masks: torch.Tensor) -> dict[str, torch.Tensor]:
    """Score each picture of a batch by itself, on the device.

    Args:
        logits: (B, 3, H, W).
        masks: True labels (B, H, W).

    Returns:
        `liver_iou` and `tumor_iou` (B,), with `empty_mask_rule`; `confidence` (B,), the mean
        probability of the predicted label over the pixels predicted as liver or tumour, or over
        the whole picture where there are none; `tumor_peak` (B,), the highest probability of
        tumour at any pixel.
    """
    probabilities = logits.float().softmax(1)
    top, labels = probabilities.max(1)
    counts = PatientCounts(len(masks), device=masks.device)
    counts.add(labels, masks, torch.arange(len(masks), device=masks.device))
    looked_at = labels >= LIVER
    looked_at |= ~looked_at.any(2, keepdim=True).any(1, keepdim=True)
    return {
        "liver_iou": counts.overlaps(LIVER)["iou"],
        "tumor_iou": counts.overlaps(TUMOR)["iou"],
        "confidence": (top * looked_at).sum((1, 2)) / looked_at.sum((1, 2)),
        "tumor_peak": probabilities[:, TUMOR].amax((1, 2)),
    }
