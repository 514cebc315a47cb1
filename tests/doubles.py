"""Stand-ins that several tests share."""

from pathlib import Path

import numpy as np
from fastai.callback.core import Callback

from liverutils.scans import nifti, turn_to_ras

# What the weights of a small network say it was trained on.
TRAINED_ON = {
    "view": "axial",
    "size": 32,
    "window": [-100.0, 240.0],
    "intensity": "HU",
    "context_slices": 0,
    "target": "mask",
}


class DieAfter(Callback):
    """Die like a killed process, after the files of an epoch are written."""

    order = 99

    def __init__(self, epoch):
        self.last = epoch

    def after_epoch(self):
        if self.epoch == self.last:
            raise KeyboardInterrupt


def read_nifti(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read the voxels of a scan alone, int16 (X, Y, Z) in RAS order, with their affine."""
    stored = nifti._read_stored(Path(path), np.int16, nifti._to_int16)
    return turn_to_ras(stored.array, stored.affine)
