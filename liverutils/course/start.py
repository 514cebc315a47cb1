"""What the start notebook says about the machine, and how long others' machines took."""

import os
import shutil
import time
from pathlib import Path

import pandas as pd
import psutil
import torch
from torch.nn.functional import conv2d

from liverutils.course.repository import repository_root
from liverutils.runs import cpu_name, load_runs

# The environment, the phantom and its stores take so much, with some room to move.
DISK_GB, MEMORY_GB = 10, 6
# A format that is not clearly faster is not worth its rounding.
WORTH_IT = 1.2


def check_machine() -> pd.DataFrame:
    """Look at this machine; takes a second or two.

    Returns:
        A row for cores, memory, GPU, bfloat16 and disk: what is here, and what it means.
    """
    memory = psutil.virtual_memory().total / 2**30
    disk = shutil.disk_usage(repository_root()).free / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    gain = bfloat16_gain()
    rows = {
        "cores": (f"{os.cpu_count()}, {cpu_name()}", _cores(os.cpu_count() or 1)),
        "memory": (f"{memory:.0f} GB", _enough(memory, MEMORY_GB, "close other programs")),
        "GPU": (gpu or "none", _gpu(gpu)),
        "bfloat16": (f"{gain:.1f} times as fast as float32", _bfloat16(gain)),
        "disk": (f"{disk:.0f} GB free", _enough(disk, DISK_GB, "make room first")),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["here", "what it means"])


def bfloat16_gain(seconds: float = 0.3) -> float:
    """Return how much faster a convolution is in bfloat16 than in float32, on the GPU or CPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    steps = {
        dtype: _steps_in(seconds, torch.rand(2, 16, 64, 64, device=device, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    }
    return steps[torch.bfloat16] / steps[torch.float32]


@torch.inference_mode()
def _steps_in(seconds: float, images: torch.Tensor) -> float:
    """Convolutions a second."""
    kernel = torch.rand(16, 16, 3, 3, device=images.device, dtype=images.dtype)
    steps, start = 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - start < seconds:
        conv2d(images, kernel).sum().item()  # What is asked for has been computed.
        steps += 1
    return steps / (time.perf_counter() - start)


def _cores(cores: int) -> str:
    if cores < 2:
        return "slow: take Colab, or the notebooks' smallest values"
    return "enough for the values of profile `cpu`"


def _enough(here: float, needed: float, otherwise: str) -> str:
    return "enough" if here >= needed else f"{needed} GB are needed: {otherwise}"


def _gpu(name: str) -> str:
    return "take the values of profile `gpu`" if name else "none is needed; Colab lends one"


def _bfloat16(gain: float) -> str:
    if gain > WORTH_IT:
        return "trainings will use it"
    return "trainings will try it and stay with float32" if gain < 1 / WORTH_IT else "no matter"


def training_minutes(logs_dir: Path | str) -> pd.DataFrame:
    """Return how long the runs in a folder of logs trained, and on what: run → minutes, machine."""
    rows = {
        name: {
            "minutes": run.tables["runtime"].runtime.sum() / 60,
            "pixels": run.record.data["size"],
            "cores": run.record.machine["cores"],
            "machine": run.record.machine["device"],
        }
        for name, run in load_runs(logs_dir).items()
        if run.has("runtime.runtime", "machine.cores", "data.size")
    }
    return pd.DataFrame.from_dict(rows, orient="index").round({"minutes": 1})
