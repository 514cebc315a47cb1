"""What a validation epoch is scored by."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from torch import Tensor

from liverutils.scans import LIVER, TUMOR
from liverutils.scoring import (
    SLICE_CLASSES,
    PatientCounts,
    roc_area,
    score_auc,
    score_classes,
    score_images,
)


class Scorer(Callback):
    """Scores each validation.

    Attributes:
        scores: Name → score of the last validation; `loss` among them.
        selected_by: What `selection_score` is, in words.
    """

    order = 40
    scores: dict[str, float]
    selected_by: str
    _losses: list[Tensor]  # of each batch, times its slices

    def mean_loss(self) -> float:
        """Return the mean loss over the slices of the validation.

        Raises:
            FloatingPointError: The loss of a batch is not finite; the sentence names its slices.
        """
        losses = torch.stack(self._losses)
        finite = torch.isfinite(losses)
        if not finite.all():
            batch = int((~finite).int().argmax())
            rows = self.dl.dataset.slices.iloc[batch * self.dl.bs : (batch + 1) * self.dl.bs]
            raise FloatingPointError(
                f"The validation loss is {float(losses[batch])} in epoch {self.epoch}, batch "
                f"{batch} (slices {name_slices(rows)}): lower the learning rate or look at these "
                "slices; the weights of the best finished epoch are kept."
            )
        return losses.sum().item() / len(self.dl.dataset)

    @property
    def selection_score(self) -> float:
        """What the best epoch is chosen by."""
        raise NotImplementedError

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """Further tables that each epoch logs: name → columns."""
        return {}

    def log_row(self, part: str) -> dict[str, float]:
        """Return the scores under the column names of the logs; `part` is "val" or "test"."""
        return {f"{part}_{name}": value for name, value in self.scores.items()}


def name_slices(rows: pd.DataFrame) -> str:
    """Name the slices of a table's rows: the scan, and the slice in it."""
    return ", ".join(f"{s.volume}[{s['index']}]" for _, s in rows.iterrows())


class PatientScores(Scorer):
    """Score each validation by patient: pixels are counted on the device while it runs.

    Afterwards `scores` holds the means over patients that `scoring.PatientCounts` makes, the mean
    loss over slices, and `dice_present_class_{1,2}`: the Dice of liver and tumour over the patients
    who have them, NaN where none has.
    """

    selected_by = "mean of liver and tumour Dice over the validation patients who have them"

    def before_validate(self) -> None:
        """Start counting; a patient is known by the loader's table."""
        patients = self.dl.dataset.slices.patient
        self._codes = torch.as_tensor(pd.factorize(patients)[0], device=self.dls.device)
        self._counts = PatientCounts(patients.nunique(), classes=3, device=self.dls.device)
        self._losses: list[Tensor] = []

    def after_loss(self) -> None:
        """Count one batch."""
        if not self.training:
            self._count(self.pred, self.y)

    def _count(self, logits: Tensor, masks: Tensor) -> None:
        start = self.iter * self.dl.bs
        patient = self._codes[start : start + len(masks)]
        self._counts.add(logits.argmax(1), masks, patient)
        self._losses.append(self.loss * len(masks))

    def after_validate(self) -> None:
        """Average over patients."""
        loss = self.mean_loss()
        present = {
            f"dice_present_class_{label}": _dice_where_present(self._counts, label)
            for label in (LIVER, TUMOR)
        }
        self.scores = {"loss": loss} | self._counts.scores() | present

    @property
    def selection_score(self) -> float:
        """What the best epoch is chosen by: the mean of liver and tumour Dice, where present.

        With the rule for empty masks a network that draws no tumour would score 1 for each patient
        without one, and be kept for it. What no patient has, does not count.
        """
        dice = [self.scores[f"dice_present_class_{label}"] for label in (LIVER, TUMOR)]
        return float(np.mean([d for d in dice if not np.isnan(d)] or [0.0]))

    def log_row(self, part: str) -> dict[str, float]:
        """Return the scores under the column names of the logs; `part` is "val" or "test"."""
        scores = dict(self.scores)
        loss, accuracy = scores.pop("loss"), scores.pop("pixel_accuracy")
        return scores | {f"{part}_loss": loss, f"{part}_accuracy": accuracy}


