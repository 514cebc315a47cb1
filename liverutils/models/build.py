"""The course's networks by name."""

from collections.abc import Callable
from typing import Any

from torch import nn

from liverutils.errors import BadInput
from liverutils.models.classifiers import CLASSIFIERS, classifier
from liverutils.models.deeplab import ENCODERS, deeplabv3plus
from liverutils.models.multitask import MultiTaskUNet
from liverutils.models.resnet_segmentation import ResNetSegmentation
from liverutils.models.resunet import ResUNet
from liverutils.models.simple_cnn import SimpleCNN
from liverutils.models.unet import UNet


def _from_scratch(network: type[nn.Module]) -> Callable[..., nn.Module]:
    """A builder of a network that has no ImageNet weights."""

    def build(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise BadInput(f"{name} has no ImageNet weights: run it with pretrained=False.")
        return network(**options)

    return build


def _resnet_segmentation(name: str, **options: Any) -> nn.Module:
    return ResNetSegmentation(**options)


MODELS: dict[str, Callable[..., nn.Module]] = (
    {
        "SimpleCNN": _from_scratch(SimpleCNN),
        "UNet": _from_scratch(UNet),
        "ResNet_segmentation": _resnet_segmentation,
        "ResUNet": _from_scratch(ResUNet),
        "MultiView": _from_scratch(MultiTaskUNet),
    }
    | dict.fromkeys(CLASSIFIERS, classifier)
    | dict.fromkeys(ENCODERS, deeplabv3plus)
)


def build_model(
    name: str, *, init: str = "default", pretrained: bool = False, **options: Any
) -> nn.Module:
    """Return a network of the course.

    Args:
        name: A key of `MODELS`.
        init: "default" leaves PyTorch's own initialisation, "normal" draws convolutions and linear
            layers from He's normal distribution, https://arxiv.org/abs/1502.01852.
        pretrained: Start from ImageNet weights, where the network has them.
        options: What the network's own builder takes, such as `in_channels` and `classes`.

    Returns:
        The network; its `recipe` holds what builds it again, weights apart.

    Raises:
        BadInput: An unknown name or `init`, or weights that cannot be had.
    """
    if name not in MODELS:
        raise BadInput(f"There is no network {name!r}; there are {', '.join(MODELS)}.")
    if init not in ("default", "normal"):
        raise BadInput(f"init is {init!r}: it must be 'default' or 'normal'.")
    if pretrained and init == "normal":
        raise BadInput("init='normal' would overwrite the ImageNet weights: choose one of both.")
    model = MODELS[name](name, pretrained=pretrained, **options)
    model.recipe = {"name": name, **options}  # type: ignore[assignment]  # No Module, but ours.
    if init == "normal":
        model.apply(_draw_normal)
    return model


def _draw_normal(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def count_parameters(model: nn.Module) -> int:
    """Number of distinct trainable numbers in a network."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
