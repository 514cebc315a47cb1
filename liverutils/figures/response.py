"""A lesion from near, with the diameters that were measured in it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from liverutils.figures.slices import picture_spacing, show_picture
from liverutils.figures.style import OTHER_COLOURS, default_window
from liverutils.scans import VIEW_AXES, Case, View, take_plane

LONG_COLOUR, SHORT_COLOUR = OTHER_COLOURS[1], "white"


def show_lesion(
    ax: Axes, case: Case, lesion: Any, *, reach_mm: float = 40.0, title: str = ""
) -> None:
    """Show the slice in which a lesion is longest, with its longest diameter and short axis.

    Args:
        ax: Where to draw.
        case: The labelled scan.
        lesion: A row of `scoring.measure_lesions` of that scan, from `iloc` or `itertuples`.
        reach_mm: How far around the middle of the longest diameter is shown.
        title: Written above.
    """
    middle = np.array([*np.mean(lesion.long_ends, axis=0), lesion.slice])
    _show_around(ax, case, middle, "axial", reach_mm, True, title)
    for ends, colour in ((lesion.short_ends, SHORT_COLOUR), (lesion.long_ends, LONG_COLOUR)):
        columns, rows = np.transpose([_in_picture(case, "axial", np.array(end)) for end in ends])
        ax.plot(columns, rows, color=colour, linewidth=1.8, marker="o", markersize=3)


def show_place(
    ax: Axes,
    case: Case,
    place_mm: ArrayLike,
    *,
    view: View = "axial",
    reach_mm: float = 40.0,
    labels: bool = True,
    title: str = "",
) -> None:
    """Show what lies around a place, given as (x, y, z) in mm; the same in every scan of a body.

    Args:
        ax: Where to draw.
        case: The scan.
        place_mm: In the coordinates of the scan's affine.
        view: The cut through the place.
        reach_mm: How far around it is shown.
        labels: Draw them where the scan has some.
        title: Written above.
    """
    place = np.linalg.solve(case.affine, [*np.asarray(place_mm, float), 1.0])[:3]
    inside = np.clip(place, 0, np.array(case.image.shape) - 1)
    _show_around(ax, case, inside, view, reach_mm, labels, title)


def _show_around(
    ax: Axes, case: Case, voxel: np.ndarray, view: View, reach_mm: float, labels: bool, title: str
) -> None:
    index, spacing = round(voxel[VIEW_AXES[view]]), picture_spacing(case, view)
    show_picture(
        ax,
        take_plane(case.image, view, index),
        take_plane(case.mask, view, index) if labels and case.mask is not None else None,
        window=default_window(case),
        spacing=spacing,
        title=title,
    )
    column, row = _in_picture(case, view, np.delete(voxel, VIEW_AXES[view]))
    across, down = reach_mm / spacing[1], reach_mm / spacing[0]
    ax.set(xlim=(column - across, column + across), ylim=(row + down, row - down))


def _in_picture(case: Case, view: View, place: np.ndarray) -> tuple[float, float]:
    """Column and row of a place in the plane, which runs against both axes: `scans.as_picture`."""
    last = np.delete(case.image.shape, VIEW_AXES[view]) - 1
    column, row = last - place
    return float(column), float(row)