def _dice_where_present(counts: PatientCounts, label: int) -> float:
    """Mean Dice of `label` and above over the patients who have it; a patient's slices pooled."""
    has = counts.confusion[:, label:].sum((1, 2)) > 0
    return float(counts.overlaps(label)["dice"][has].mean())


class ClassScores(Scorer):
    """Score each validation over its slices, which show no liver, liver, or liver with lesion.

    Afterwards `scores` holds what `scoring.score_classes` makes of them, the area under the ROC
    curve of lesion against none, the mean loss, and `majority_balanced_accuracy`: what answering
    with one class, always, would score.
    """

    selected_by = "balanced accuracy"

    def before_validate(self) -> None:
        """Start collecting."""
        self._true: list[Tensor] = []
        self._probabilities: list[Tensor] = []
        self._losses: list[Tensor] = []

    def after_loss(self) -> None:
        """Keep one batch."""
        if not self.training:
            self._true.append(self.y)
            self._probabilities.append(self.pred.float().softmax(1))
            self._losses.append(self.loss * len(self.y))

    def after_validate(self) -> None:
        """Score the slices together."""
        loss = self.mean_loss()
        true = torch.cat(self._true).cpu().numpy()
        probabilities = torch.cat(self._probabilities).cpu().numpy()
        scores = score_classes(true, probabilities)
        self._confusion = scores["confusion"]
        self._per_class = scores["per_class_accuracy"]
        self.scores = {
            "loss": loss,
            "accuracy": scores["accuracy"],
            "balanced_accuracy": float(np.nanmean(self._per_class)),
            "majority_balanced_accuracy": 1 / np.count_nonzero(~np.isnan(self._per_class)),
            "auc_lesion": float(score_auc(true, probabilities)["auc"][2]),
            "ece": scores["ece"],
        }

    @property
    def selection_score(self) -> float:
        """What the best epoch is chosen by: accuracy, averaged over the classes."""
        return self.scores["balanced_accuracy"]

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """What each epoch logs besides: confusion, a row per true class, and accuracy by class."""
        return {
            "confusion": {"true": SLICE_CLASSES}
            | dict(zip(SLICE_CLASSES, self._confusion.T, strict=True)),
            "per_class_accuracy": dict(zip(SLICE_CLASSES, self._per_class[:, None], strict=True)),
        }


class MultiTaskScores(PatientScores):
    """Score both tasks of each validation: masks by patient, and each slice by itself.

    Afterwards `images` has a row per slice: the loader's table with what `scoring.score_images`
    returns and `tumor_probability`.
    """

    def before_validate(self) -> None:
        """Start counting."""
        super().before_validate()
        self._images: list[dict[str, Tensor]] = []

    def after_loss(self) -> None:
        """Count one batch and keep the scores of its slices."""
        if not self.training:
            (logits, tumor_logits), (masks, _) = self.pred, self.y
            self._count(logits, masks)
            tumor = {"tumor_probability": tumor_logits.sigmoid()}
            self._images.append(score_images(logits, masks) | tumor)

    def after_validate(self) -> None:
        """Average over patients, over slices, and over what the slices of each patient say."""
        super().after_validate()
        scores = {
            name: torch.cat([batch[name] for batch in self._images]).cpu().numpy()
            for name in self._images[0]
        }
        self.images = self.dl.dataset.slices.assign(**scores)
        self.scores |= {
            "liver_iou_per_image": float(scores["liver_iou"].mean()),
            "tumor_iou_per_image": float(scores["tumor_iou"].mean()),
            "confidence_per_image": float(scores["confidence"].mean()),
        } | tumor_aucs(self.images)


def tumor_aucs(images: pd.DataFrame) -> dict[str, float]:
    """Areas under the ROC curve of tumour in a slice, and in a patient; NaN where all are alike.

    Args:
        images: A row per slice: `patient`, `label`, `tumor_probability`. A patient's probability is
            that of the most suspicious slice.
    """
    by_patient = images.groupby("patient")[["label", "tumor_probability"]].max()
    return {
        f"tumor_auc_per_{name}": roc_area(table.label == TUMOR, table.tumor_probability)
        for name, table in (("slice", images), ("patient", by_patient))
    }
