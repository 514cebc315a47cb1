"""What a network costs: its parameters, its arithmetic, its time."""

import time

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from liverutils.models.build import count_parameters


def network_cost(
    model: nn.Module,
    images: Tensor,
    *,
    dtype: str = "float32",
    channels_last: bool = False,
    repeats: int = 3,
) -> dict[str, float]:
    """Measure a network on a batch, in evaluation mode.

    Args:
        model: The network, on the device of the batch.
        images: (B, C, H, W) float32.
        dtype: Number format that the network computes in, such as "bfloat16".
        channels_last: Order of the axes in memory.
        repeats: Timed passes after a first one; the fastest counts, since whatever else the
            machine does can only slow a pass down.

    Returns:
        `parameters`; `gflops`, billions of multiplications and additions for one slice, as torch's
        flop counter finds them (convolutions and matrix products); `ms_per_slice`.
    """
    was_training = model.training
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.eval().to(memory_format=layout)
    images = images.contiguous(memory_format=layout)
    mixed = torch.autocast(images.device.type, getattr(torch, dtype), enabled=dtype != "float32")
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            model(images[:1])
        with mixed:
            seconds = min(_time_pass(model, images) for _ in range(repeats + 1))
    model.train(was_training)
    return {
        "parameters": count_parameters(model),
        "gflops": counter.get_total_flops() / 1e9,
        "ms_per_slice": 1000 * seconds / len(images),
    }


def _time_pass(model: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    model(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
