"""Liver and tumours as bodies in space."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.ndimage import find_objects, gaussian_filter, zoom

from liverutils.figures.slices import label_legend
from liverutils.figures.style import LIVER_COLOUR, TUMOR_COLOUR
from liverutils.scans import LIVER, TUMOR

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
    return np.asarray(inside.any(2)), np.clip(np.tensordot(LIGHT, normals, 1), 0, 1)
