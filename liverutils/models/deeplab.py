"""DeepLabV3+: one encoder, many atrous rates, a light decoder."""

from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from liverutils.errors import BadInput
from liverutils.models.imagenet import load_lite0

LITE0 = "timm-tf_efficientnet_lite0"

ENCODERS = {
    "DeepLabV3Plus": "resnet34",
    "DeepLabV3Plus_ResNet34": "resnet34",
    "DeepLabV3Plus_ResNet50": "resnet50",
    "DeepLabV3Plus_EfficientNet": "efficientnet-b0",
    "DeepLabV3Plus_EfficientNetLite0": LITE0,
    "DeepLabV3Plus_MobileNet": "mobilenet_v2",
}


def deeplabv3plus(
    name: str, in_channels: int = 1, classes: int = 3, pretrained: bool = False, **options: Any
) -> nn.Module:
    """Return DeepLabV3+ of Chen et al., https://arxiv.org/abs/1802.02611, with an encoder by name.

    It maps images (B, in_channels, H, W) to logits (B, classes, H, W); H and W are multiples of 16.

    Args:
        name: A key of `ENCODERS`.
        in_channels: Slices per input.
        classes: Channels of the output.
        pretrained: Start the encoder from ImageNet weights.
        options: What else `segmentation_models_pytorch.DeepLabV3Plus` takes.

    Raises:
        BadInput: The ImageNet weights cannot be had.
    """
    if pretrained and ENCODERS[name] == LITE0:
        network = smp.DeepLabV3Plus(LITE0, encoder_weights=None, classes=classes, **options)
        load_lite0(network.encoder)
        network.encoder.set_in_channels(in_channels, pretrained=True)
        return network
    try:
        return smp.DeepLabV3Plus(
            ENCODERS[name],
            encoder_weights="imagenet" if pretrained else None,
            in_channels=in_channels,
            classes=classes,
            **options,
        )
    except OSError as error:
        raise BadInput(
            f"The ImageNet weights of {ENCODERS[name]} cannot be downloaded: connect to the "
            "internet or run with pretrained=False.",
            fault="no_pretrained_weights",
        ) from error
