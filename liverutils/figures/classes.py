"""Classification: confusion, ROC, calibration, attention."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from liverutils.figures.slices import show_picture
from liverutils.figures.style import OTHER_COLOURS, Window
from liverutils.scoring import SLICE_CLASSES, Roc, calibration_bins, expected_calibration_error


def plot_confusion(confusion: np.ndarray, ax: Axes | None = None) -> Figure | SubFigure:
    """Draw a confusion matrix: slices in each cell, shaded by their share of the true class.

    Args:
        confusion: (3, 3) slices, rows true, columns predicted, as `scoring.score_classes` counts.
        ax: Where to draw; a new figure by default.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 3.8))
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    ax.imshow(share, cmap="Greys", vmin=0, vmax=1)
    for (row, column), slices in np.ndenumerate(confusion):
        colour = "white" if share[row, column] > 0.5 else "black"
        text = f"{slices}\n{share[row, column]:.0%}"
        ax.text(column, row, text, ha="center", va="center", color=colour)
    names = [name.replace(" with ", "\nwith ") for name in SLICE_CLASSES]
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true")
    return ax.figure


def plot_roc(curves: Mapping[str, Roc], ax: Axes | None = None) -> Figure | SubFigure:
    """Plot ROC curves with their bands; the legend has the areas and their intervals.

    Args:
        curves: Name → what `scoring.bootstrap_roc` returns.
        ax: Where to draw; a new figure by default.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 4.4))
    for (name, roc), colour in zip(curves.items(), OTHER_COLOURS, strict=False):
        area, low, high = roc.auc
        label = f"{name}: {area:.2f} ({low:.2f} to {high:.2f})"
        ax.plot(roc.false_positive_rate, roc.sensitivity, color=colour, label=label)
        ax.fill_between(roc.false_positive_rate, roc.low, roc.high, color=colour, alpha=0.15)
    ax.plot([0, 1], [0, 1], ":", color="grey")
    ax.set(xlabel="false positive rate", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01))
    ax.set_aspect("equal")
    ax.legend(loc="lower right")
    return ax.figure


def plot_reliability(
    true: np.ndarray, probabilities: np.ndarray, bins: int = 10, ax: Axes | None = None
) -> Figure | SubFigure:
    """Plot accuracy against confidence; dots are as large as they hold slices.

    Args:
        true: (N,) class of each slice.
        probabilities: (N, C) after softmax.
        bins: Of equal width.
        ax: Where to draw; a new figure by default.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 4.4))
    table = calibration_bins(true, probabilities, bins)
    ax.plot([0, 1], [0, 1], ":", color="grey")
    ax.vlines(table.confidence, table.confidence, table.accuracy, color="silver")
    sizes = 300 * table.slices / table.slices.max()
    ax.scatter(table.confidence, table.accuracy, s=sizes, color=OTHER_COLOURS[0], zorder=3)
    error = expected_calibration_error(true, probabilities, bins)
    ax.set(xlabel="confidence of the network", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    ax.set_title(f"expected calibration error {error:.2f}")
    ax.set_aspect("equal")
    return ax.figure


def show_attention(
    ax: Axes, picture: np.ndarray, attention: np.ndarray, *, window: Window, title: str = ""
) -> None:
    """Show a slice with a map over it of where a network looked.

    Args:
        ax: Where to draw.
        picture: HU or grey values (rows, columns).
        attention: 0…1 of the same shape, from `models.grad_cam`.
        window: (low, high) of the values shown from black to white.
        title: Written above.
    """
    show_picture(ax, picture, window=window, title=title)
    ax.imshow(attention, cmap="inferno", vmin=0, vmax=1, alpha=0.6 * attention)
