"""One abdomen: its organs as fields of distances, its vessels as tubes."""

from dataclasses import dataclass, field

import numpy as np

from liverutils.phantom.shapes import COARSE_MM, Box, Grid, Tubes, upsample


@dataclass(frozen=True)
class Anatomy:
    """One abdomen.

    Attributes:
        grid: The coarse grid of the fields.
        fields: Organ name to distance in mm on `grid`.
        tubes: Vessel name to its tubes; these are too thin for the coarse grid.
        dome: z of the top of the liver in mm.
        floor: z of the lower end of liver and kidneys in mm.
        disc_period: Height of a vertebra with its disc in mm.
        width: Largest width of the body in mm.
        heart: Centre of the heart (x, y, z) in mm.
        front: y of the front of the abdominal muscles in mm.
        back: y of the skin of the back in mm.
        belly: y of the skin of the belly in mm.
        gas_level: y above which the stomach holds gas, in mm.
    """

    grid: Grid
    fields: dict[str, np.ndarray]
    tubes: dict[str, Tubes]
    dome: float
    floor: float
    disc_period: float
    width: float
    front: float
    back: float
    belly: float
    gas_level: float
    heart: np.ndarray
    _known_corners: dict[tuple[str, float], tuple[list, list]] = field(default_factory=dict)

    def distance(self, name: str, grid: Grid, margin: float = 6.0) -> tuple[Box, np.ndarray]:
        """The part of `grid` within `margin` mm of an organ, and the distances to it there."""
        box = grid.box(*self._corners(name, margin))
        part = grid.within(box)
        if 0 in part.shape:
            return box, np.empty(part.shape, np.float32)
        reach = 2 * COARSE_MM
        coarse = self.grid.box(
            [axis[0] - reach for axis in part.axes], [axis[-1] + reach for axis in part.axes]
        )
        return box, upsample(self.fields[name][coarse], self.grid.within(coarse), part)

    def _corners(self, name: str, margin: float) -> tuple[list[float], list[float]]:
        """Lowest and highest corner (z, x, y) of what lies within `margin` mm of an organ."""
        if (name, margin) not in self._known_corners:
            near = self.fields[name] < margin + COARSE_MM
            spans = [np.flatnonzero(near.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
            axes = self.grid.axes
            low = [a[max(s[0] - 1, 0)] for a, s in zip(axes, spans, strict=True)]
            high = [a[min(s[-1] + 1, len(a) - 1)] for a, s in zip(axes, spans, strict=True)]
            self._known_corners[name, margin] = low, high
        return self._known_corners[name, margin]
