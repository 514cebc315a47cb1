"""What a network asks of its input: sizes that it can halve, batches to average over."""

from typing import NamedTuple

from liverutils.models.classifiers import CLASSIFIERS
from liverutils.models.deeplab import ENCODERS


class InputRule(NamedTuple):
    """What the slices given to a network must be.

    Attributes:
        multiple: Their side in pixels is a multiple of it.
        at_least: Their side in pixels is no less.
        batch_size: Of a training batch, no less.
    """

    multiple: int = 1
    at_least: int = 1
    batch_size: int = 1


def input_rule(network: str, output_stride: int = 16) -> InputRule:
    """Return what a network of `MODELS` asks of its input.

    Args:
        network: Its name.
        output_stride: Of a DeepLabV3+: input pixels per pixel of its deepest features.
    """
    if network in ENCODERS:
        # Its pooled branch is one pixel a slice: a batch of one leaves nothing to normalise over.
        return InputRule(output_stride, output_stride, batch_size=2)
    if network in CLASSIFIERS:
        return InputRule(at_least=64)
    rules = {
        "SimpleCNN": InputRule(at_least=8),
        "UNet": InputRule(16, 16),
        "MultiView": InputRule(16, 16),
        "ResUNet": InputRule(8, 8),
        "ResNet_segmentation": InputRule(at_least=32),
    }
    return rules[network]
