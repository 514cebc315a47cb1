"""Diagrams of networks."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


def plot_u_shape(levels: Sequence[tuple[int, int]]) -> Figure:
    """Draw an encoder and a decoder joined by bridges, as the U that they form.

    Args:
        levels: (channels, side in pixels) of the features from the top to the bottom.
    """
    figure, ax = plt.subplots(figsize=(9.0, 4.2))
    depth = len(levels) - 1
    places = [(sign * (depth - row), -row) for row in range(depth) for sign in (-1, 1)]
    places.append((0, -depth))
    for x, y in places:
        channels, side = levels[-y]
        width, height = 0.16 * np.sqrt(channels / levels[0][0]), 0.66 * np.sqrt(side / levels[0][1])
        ax.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, color="silver"))
        beside = x + np.sign(x) * (width / 2 + 0.08)
        ax.text(
            beside if x else 0,
            y if x else y - height / 2 - 0.05,
            f"{channels} × {side}²",
            ha={-1: "right", 0: "center", 1: "left"}[np.sign(x)],
            va="center" if x else "top",
        )
    arrow = {"arrowstyle": "->", "color": "dimgrey"}
    for row in range(depth):
        x = depth - row
        ax.annotate("", (x - 0.35, -row), (0.35 - x, -row), arrowprops=arrow | {"ls": "--"})
        ax.annotate("", (1 - x, -row - 0.72), (-x, -row - 0.36), arrowprops=arrow)
        ax.annotate("", (x, -row - 0.36), (x - 1, -row - 0.72), arrowprops=arrow)
    ax.text(0, 0.06, "bridges: the encoder's features, concatenated", ha="center", va="bottom")
    ax.text(-depth, -depth, "encoder: halve the size,\ndouble the channels", ha="left")
    ax.text(depth, -depth, "decoder: double the size,\nhalve the channels", ha="right")
    ax.set(xlim=(-depth - 0.9, depth + 0.9), ylim=(-depth - 0.5, 0.5))
    ax.set_axis_off()
    return figure


def plot_encoder(
    levels: Sequence[tuple[int, int]], pyramid: int | None = None, classes: int = 3
) -> Figure:
    """Draw how an encoder shrinks its input, and how logits of full size are made of it.

    Args:
        levels: (channels, side in pixels) of the input and of the features after each stage.
        pyramid: Channels of a second row in which the features are enlarged and added, from the
            last stage to the first; without it the last features themselves are enlarged.
        classes: Channels of the logits.
    """
    figure, ax = plt.subplots(figsize=(9.0, 4.4 if pyramid else 2.6))
    last, top_side = len(levels) - 1, levels[0][1]

    def box(x: float, y: float, channels: int, side: int) -> None:
        width, height = 0.07 * np.sqrt(np.clip(channels, 1, 64)), 0.8 * np.sqrt(side / top_side)
        ax.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, color="silver"))
        ax.text(x, y - height / 2 - 0.04, f"{channels} × {side}²", ha="center", va="top")

    def arrow(start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "dimgrey"})
        x, y = (np.array(start) + end) / 2
        ax.text(x, y, text, ha="center", va="bottom", fontsize=9, color="dimgrey")

    for x, (channels, side) in enumerate(levels):
        box(x, 0, channels, side)
        if x:
            arrow((x - 0.68, 0), (x - 0.32, 0))
    if pyramid is None:
        box(last + 1, 0, classes, top_side)
        arrow((last + 0.32, 0), (last + 0.86, 0), "1×1,\nenlarge")
    else:
        for x, (_, side) in enumerate(levels[1:], start=1):
            box(x, -1.35, pyramid, side)
            arrow((x, -0.62), (x, -0.92))
            arrow((x - 0.28, -1.35), (x - 0.72, -1.35), "add" if x > 1 else "")
        box(0, -1.35, classes, top_side)
        ax.text(0, -0.8, "logits", ha="center")
    right, bottom = (last + 0.6, -2.0) if pyramid else (last + 1.4, -0.65)
    ax.set(xlim=(-0.6, right), ylim=(bottom, 0.5))
    ax.set_axis_off()
    return figure
