"""All that a run needs to go on after it died."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.models import Settings
from liverutils.training.precision import use_settings

BEST = ("best", "best_loss", "best_epoch")  # what `KeepBest` remembers


class Checkpoint(Callback):
    """Save after every epoch all that a run needs to go on.

    Args:
        path: The checkpoint, written aside and renamed.
        facts: What the run is (parameters, data, split); a checkpoint of another run is not used.
        epochs: After so many all is trained.

    Attributes:
        run_id: Of the run, see `runs.RunLogs`.
        is_done: Whether all is trained, so that only the scoring is left.
    """

    order = 63

    def __init__(self, path: Path, facts: dict[str, Any], epochs: int) -> None:
        self.path, self.facts, self.epochs = path, json.loads(json.dumps(facts)), epochs
        self.run_id: str | None = None
        self.is_done = False

    def load(self) -> int:
        """Take up the run where its checkpoint ends; return the first epoch still to do.

        Raises:
            BadInput: broken_checkpoint.
        """
        if not self.path.is_file():
            return 0
        try:
            return self._take_up(torch.load(self.path, self.dls.device, weights_only=True))
        except Exception as error:  # Damaged bytes make torch raise anything, and no two alike.
            raise BadInput(
                f"{self.path} cannot be read ({type(error).__name__}): it is damaged or no "
                "checkpoint of this course. Delete it, and the run begins anew.",
                fault="broken_checkpoint",
            ) from error

    def _take_up(self, state: dict[str, Any]) -> int:
        if state["facts"] != self.facts:
            print(f"{self.path.name} is of a run with other parameters or data: starting anew.")
            return 0
        use_settings(self.learn, Settings(**state["settings"]))
        self.model.load_state_dict(state["model"])
        self.opt.load_state_dict(state["optimizer"])
        for name in BEST:
            setattr(self.learn.keep_best, name, state[name])
        self.run_id, self.is_done = state["run_id"], state["is_done"]
        self.learn.epoch = state["epochs_done"] - 1
        if self.is_done:
            print(f"All was trained, up to epoch {self.learn.epoch}; resume=False trains it anew.")
        else:
            print(f"Resuming after epoch {self.learn.epoch}.")
        return state["epochs_done"]

    def after_epoch(self) -> None:
        """Save the state, whole or not at all."""
        is_over = self.learn.keep_best.is_over()
        state = {
            "run_id": self.run_id,
            "is_done": is_over or self.epoch + 1 == self.epochs,
            "facts": self.facts,
            "settings": asdict(self.learn.settings),
            "model": self.model.state_dict(),
            "optimizer": _plain(self.opt.state_dict()),
            "epochs_done": self.epoch + 1,
        } | {name: getattr(self.learn.keep_best, name) for name in BEST}
        with written_aside(self.path) as aside:
            torch.save(state, aside)
        if is_over:
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
