"""Figures in one style: CT slices with masks, the gallery, training curves and scores.

Pictures handed in are (rows, columns) as `volumes.as_picture` turns them. The truth is a light fill
with a solid outline, the prediction a dashed outline; the liver is sky blue and the tumour orange
everywhere (colours by Okabe and Ito, 2008, which colour-blind people can tell apart).
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from PIL import Image
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, zoom

from liverutils.datasets.volumes import LIVER, TUMOR, VIEW_AXES, Case, View, take_plane
from liverutils.files import written_aside
from liverutils.metrics import (
    SLICE_CLASSES,
    Roc,
    bootstrap_interval,
    calibration_bins,
    expected_calibration_error,
)

Window = tuple[float, float]

LIVER_COLOUR = "#56B4E9"
TUMOR_COLOUR = "#E69F00"
CLASS_COLOURS = ("#999999", LIVER_COLOUR, TUMOR_COLOUR)
OTHER_COLOURS = ("#009E73", "#CC79A7", "#0072B2", "#D55E00", "#000000")

# Lowest and highest HU shown, from the level and width radiologists use. The liver window is
# centred on a liver enhanced by contrast medium, about 100 HU.
WINDOWS: dict[str, Window] = {
    "abdomen": (-160.0, 240.0),
    "liver": (10.0, 190.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
}
GREY_WINDOW: Window = (0.0, 255.0)

# Letters at the left, right, top and bottom edge of a picture.
EDGE_LETTERS: dict[str, str] = {"axial": "RLAP", "coronal": "RLHF", "sagittal": "APHF"}

STRUCTURE_NAMES = {"liver": "liver", "tumor": "tumour"}

PANEL_BYTES = 60_000


def use_style() -> None:
    """Set the matplotlib style of the course: readable at notebook width, greys for CT."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "figure.figsize": (8.0, 3.6),
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=OTHER_COLOURS),
        }
    )


# --- Slices -----------------------------------------------------------------------------------


def window_image(values: np.ndarray, window: Window) -> np.ndarray:
    """Map `values` (any shape, HU or grey) from `window` (low, high) to 0…1, clipped; float32."""
    low, high = window
    return np.clip((np.asarray(values, dtype=np.float32) - low) / (high - low), 0.0, 1.0)


def default_window(case: Case) -> Window:
    """Return the abdomen window for HU, the whole range of 8 bits for grey pictures."""
    return WINDOWS["abdomen"] if case.intensity == "HU" else GREY_WINDOW


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


