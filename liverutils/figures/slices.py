"""Slices of a scan with what was drawn on them."""

from typing import Any, get_args

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt

from liverutils.figures.style import (
    LIVER_COLOUR,
    TUMOR_COLOUR,
    WINDOWS,
    Window,
    default_window,
    window_image,
)
from liverutils.scans import LIVER, TUMOR, VIEW_AXES, Case, View, take_plane

# Letters at the left, right, top and bottom edge of a picture.
EDGE_LETTERS: dict[str, str] = {"axial": "RLAP", "coronal": "RLHF", "sagittal": "APHF"}


def picture_spacing(case: Case, view: View) -> tuple[float, float]:
    """Return the height and width of a pixel of `view` in mm (1, 1 where spacing is unknown)."""
    column_axis, row_axis = (axis for axis in range(3) if axis != VIEW_AXES[view])
    return case.spacing[row_axis], case.spacing[column_axis]


def show_picture(
    ax: Axes,
    picture: np.ndarray,
    truth: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    *,
    window: Window = WINDOWS["abdomen"],
    spacing: tuple[float, float] = (1.0, 1.0),
    view: View | None = None,
    scale_bar_mm: float | None = None,
    title: str = "",
) -> None:
    """Show a slice (rows, columns), with the true and the predicted labels over it.

    Args:
        ax: Where to draw.
        picture: HU or grey values.
        truth: Labels 0, 1, 2 of the same shape.
        predicted: Labels 0, 1, 2 of the same shape.
        window: (low, high) of the values shown from black to white.
        spacing: Height and width of a pixel, so that a millimetre is as long both ways.
        view: Writes the letters of this view at the edges: R, L, A, P, H, F.
        scale_bar_mm: Length of a scale bar; `spacing` must then be in mm.
        title: Written above.
    """
    shown = window_image(picture, window)
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, aspect=spacing[0] / spacing[1])
    if truth is not None:
        _fill(ax, truth)
        _outline(ax, truth, linewidths=1.0)
    if predicted is not None:
        _outline(ax, predicted, linewidths=1.6, linestyles="dashed")
    if view is not None:
        _write_letters(ax, EDGE_LETTERS[view])
    if scale_bar_mm is not None:
        _draw_scale_bar(ax, scale_bar_mm, scale_bar_mm / spacing[1])
    ax.set_title(title)
    ax.set_axis_off()


def _fill(ax: Axes, labels: np.ndarray) -> None:
    colours = np.zeros((3, 4))
    colours[LIVER] = to_rgba(LIVER_COLOUR, 0.12)
    colours[TUMOR] = to_rgba(TUMOR_COLOUR, 0.22)
    ax.imshow(colours[labels], aspect=ax.get_aspect(), interpolation="nearest")


def _outline(ax: Axes, labels: np.ndarray, **lines: Any) -> None:
    structures = ((labels >= LIVER, LIVER_COLOUR), (labels == TUMOR, TUMOR_COLOUR))
    for structure, colour in structures:
        if structure.any():
            ax.contour(structure, levels=[0.5], colors=[colour], **lines)


def _write_letters(ax: Axes, letters: str) -> None:
    # Inwards from the middle of each edge by so many points, whatever the picture's size.
    places = (((0, 0.5), (9, 0)), ((1, 0.5), (-9, 0)), ((0.5, 1), (0, -9)), ((0.5, 0), (0, 9)))
    for letter, (edge, inwards) in zip(letters, places, strict=True):
        ax.annotate(
            letter,
            edge,
            xycoords="axes fraction",
            xytext=inwards,
            textcoords="offset points",
            color="white",
            path_effects=[withStroke(linewidth=2, foreground="black")],
            fontsize=10,
            ha="center",
            va="center",
        )


def _draw_scale_bar(ax: Axes, length_mm: float, length_px: float) -> None:
    rows, columns = ax.get_images()[0].get_size()
    x, y = 0.97 * columns, 0.95 * rows
    ax.plot([x - length_px, x], [y, y], color="white", linewidth=2)
    ax.text(
        x, y - 0.015 * rows, f"{length_mm:g} mm", color="white", fontsize=9, ha="right", va="bottom"
    )


def label_legend(figure: Figure, *, predicted: bool = False) -> None:
    """Say below `figure` what the colours mean, and the dashes where a prediction is drawn."""
    entries: list[Patch | Line2D] = [
        Patch(facecolor=to_rgba(LIVER_COLOUR, 0.4), edgecolor=LIVER_COLOUR, label="liver"),
        Patch(facecolor=to_rgba(TUMOR_COLOUR, 0.4), edgecolor=TUMOR_COLOUR, label="tumour"),
    ]
    if predicted:
        entries += [
            Line2D([], [], color="grey", linewidth=1.0, label="truth"),
            Line2D([], [], color="grey", linewidth=1.6, linestyle="dashed", label="prediction"),
        ]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries))


def picture_grid(
    pictures: int, *, columns: int = 4, width: float = 9.0, row_height: float = 2.6
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `width` inches and one empty frame for each of `pictures`, by rows."""
    columns = min(columns, pictures)
    rows = -(-pictures // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=(width, rows * row_height))
    frames = list(axes.flat)
    for ax in frames:
        ax.set_axis_off()
    return figure, frames[:pictures]


def point_of_interest(case: Case) -> tuple[int, int, int]:
    """Return a voxel (x, y, z) worth looking at: deep inside the tumour, else inside the liver.

    It lies on the axial slice with most of that structure, as far from its border as can be. A scan
    with neither is looked at in its middle.
    """
    for label in () if case.mask is None else (TUMOR, LIVER):
        structure = case.labels == label
        if structure.any():
            z = int(np.argmax(structure.sum(axis=(0, 1))))
            depth = distance_transform_edt(structure[:, :, z])
            x, y = np.unravel_index(np.argmax(depth), depth.shape)
            return int(x), int(y), z
    x, y, z = (side // 2 for side in case.image.shape)
    return x, y, z


def show_views(
    case: Case, point: tuple[int, int, int] | None = None, *, window: Window | None = None
) -> Figure:
    """Show the axial, coronal and sagittal slice through `point`, at one scale in mm.

    Args:
        case: The scan; its labels are drawn where it has some.
        point: Voxel (x, y, z); by default `point_of_interest`. Dotted lines show where it lies.
        window: By default `default_window`.
    """
    point = point or point_of_interest(case)
    x_mm, y_mm, _ = (side * mm for side, mm in zip(case.image.shape, case.spacing, strict=True))
    figure, axes = plt.subplots(1, 3, figsize=(9.0, 3.6), width_ratios=(x_mm, x_mm, y_mm))
    for ax, view in zip(axes, get_args(View), strict=True):
        index = point[VIEW_AXES[view]]
        labels = None if case.mask is None else take_plane(case.mask, view, index)
        show_picture(
            ax,
            take_plane(case.image, view, index),
            labels,
            window=window or default_window(case),
            spacing=picture_spacing(case, view),
            view=view,
            title=f"{view}, slice {index}",
        )
        _draw_cross(ax, case, view, point)
    return figure


def _draw_cross(ax: Axes, case: Case, view: View, point: tuple[int, int, int]) -> None:
    column_axis, row_axis = (axis for axis in range(3) if axis != VIEW_AXES[view])
    # Both axes run backwards in a picture: see `scans.as_picture`.
    ax.axvline(
        case.image.shape[column_axis] - 1 - point[column_axis], color="white", ls=":", lw=0.6
    )
    ax.axhline(case.image.shape[row_axis] - 1 - point[row_axis], color="white", ls=":", lw=0.6)
