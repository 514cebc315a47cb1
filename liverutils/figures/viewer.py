"""An interactive viewer of the slices of a scan, for JupyterLab and Colab."""

import base64
import io

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from liverutils.figures.slices import (
    label_legend,
    picture_spacing,
    point_of_interest,
    show_picture,
)
from liverutils.figures.style import WINDOWS, Window, default_window
from liverutils.figures.wheel import Wheel
from liverutils.scans import VIEW_AXES, Case, View, take_plane

RANGES = {"HU": (-1400, 1400), "grey": (0, 255)}


OWN_WINDOW = "own"

# The picture is never higher than this, so that its controls stay in sight on a small screen.
HIGHEST = "min(520px, 70vh)"


def view_case(
    case: Case, predicted: np.ndarray | None = None, *, window: Window | None = None
) -> "SliceViewer":
    """Return a viewer of `case` that a notebook shows when it is the last line of a cell.

    Args:
        case: The scan; its labels are the truth.
        predicted: Predicted labels uint8 (X, Y, Z), RAS, on the scan's grid.
        window: The first window, (low, high); by default `figures.default_window`.
    """
    return SliceViewer(case, predicted, window or default_window(case))


class SliceViewer:
    """Controls (view, slice, window, masks) above a picture that follows them.

    Over the picture the mouse wheel goes through the slices. The picture is a PNG in an Image
    widget rather than a figure in an Output widget: but for the wheel, the front end needs nothing
    but the core widgets, so that JupyterLab and Colab behave alike.

    A cell's output holds the widget and, beside it, the picture as image/png. A front end shows the
    richest kind it knows: the widget where there is a kernel, the picture on GitHub, in a batch
    run's notebook, or printed as HTML. Nothing has to find out where it runs. JupyterLab alone
    shows neither when a notebook is opened again without its kernel ("model not found", as for
    every widget); running the cell again brings the viewer back.
    """

    def __init__(self, case: Case, predicted: np.ndarray | None, window: Window) -> None:
        self.case = case
        self._indices = {view: point_of_interest(case)[axis] for view, axis in VIEW_AXES.items()}
        self._labels = {"truth": case.mask, "predicted": predicted}
        self.view = widgets.ToggleButtons(options=["axial", "coronal", "sagittal"])
        long = widgets.Layout(width="700px", max_width="100%")
        self.index = widgets.IntSlider(description="slice", layout=long)
        self.wheel = Wheel()
        self.preset = widgets.Dropdown(options=[*WINDOWS, OWN_WINDOW], description="window")
        low, high = RANGES[case.intensity]
        # The range's own readout is too narrow for two numbers; the title shows them.
        self.window = widgets.IntRangeSlider(
            min=low, max=high, description="black, white", readout=False
        )
        self.masks = {
            name: widgets.Checkbox(value=True, description=name, indent=False)
            for name, labels in self._labels.items()
            if labels is not None
        }
        fitting = widgets.Layout(max_width="100%", max_height=HIGHEST, object_fit="contain")
        self.picture = widgets.Image(format="png", layout=fitting)
        self.window.value = window
        self._choose_view()
        self._name_window()
        self._draw()
        self._listen()
        self.panel = widgets.VBox(self._rows())

    def _rows(self) -> list[widgets.Widget]:
        window = [self.preset, self.window] if self.case.intensity == "HU" else [self.window]
        return [
            widgets.HBox([self.view, *self.masks.values()]),
            self.index,
            widgets.HBox(window),
            self.picture,
            self.wheel,
        ]

    def _listen(self) -> None:
        self.view.observe(self._choose_view, "value")
        self.preset.observe(self._choose_window, "value")
        self.window.observe(self._name_window, "value")
        for control in (self.index, self.window, *self.masks.values()):
            control.observe(self._draw, "value")
        widgets.dlink((self.index, "max"), (self.wheel, "last"))
        widgets.link((self.index, "value"), (self.wheel, "index"))

    def _choose_view(self, change: object = None) -> None:
        view = self.view.value
        index, last = self._indices[view], self.case.image.shape[VIEW_AXES[view]] - 1
        with self.index.hold_trait_notifications():
            self.index.max, self.index.value = last, index

    def _choose_window(self, change: object) -> None:
        if self.preset.value != OWN_WINDOW:
            self.window.value = WINDOWS[self.preset.value]

    def _name_window(self, change: object = None) -> None:
        names = (name for name, window in WINDOWS.items() if window == self.window.value)
        self.preset.value = next(names, OWN_WINDOW)

    def _draw(self, change: object = None) -> None:
        view: View = self.view.value
        index = self._indices[view] = self.index.value

        def shown(name: str) -> np.ndarray | None:
            labels = self._labels[name]
            if labels is None or not self.masks[name].value:
                return None
            return take_plane(labels, view, index)

        low, high = self.window.value
        window = f"{low} to {high} {self.case.intensity}"
        truth, predicted = shown("truth"), shown("predicted")
        title = f"{self.case.patient}, {view} slice {index}, {window}"
        figure = Figure(figsize=(7.0, 5.0), layout="constrained")
        show_picture(
            figure.subplots(),
            take_plane(self.case.image, view, index),
            truth,
            predicted,
            window=(low, high),
            spacing=picture_spacing(self.case, view),
            view=view,
            title=title,
        )
        drawn = [name for name, labels in (("truth", truth), ("prediction", predicted))
                 if labels is not None]  # fmt: skip
        if drawn:
            label_legend(figure, predicted=predicted is not None)
        self.wheel.alt = f"{title}; drawn over it: {' and '.join(drawn) or 'nothing'}"
        content = io.BytesIO()
        figure.savefig(content, format="png")
        self.picture.value = content.getvalue()

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, object], dict[str, object]]:
        bundle: dict[str, object] = {
            "text/plain": f"Slice viewer of {self.case.patient}",
            "image/png": base64.b64encode(self.picture.value).decode(),
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.panel.model_id,
            },
        }
        return bundle, {"image/png": {"alt": self.wheel.alt}}
