"""What a result may depend on besides its parameters: code, versions, device, memory."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

CODE = ("liverutils", "notebooks")


PACKAGES = ("torch", "torchvision", "fastai", "monai", "segmentation-models-pytorch", "numpy")


def machine_facts() -> dict[str, Any]:
    """Git revision, versions and device: what a result may depend on besides its parameters."""
    return {
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(),
        "cores": os.cpu_count(),
    }


def cpu_name() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0].partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mb() -> dict[str, int]:
    """Highest memory so far of this process, and of the GPU where there is one, in MiB."""
    peak = {"process": _peak_bytes() >> 20}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() >> 20
    return peak


def _peak_bytes() -> int:
    """Highest memory so far of this process, by what each system keeps."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource  # which Windows lacks

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return psutil.Process().memory_info().peak_wset


def _git_revision() -> str | None:
    """Revision of the checkout, marked `-dirty` if code or notebooks differ; None outside of git.

    What runs write into the checkout, such as their logs, does not count.
    """
    if given := os.environ.get("GIT_REVISION"):
        return given  # Of a copy without .git, by whoever made the copy.
    if not (revision := _git("describe", "--always", "--exclude=*")):
        return None
    return revision + ("-dirty" if _git("status", "--porcelain", "--", *CODE) else "")


def _git(*arguments: str) -> str:
    git = ["git", "-C", str(Path(__file__).parents[2]), *arguments]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
