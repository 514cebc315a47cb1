"""From the grey values of exported pictures to Hounsfield units, without looking at the labels."""

import numpy as np
from scipy import ndimage, signal

AIR_HU, SOFT_HU = -1000.0, 70.0
# Air lies at the bottom of the pictures' range, soft tissue between lung and bone.
AIR, SOFT = (0.0, 0.2), (0.35, 0.65)


def grey_to_hu(image: np.ndarray) -> np.ndarray:
    """Map the grey values of a body's CT to HU by its two surest hills, air and soft tissue.

    Whoever exported the pictures mapped HU to grey linearly and kept neither slope nor offset; but
    around every body is air, near -1000 HU, and the last hill before bone is soft tissue: muscle
    and enhanced organs together, near 70 HU. What comes out is a guess, good to some tens of HU:
    enough to segment, too little to measure.

    Args:
        image: (X, Y, Z), grey values.

    Returns:
        (X, Y, Z) int16.
    """
    low, high = float(image.min()), float(image.max())
    counts, edges = np.histogram(image, bins=256, range=(low - 0.5, high + 0.5))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 1.0)
    centres = (edges[:-1] + edges[1:]) / 2
    air = centres[smooth[: int(AIR[1] * len(smooth))].argmax()]
    soft = centres[_last_hill(smooth, *SOFT)]
    slope = (SOFT_HU - AIR_HU) / (soft - air)
    hu = AIR_HU + (image.astype(np.float32) - air) * slope
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _last_hill(counts: np.ndarray, low: float, high: float) -> int:
    """Index of the last hill in a part of the histogram; of its tallest bin where there is none."""
    first, last = int(low * len(counts)), int(high * len(counts))
    part = counts[first:last]
    hills, _ = signal.find_peaks(part, prominence=part.max() / 100)
    return first + int(hills[-1] if len(hills) else part.argmax())
