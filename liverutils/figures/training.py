"""How a training went, and how each patient fared."""

from collections.abc import Iterable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from liverutils.figures.style import CLASS_COLOURS, LIVER_COLOUR, STRUCTURE_NAMES, TUMOR_COLOUR
from liverutils.scoring import SLICE_CLASSES, mean_interval


def plot_training(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot the loss and the validation scores of one run against the epochs done.

    A dotted line marks the epoch whose weights were kept.

    Args:
        frames: The run's tables as `runs.read_run` returns them: "train" (epoch, step, loss) and
            "val" (epoch, val_loss, selection_score and dice_present_class_1 and _2, the Dice over
            the patients who have the structure; without these, dice_avg_class_1 and _2).
    """
    figure, (loss_ax, score_ax) = plt.subplots(1, 2, figsize=(9.0, 3.2), sharex=True)
    _plot_losses(loss_ax, frames)
    mean = "present" if "dice_present_class_1" in frames["val"] else "avg"
    scores = {
        "val_accuracy": ("accuracy", "black"),
        f"dice_{mean}_class_1": ("liver Dice", LIVER_COLOUR),
        f"dice_{mean}_class_2": ("tumour Dice", TUMOR_COLOUR),
    }
    _plot_scores(score_ax, frames["val"], scores)
    _mark_kept_epoch((loss_ax, score_ax), frames["val"])
    return figure


def plot_class_training(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot the loss of a classifier, and its validation accuracy by class and balanced.

    A dashed line is the balanced accuracy of always answering with one class, a dotted one marks
    the epoch whose weights were kept.

    Args:
        frames: The run's tables as `runs.read_run` returns them: "train" (epoch, step, loss), "val"
            (epoch, val_loss, val_balanced_accuracy) and "per_class_accuracy" (epoch and a column
            per class).
    """
    figure, (loss_ax, score_ax) = plt.subplots(1, 2, figsize=(9.0, 3.2), sharex=True)
    _plot_losses(loss_ax, frames)
    by_class = dict(zip(SLICE_CLASSES, zip(SLICE_CLASSES, CLASS_COLOURS, strict=True), strict=True))
    together = frames["val"].merge(frames["per_class_accuracy"], on="epoch")
    classes = together[list(by_class)].notna().any().sum()
    score_ax.axhline(1 / classes, color="black", ls="--", lw=1, label="balanced, of one class only")
    _plot_scores(score_ax, together, by_class | {"val_balanced_accuracy": ("balanced", "black")})
    score_ax.set_ylabel("validation accuracy")
    _mark_kept_epoch((loss_ax, score_ax), frames["val"])
    return figure


def _mark_kept_epoch(axes: Iterable[Axes], val: pd.DataFrame) -> None:
    """Mark the highest selection score, of equals the lowest loss; older logs do not hold it."""
    if "selection_score" not in val:
        return
    best = val.sort_values(["selection_score", "val_loss"], ascending=[False, True], kind="stable")
    for ax in axes:
        ax.axvline(best.epoch.iloc[0] + 1, color="black", ls=":", lw=1, label="weights kept")
        ax.legend()


def _plot_losses(ax: Axes, frames: Mapping[str, pd.DataFrame]) -> None:
    train, val = frames["train"], frames["val"]
    steps = train.groupby("epoch").cumcount() + 1
    progress = train["epoch"] + steps / train.groupby("epoch")["loss"].transform("size")
    ax.plot(progress, train["loss"], color="silver", linewidth=0.8, label="training, each step")
    means = train.groupby("epoch")["loss"].mean()
    ax.plot(means.index + 1, means, "o-", color="dimgrey", label="training, mean of the epoch")
    ax.plot(val["epoch"] + 1, val["val_loss"], "s-", color="black", label="validation")
    ax.set(xlabel="epochs done", ylabel="loss", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()


def _plot_scores(ax: Axes, rows: pd.DataFrame, scores: Mapping[str, tuple[str, str]]) -> None:
    """Plot those of the columns that there are: column → label and colour."""
    for column, (name, colour) in scores.items():
        if column in rows:
            ax.plot(rows["epoch"] + 1, rows[column], "o-", color=colour, label=name)
    ax.set(xlabel="epochs done", ylabel="validation score", ylim=(-0.02, 1.02))
    ax.legend()


def plot_patient_scores(patients: pd.DataFrame, *, score: str = "dice") -> Figure:
    """Plot one dot per patient for liver and tumour, and the mean with its 95 % interval.

    A hollow dot is a patient whose score is decided by `scoring.empty_mask_rule`.

    Args:
        patients: One row per patient, with the columns of `scoring.score_patient`.
        score: One that runs from 0 to 1: dice, iou, precision, recall or surface_dice_2mm.
    """
    figure, ax = plt.subplots(figsize=(8.0, 2.8))
    colours = {"liver": LIVER_COLOUR, "tumor": TUMOR_COLOUR}
    labels = []
    for row, (structure, colour) in enumerate(colours.items()):
        values = patients[f"{structure}_{score}"].to_numpy(float)
        ruled = (patients[f"{structure}_empty"] != "neither").to_numpy()
        heights = row + np.linspace(-0.15, 0.15, len(values))
        ax.plot(values[~ruled], heights[~ruled], "o", color=colour)
        ax.plot(values[ruled], heights[ruled], "o", color=colour, markerfacecolor="none")
        mean, low, high = mean_interval(values)
        ax.plot([low, high], [row + 0.32] * 2, color="black", linewidth=2)
        ax.plot(mean, row + 0.32, "D", color="black")
        labels.append(f"{STRUCTURE_NAMES[structure]}\n{mean:.2f} ({low:.2f} to {high:.2f})")
    ax.set_yticks(range(len(labels)), labels)
    name = {"dice": "Dice", "iou": "IoU"}.get(score, score.replace("_", " "))
    ax.set(
        xlim=(-0.02, 1.02), ylim=(1.5, -0.4), xlabel=f"{name} of each of {len(patients)} patients"
    )
    return figure
