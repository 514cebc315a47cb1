"""Words for a figure, read from the figure itself, for those who cannot see it."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

LONGEST = 400  # characters; a screen reader says them all


def alt_text(figure: Figure) -> str:
    """Return a figure's titles, what its axes show against one another, and its legends.

    Pictures without axes, such as slices of a scan, are called pictures.
    """
    panels = [words for ax in figure.axes if (words := _words(ax))]
    count = [f"{len(panels)} panels"] if len(panels) > 1 else []
    lines = [figure.get_suptitle(), *count, *dict.fromkeys(panels), *map(_legend, figure.legends)]
    text = "; ".join(" ".join(line.split()) for line in lines if line) or "a drawing without words"
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + "…"


def _words(ax: Axes) -> str:
    """What a panel shows; nothing for an empty frame or a colour bar's."""
    if ax.get_label() == "<colorbar>" or not ax.has_data():
        return ""
    title, x, y = ax.get_title(), ax.get_xlabel(), ax.get_ylabel()
    against = " against ".join(filter(None, (y, x)))
    kind = "picture" if ax.get_images() and not against else against
    legend = ax.get_legend()
    shown = [title, kind, _legend(legend) if legend else ""]
    return ", ".join(filter(None, shown))


def _legend(legend: Legend) -> str:
    names = [text.get_text() for text in legend.get_texts()]
    return f"with {', '.join(filter(None, names))}" if any(names) else ""


def describe_figures() -> None:
    """Have notebooks keep each figure's words beside its PNG, as `alt` in the output's metadata.

    From there the site takes them, and whatever else turns a notebook into a page.
    """
    shell = get_ipython()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["image/png"]
    if Figure not in formatter.type_printers:  # The notebook's backend adds it with a first figure.
        plt.switch_backend(plt.get_backend())
    draw = formatter.type_printers.get(Figure)
    if draw is not None and not isinstance(draw, _WithWords):
        formatter.for_type(Figure, _WithWords(draw))


class _WithWords:
    """What draws a figure as PNG, and returns its words too."""

    def __init__(self, draw: Callable[[Figure], Any]) -> None:
        self.draw = draw

    def __call__(self, figure: Figure) -> Any:
        drawn = self.draw(figure)
        if drawn is None:
            return None
        picture, about = drawn if isinstance(drawn, tuple) else (drawn, {})
        return picture, about | {"alt": alt_text(figure)}
