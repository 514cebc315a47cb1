"""A learner's number format and memory layout, chosen by a short trial on the machine at hand."""

import copy
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.learner import Learner
from fastai.torch_core import apply, to_float
from torch import Tensor, nn

from liverutils.errors import BadInput
from liverutils.models import Settings, fastest_time


def choose_device(device: str = "auto") -> torch.device:
    """Return "cuda" or "cpu" as asked; "auto" takes the GPU where there is one.

    Raises:
        BadInput: A GPU is asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(f"device is {device!r}, but PyTorch sees no GPU here: use 'auto' or 'cpu'.")
    return torch.device(device)


def try_settings(
    model: nn.Module, loss_func: Callable, images: Tensor, targets: Any, steps: int = 2
) -> pd.DataFrame:
    """Time a training step under each setting, on a copy of the model.

    Args:
        model: The network, on the device of the batch.
        loss_func: Maps (output, targets) to a number.
        images: (B, C, H, W) float32.
        targets: What `loss_func` takes: a tensor, or a tuple of them.
        steps: Timed steps each, after one that is not.

    Returns:
        Columns dtype, channels_last, images_per_second; the fastest first. Settings within 5 % of
        the fastest count as equal, and the plainest of them comes first.
    """
    half = ["bfloat16"] if images.device.type == "cpu" else ["float16", "bfloat16"]
    rows, best = [], np.inf
    for dtype in ["float32", *half]:
        for channels_last in (False, True):
            settings = Settings(dtype, channels_last)
            seconds = _time_steps(settings, model, loss_func, images, targets, steps, 3 * best)
            best = min(best, seconds)
            rows.append(asdict(settings) | {"images_per_second": len(images) / seconds})
    table = pd.DataFrame(rows)
    is_fast = table.images_per_second >= 0.95 * table.images_per_second.max()
    return pd.concat(
        [table[is_fast], table[~is_fast].sort_values("images_per_second", ascending=False)],
        ignore_index=True,
    )


def _time_steps(
    settings: Settings,
    model: nn.Module,
    loss_func: Callable,
    images: Tensor,
    targets: Any,
    steps: int,
    limit: float,
) -> float:
    """Seconds of the fastest training step; the first one's where that exceeds `limit`."""
    model = settings.lay_out(copy.deepcopy(model).train())
    images = settings.lay_out_batch(images)

    def step() -> None:
        with settings.autocast(images.device):
            output = model(images)
        loss_func(to_float(output), targets).backward()
        model.zero_grad()

    return fastest_time(step, images.device, steps, limit)


class MemoryFormat(Callback):
    """Lay model and images out in memory as the settings say."""

    order = -10

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def before_fit(self) -> None:
        """Lay out the model."""
        self.settings.lay_out(self.model)

    def before_batch(self) -> None:
        """Lay out the images."""
        self.learn.xb = tuple(map(self.settings.lay_out_batch, self.xb))


class BFloat16(Callback):
    """Compute in bfloat16 where it is safe, on any device (fastai's own knows CUDA only)."""

    order = 10

    def before_batch(self) -> None:
        """Enter the mixed-precision context."""
        self.autocast = Settings("bfloat16").autocast(self.x.device)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Leave it: the loss is computed in float32."""
        self.autocast.__exit__(None, None, None)
        self.learn.pred = to_float(self.pred)


def use_settings(learn: Learner, settings: Settings) -> None:
    """Have a learner compute as `settings` say."""
    learn.remove_cbs([MemoryFormat, BFloat16, MixedPrecision])
    learn.settings = settings
    learn.add_cb(MemoryFormat(settings))
    if settings.dtype == "bfloat16":
        learn.add_cb(BFloat16())
    elif settings.dtype == "float16":
        learn.add_cb(MixedPrecision(amp_mode=AMPMode.FP16))


def use_fastest_settings(learn: Learner, batch_size: int = 8) -> pd.DataFrame:
    """Try the settings on one training batch, use the fastest, and return the trial's table."""
    images, targets = next(iter(learn.dls.train))
    learn.model.to(images.device)
    few = apply(lambda batch: batch[:batch_size], (images, targets))
    trial = try_settings(learn.model, learn.loss_func, *few)
    use_settings(learn, Settings(trial.dtype[0], bool(trial.channels_last[0])))
    return trial
