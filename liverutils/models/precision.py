"""How a network is computed: its number format, its memory layout, and how long it takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Settings:
    """How a network is computed.

    Attributes:
        dtype: Number format, as torch names it; weights stay in float32.
        channels_last: Order of the axes in memory.
    """

    dtype: str = "float32"
    channels_last: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory layout as torch names it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def lay_out(self, model: nn.Module) -> nn.Module:
        """Lay out a network's weights in memory, in place; return it."""
        return model.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def lay_out_batch(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) in the layout that the network has."""
        return images.contiguous(memory_format=self.memory_format)

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the network computes in the number format, where that is safe."""
        dtype = getattr(torch, self.dtype)
        return torch.autocast(device.type, dtype, enabled=self.dtype != "float32")


def fastest_time(
    step: Callable[[], object], device: torch.device, repeats: int = 2, limit: float = np.inf
) -> float:
    """Return the seconds of the fastest of several steps, since whatever else runs slows one down.

    Args:
        step: What is timed.
        device: Where it computes; its end is waited for.
        repeats: Timed steps, after a first one that is not.
        limit: Where the first one alone takes longer, its time is returned.
    """
    first = _time(step, device)
    return first if first > limit else min(_time(step, device) for _ in range(repeats))


def _time(step: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
