"""Small pictures of held-out patients for the gallery."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from liverutils.figures.slices import show_picture
from liverutils.figures.style import WINDOWS, Window
from liverutils.files import written_aside

PANEL_BYTES = 60_000


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
    overlays = {"image": (None, None), "truth": (truth, None), "prediction": (None, predicted)}
    for ax, (title, labels) in zip(figure.subplots(1, 3), overlays.items(), strict=True):
        show_picture(ax, picture, *labels, window=window, spacing=spacing)
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


def contact_sheet(
    gallery: Path | str, run: str, *, columns: int = 2, run_id: str | None = None
) -> Path:
    """Put the panels of a run on one sheet, `<run>/contact_sheet.png`, and return its path.

    Args:
        gallery: The folder of all runs' pictures.
        run: Name of the run.
        columns: Panels side by side.
        run_id: As in run.json; stands in the file's text entry of that name.
    """
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
        text = PngInfo()
        text.add_text("run_id", run_id or "")
        few.save(aside, "png", optimize=True, pnginfo=text)
    return path
