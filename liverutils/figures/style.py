"""One style for every figure: colours, windows, fonts."""

import matplotlib.pyplot as plt
import numpy as np

from liverutils.figures.alt_text import describe_figures
from liverutils.scans import Case

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


STRUCTURE_NAMES = {"liver": "liver", "tumor": "tumour"}


def use_style() -> None:
    """Set the matplotlib style of the course: readable at notebook width, greys for CT.

    In a notebook each figure's words go beside its picture, for those who cannot see it.
    """
    describe_figures()
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


def window_image(values: np.ndarray, window: Window) -> np.ndarray:
    """Map `values` (any shape, HU or grey) from `window` (low, high) to 0…1, clipped; float32."""
    low, high = window
    return np.clip((np.asarray(values, dtype=np.float32) - low) / (high - low), 0.0, 1.0)


def default_window(case: Case) -> Window:
    """Return the abdomen window for HU, the whole range of 8 bits for grey pictures."""
    return WINDOWS["abdomen"] if case.intensity == "HU" else GREY_WINDOW
