"""A predicted and a true mask on one grid: checked, cropped, measured."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from liverutils.errors import BadInput

_EXPECTED_LABELS = {
    1: "0 and 1: pass one structure, such as labels > 0 for the liver or labels == 2 for tumour",
    2: "0 background, 1 liver, 2 tumour",
}


Spacing = Sequence[float] | None


def as_binary_pair(
    predicted: np.ndarray, true: np.ndarray, spacing: Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks as bool. Raises BadInput as `check_pair`."""
    predicted, true = np.asarray(predicted), np.asarray(true)
    check_pair(predicted, true, spacing, highest_label=1)
    return predicted.astype(bool, copy=False), true.astype(bool, copy=False)


def check_pair(
    predicted: np.ndarray, true: np.ndarray, spacing: Spacing, highest_label: int
) -> None:
    """Refuse masks that cannot be compared.

    Raises:
        BadInput: wrong_shape, wrong_spacing, unknown_labels.
    """
    if predicted.shape != true.shape or true.ndim not in (2, 3) or true.size == 0:
        raise BadInput(
            f"The predicted mask has shape {predicted.shape}, the true one {true.shape}: both "
            "must have the same 2 or 3 dimensions; nothing is resampled or broadcast.",
            fault="wrong_shape",
        )
    if spacing is not None and (len(spacing) != true.ndim or not min(spacing) > 0):
        raise BadInput(
            f"Spacing {tuple(spacing)} does not fit masks of shape {true.shape}: give one size in "
            "mm per axis, or None where it is not known.",
            fault="wrong_spacing",
        )
    for name, mask in (("predicted", predicted), ("true", true)):
        if mask.dtype.kind not in "bui" or mask.min() < 0 or mask.max() > highest_label:
            raise BadInput(
                f"The {name} mask has {mask.dtype} values from {mask.min()} to {mask.max()}; "
                f"expected the integers {_EXPECTED_LABELS[highest_label]}.",
                fault="unknown_labels",
            )


def crop_to_union(predicted: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crop both masks to the box around them and add a background voxel on every side.

    Beyond the volume's edge counts as background.
    """
    boxes = ndimage.find_objects((predicted | true).view(np.uint8))
    box = boxes[0] if boxes else (slice(0, 0),) * true.ndim
    return np.pad(predicted[box], 1), np.pad(true[box], 1)


def voxel_mm3(spacing: Spacing) -> float:
    """Volume of a voxel in mm³; NaN where the spacing is not known."""
    return float("nan") if spacing is None else float(np.prod(spacing))
