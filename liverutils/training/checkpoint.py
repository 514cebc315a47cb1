"""All that a run needs to go on after it died."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException

from liverutils.files import written_aside
from liverutils.models import Settings
from liverutils.training.precision import use_settings

BEST = ("best", "best_loss", "best_epoch")  # what `KeepBest` remembers


class Checkpoint(Callback):
    """Save after every epoch all that a run needs to go on.

    Args:
        path: The checkpoint, written aside and renamed.
        facts: What the run is (parameters, data, split); a checkpoint of another run is not used.
    """

    order = 63

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, json.loads(json.dumps(facts))

    def load(self) -> int:
        """Take up the run where its checkpoint ends; return the first epoch still to do."""
        if not self.path.is_file():
            return 0
        state = torch.load(self.path, map_location=self.dls.device, weights_only=True)
        if state["facts"] != self.facts:
            print(f"{self.path.name} is of a run with other parameters or data: starting anew.")
            return 0
        use_settings(self.learn, Settings(**state["settings"]))
        self.model.load_state_dict(state["model"])
        self.opt.load_state_dict(state["optimizer"])
        for name in BEST:
            setattr(self.learn.keep_best, name, state[name])
        print(f"Resuming after epoch {state['epochs_done'] - 1}.")
        return state["epochs_done"]

    def after_epoch(self) -> None:
        """Save the state, whole or not at all."""
        state = {
            "facts": self.facts,
            "settings": asdict(self.learn.settings),
            "model": self.model.state_dict(),
            "optimizer": _plain(self.opt.state_dict()),
            "epochs_done": self.epoch + 1,
        } | {name: getattr(self.learn.keep_best, name) for name in BEST}
        with written_aside(self.path) as aside:
            torch.save(state, aside)
        if self.learn.keep_best.is_over():
            raise CancelFitException


def _plain(optimizer: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state without NumPy's numbers, which fastai's schedules leave in it.

    They cannot be loaded without unpickling.
    """
    groups = [
        {key: value.item() if isinstance(value, np.generic) else value for key, value in g.items()}
        for g in optimizer["param_groups"]
    ]
    return optimizer | {"param_groups": groups}
