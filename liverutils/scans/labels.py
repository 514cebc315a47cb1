"""Masks that are no labels yet, and what they mean where that is unambiguous."""

import numpy as np

from liverutils.scans.case import LIVER, TUMOR

# How far a scaled value may lie from a whole number, or from the middle of the others.
TOLERANCE = 0.01


def as_labels(values: np.ndarray, unread: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Turn the values of a mask into labels where it is clear which are meant.

    - One structure on 0, of a value that no list of labels has (255, 32767, 0.0039): liver.
    - Two, the second of twice the first's value (127 and 255): liver and tumour.
    - Whole numbers that were scaled on the way (0.9999, 2.0001).
    - Values all through 0 to 1: the probability of liver, cut at one half.

    A whole number from 3 to 254 may be the number of another organ and is left as it is.

    Args:
        values: (X, Y, Z) float32, as the file gives them.
        unread: uint8, the same with 255 for what is no label.

    Returns:
        uint8 labels, `unread` where nothing is clear, and the repair as for `Case.provenance`.
    """
    found = _few_values(values)
    if found is None:
        if values.min() >= 0 and values.max() <= 1:
            detail = "values from 0 to 1 were taken as the probability of liver, cut at one half"
            return (values >= 0.5).view(np.uint8), {"probabilities": detail}
        return unread, {}
    if not np.isfinite(found).all() or found[0] != 0 or len(found) < 2:
        return unread, {}
    whole = np.rint(found)
    is_whole = np.abs(found - whole).max() <= TOLERANCE and (np.diff(whole) > 0).all()
    if is_whole and whole[-1] <= TUMOR:
        return _relabel(values, found, whole)
    if len(found) == 2 and not _is_number_of_an_organ(found[1]):
        return _relabel(values, found, np.array([0, LIVER]))
    is_doubled = len(found) == 3 and abs(found[1] / found[2] - 0.5) <= TOLERANCE
    if is_doubled and not _is_number_of_an_organ(found[2]):
        return _relabel(values, found, np.array([0, LIVER, TUMOR]))
    return unread, {}


def _relabel(
    values: np.ndarray, found: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, dict[str, str]]:
    was = ", ".join(f"{value:.4g}" for value in found)
    now = ", ".join(f"{label:.0f}" for label in labels)
    relabelled = labels.astype(np.uint8)[np.searchsorted(found, values)]
    return relabelled, {"scaled_labels": f"the values {was} were taken as {now}"}


def _is_number_of_an_organ(value: float) -> bool:
    return value == np.rint(value) and TUMOR < value < 255


def _few_values(values: np.ndarray, most: int = 8) -> np.ndarray | None:
    """Return the distinct values, sorted; None where there are more than a few."""
    found = np.empty(0, values.dtype)
    for plane in np.moveaxis(values, 2, 0):
        found = np.union1d(found, plane)
        if len(found) > most:
            return None
    return found