def _outline(ax: Axes, labels: np.ndarray, **lines: object) -> None:
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
    rows, columns = ax.get_images()[0].get_array().shape[:2]
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
    for label in (TUMOR, LIVER):
        structure = case.mask == label
        if case.mask is not None and structure.any():
            z = int(np.argmax(structure.sum(axis=(0, 1))))
            depth = distance_transform_edt(structure[:, :, z])
            x, y = np.unravel_index(np.argmax(depth), depth.shape)
            return int(x), int(y), z
    return tuple(side // 2 for side in case.image.shape)


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
    for ax, view in zip(axes, ("axial", "coronal", "sagittal"), strict=True):
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
    # Both axes run backwards in a picture: see `volumes.as_picture`.
    ax.axvline(
        case.image.shape[column_axis] - 1 - point[column_axis], color="white", ls=":", lw=0.6
    )
    ax.axhline(case.image.shape[row_axis] - 1 - point[row_axis], color="white", ls=":", lw=0.6)


# --- Gallery ----------------------------------------------------------------------------------


def gallery_panel(
    gallery: Path | str,
    run: str,
    patient: str,
    index: int,
    picture: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    dice: Mapping[str, float],
    *,
    window: Window = WINDOWS["abdomen"],
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Path:
    """Write image, truth and prediction of a slice side by side to `<run>/<patient>_<slice>.png`.

    Args:
        gallery: The folder of all runs' pictures.
        run: Name of the run.
        patient: Name of the patient.
        index: Number of the slice in the scan.
        picture: HU or grey values (rows, columns).
        truth: Labels 0, 1, 2 of the same shape.
        predicted: Labels 0, 1, 2 of the same shape.
        dice: Name of a structure to its Dice in this slice, for the title.
        window: (low, high) of the values shown.
        spacing: Height and width of a pixel.

    Returns:
        The picture's path; the file is smaller than 60 kB.
    """
    scores = ", ".join(f"{name} {value:.2f}" for name, value in dice.items())
    figure = Figure(figsize=(7.2, 2.9), dpi=100, layout="constrained")
    figure.suptitle(f"{patient}, slice {index} · Dice: {scores}", fontsize=10)
    overlays = {"image": {}, "truth": {"truth": truth}, "prediction": {"predicted": predicted}}
    for ax, (title, labels) in zip(figure.subplots(1, 3), overlays.items(), strict=True):
        show_picture(ax, picture, **labels, window=window, spacing=spacing)
        ax.set_title(title, fontsize=9)
    return _write_small_png(figure, Path(gallery) / run / f"{patient}_{index:03d}.png")


def _write_small_png(figure: Figure, path: Path) -> Path:
    canvas = io.BytesIO()
    figure.savefig(canvas, format="png")
    picture = Image.open(canvas).convert("RGB")
    # CT noise does not compress: fewer greys are what makes the file small.
    for colours in (256, 128, 64, 32, 16, 8):
        content = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(content, "png", optimize=True)
        if content.tell() < PANEL_BYTES:
            break
    with written_aside(path) as aside:
        aside.write_bytes(content.getvalue())
    return path


def contact_sheet(gallery: Path | str, run: str, *, columns: int = 2) -> Path:
    """Put the panels of a run on one sheet, `<run>/contact_sheet.png`, and return its path."""
    folder = Path(gallery) / run
    path = folder / "contact_sheet.png"
    panels = [Image.open(panel) for panel in sorted(folder.glob("*_[0-9]*.png"))]
    width, height = (max(panel.size[axis] for panel in panels) for axis in (0, 1))
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, panel in enumerate(panels):
        sheet.paste(panel.convert("RGB"), (number % columns * width, number // columns * height))
    with written_aside(path) as aside:
        # Coverage, not frequency: the few orange pixels of a tumour are what the sheet is for.
        few = sheet.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(aside, "png", optimize=True)
    return path


# --- In three dimensions ----------------------------------------------------------------------

# Which RAS axes run along the picture's columns, rows and into its depth, and which run backwards.
SIGHTS = {
    "from the front": ((0, 2, 1), (0, 1, 2)),
    "from the right": ((1, 2, 0), (0, 2)),
    "from the feet": ((0, 1, 2), (0, 1)),
}

# Towards the light: left of, above and behind who looks.
LIGHT = np.array([-0.4, -0.5, -0.77])


def plot_bodies(labels: np.ndarray, spacing: Sequence[float], *, voxel_mm: float = 1.5) -> Figure:
    """Draw liver and tumours as bodies, seen from three sides; the tumours shine through.

    Args:
        labels: (X, Y, Z) RAS, 0 background, 1 liver, 2 tumour.
        spacing: Voxel size along x, y and z in mm.
        voxel_mm: The bodies are drawn on cubes of this size, a little smoothed.
    """
    boxes = find_objects((labels > 0).view(np.uint8)) or [(slice(0),) * 3]
    labels = labels[boxes[0]]
    scale = np.asarray(spacing) / voxel_mm
    bodies = [
        (_soften(labels >= LIVER, scale, 2), LIVER_COLOUR, 1.0),
        (_soften(labels == TUMOR, scale, 1), TUMOR_COLOUR, 0.7),
    ]
    figure, axes = plt.subplots(1, 3, figsize=(9.0, 3.4))
    for ax, (name, (order, backwards)) in zip(axes, SIGHTS.items(), strict=True):
        picture = np.ones(3)
        for body, colour, opacity in bodies:
            visible, light = _lit(np.flip(body, backwards).transpose(order))
            lit = np.array(to_rgb(colour)) * (0.35 + 0.65 * light[..., None])
            share = opacity * visible[..., None]
            picture = share * lit + (1 - share) * picture
        ax.imshow(picture.transpose(1, 0, 2))
        half, middle = max(body.shape) / 2, np.array(picture.shape[:2]) / 2
        ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
        ax.set_title(name)
        ax.set_axis_off()
    label_legend(figure)
    return figure


def _soften(mask: np.ndarray, scale: np.ndarray, blur: float) -> np.ndarray:
    """A mask as a soft float32 volume of cubes, with room around it."""
    cubes = zoom(mask.astype(np.float32), scale, order=1)
    return gaussian_filter(np.pad(cubes, 4), blur)


def _lit(body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Look at a body along its last axis: where it is seen, and how much light falls there."""
    inside = body > 0.5
    surface = (*np.indices(body.shape[:2]), inside.argmax(2))
    slope = np.stack([along[surface] for along in np.gradient(body)])
    normals = -slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
    return inside.any(2), np.clip(np.tensordot(LIGHT, normals, 1), 0, 1)


# --- Runs -------------------------------------------------------------------------------------


def plot_training(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot the loss and the validation scores of one run against the epochs done.

    Args:
        frames: The run's tables as `logs.read_run` returns them: "train" (epoch, step, loss) and
            "val" (epoch, val_loss, val_accuracy or dice_avg_class_1 and dice_avg_class_2).
    """
    figure, (loss_ax, score_ax) = plt.subplots(1, 2, figsize=(9.0, 3.2), sharex=True)
    _plot_losses(loss_ax, frames)
    scores = {
        "val_accuracy": ("accuracy", "black"),
        "dice_avg_class_1": ("liver Dice", LIVER_COLOUR),
        "dice_avg_class_2": ("tumour Dice", TUMOR_COLOUR),
    }
    _plot_scores(score_ax, frames["val"], scores)
    return figure


def plot_class_training(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot the loss of a classifier, and its validation accuracy over all slices and by class.

    Args:
        frames: The run's tables as `logs.read_run` returns them: "train" (epoch, step, loss), "val"
            (epoch, val_loss, val_accuracy) and "per_class_accuracy" (epoch and a column per class).
    """
    figure, (loss_ax, score_ax) = plt.subplots(1, 2, figsize=(9.0, 3.2), sharex=True)
    _plot_losses(loss_ax, frames)
    by_class = dict(zip(SLICE_CLASSES, zip(SLICE_CLASSES, CLASS_COLOURS, strict=True), strict=True))
    together = frames["val"].merge(frames["per_class_accuracy"], on="epoch")
    _plot_scores(score_ax, together, by_class | {"val_accuracy": ("all slices", "black")})
    score_ax.set_ylabel("validation accuracy")
    return figure


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
    ax.set(xlabel="epochs done", ylabel="validation score", ylim=(0, 1))
    ax.legend()


def plot_patient_scores(patients: pd.DataFrame, *, score: str = "dice", seed: int = 0) -> Figure:
    """Plot one dot per patient for liver and tumour, and the mean with its bootstrap interval.

    A hollow dot is a patient whose score is decided by `metrics.empty_mask_rule`.

    Args:
        patients: One row per patient, with the columns of `metrics.score_patient`.
        score: One that runs from 0 to 1: dice, iou, precision, recall or surface_dice_2mm.
        seed: Of the bootstrap.
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
        mean, low, high = bootstrap_interval(values, seed=seed)
        ax.plot([low, high], [row + 0.32] * 2, color="black", linewidth=2)
        ax.plot(mean, row + 0.32, "D", color="black")
        labels.append(f"{STRUCTURE_NAMES[structure]}\n{mean:.2f} ({low:.2f} to {high:.2f})")
    ax.set_yticks(range(len(labels)), labels)
    name = {"dice": "Dice", "iou": "IoU"}.get(score, score.replace("_", " "))
    ax.set(
        xlim=(-0.02, 1.02), ylim=(1.5, -0.4), xlabel=f"{name} of each of {len(patients)} patients"
    )
    return figure


# --- Classes of slices --------------------------------------------------------------------------


def plot_confusion(confusion: np.ndarray, ax: Axes | None = None) -> Figure:
    """Draw a confusion matrix: slices in each cell, shaded by their share of the true class.

    Args:
        confusion: (3, 3) slices, rows true, columns predicted, as `metrics.score_classes` counts.
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


def plot_roc(curves: Mapping[str, Roc], ax: Axes | None = None) -> Figure:
    """Plot ROC curves with their bands; the legend has the areas and their intervals.

    Args:
        curves: Name → what `metrics.bootstrap_roc` returns.
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
) -> Figure:
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
        attention: 0…1 of the same shape, from `attention.grad_cam`.
        window: (low, high) of the values shown from black to white.
        title: Written above.
    """
    show_picture(ax, picture, window=window, title=title)
    ax.imshow(attention, cmap="inferno", vmin=0, vmax=1, alpha=0.6 * attention)


# --- Networks ---------------------------------------------------------------------------------


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
            *((beside, y) if x else (0, y - height / 2 - 0.05)),
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
        middle = (np.array(start) + end) / 2
        ax.text(*middle, text, ha="center", va="bottom", fontsize=9, color="dimgrey")

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
