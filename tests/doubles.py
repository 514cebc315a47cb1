"""Stand-ins that several tests share."""

from fastai.callback.core import Callback

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
