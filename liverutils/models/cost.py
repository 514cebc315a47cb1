"""What a network costs: its parameters, its arithmetic, its time."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from liverutils.models.build import count_parameters
from liverutils.models.precision import Settings, fastest_time

PLAIN = Settings()


def network_cost(
    model: nn.Module, images: Tensor, settings: Settings = PLAIN, *, repeats: int = 3
) -> dict[str, float]:
    """Measure a network on a batch, in evaluation mode.

    Args:
        model: The network, on the device of the batch.
        images: (B, C, H, W) float32.
        settings: How the network is computed.
        repeats: Timed passes after a first one; the fastest counts.

    Returns:
        `parameters`; `gflops`, billions of multiplications and additions for one slice, as torch's
        flop counter finds them (convolutions and matrix products); `ms_per_slice`.
    """
    was_training = model.training
    settings.lay_out(model.eval())
    images = settings.lay_out_batch(images)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            model(images[:1])
        with settings.autocast(images.device):
            seconds = fastest_time(lambda: model(images), images.device, repeats)
    model.train(was_training)
    return {
        "parameters": count_parameters(model),
        "gflops": counter.get_total_flops() / 1e9,
        "ms_per_slice": 1000 * seconds / len(images),
    }
