"""Networks that give a whole slice one class: AlexNet, VGG and the ResNets, fitted to CT.

They are torchvision's own, https://arxiv.org/abs/1404.5997, https://arxiv.org/abs/1409.1556 and
https://arxiv.org/abs/1512.03385, with as many input channels and classes as asked for.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.resnet import BasicBlock, ResNet

from liverutils.errors import BadInput

CLASSIFIERS = {
    "AlexNet": "alexnet",
    "VGG19": "vgg19",
    "ResNet18": "resnet18",
    "ResNet34": "resnet34",
    "ResNet34_plain": None,
    "ResNet50": "resnet50",
    "ResNet152": "resnet152",
}
SMALLEST_SIDE = 64
PAPERS_HIDDEN = 4096


class PlainBlock(BasicBlock):
    """The two convolutions of ResNet's basic block, without the shortcut around them."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1, *_: Any, **__: Any) -> None:
        super().__init__(n_in, n_out, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""
        features = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(features)))


def classifier(
    name: str,
    in_channels: int = 1,
    classes: int = 3,
    pretrained: bool = False,
    hidden: int = PAPERS_HIDDEN,
    **options: Any,
) -> nn.Module:
    """Return a network that maps images (B, in_channels, H, W) to logits (B, classes).

    H and W are at least 64. Without ImageNet weights, convolutions and linear layers start from
    PyTorch's own uniform distribution, also where torchvision would choose another.

    Args:
        name: A key of `CLASSIFIERS`.
        in_channels: Slices per input.
        classes: Classes.
        pretrained: Start from ImageNet weights. The last layer starts anew. With other than three
            input channels, each gets the sum of the RGB kernels divided by their number, which
            answers to equal slices as the original answers to a grey picture.
        hidden: Units of AlexNet's and VGG19's two hidden fully connected layers. With the papers'
            4096 they hold nearly all weights; a CPU is glad of fewer.
        options: What else torchvision's own builder takes, such as `dropout`.

    Raises:
        BadInput: The weights do not exist or cannot be had, or the network has no hidden fully
            connected layers.
    """
    if hidden != PAPERS_HIDDEN and (pretrained or name not in ("AlexNet", "VGG19")):
        raise BadInput(
            f"{name} cannot have hidden={hidden}: only AlexNet and VGG19 without ImageNet weights "
            "can; leave hidden out."
        )
    if name == "ResNet34_plain" and pretrained:
        raise BadInput(f"{name} has no ImageNet weights: run it with pretrained=False.")
    with torch.device("meta"):  # Drawing takes long; it can wait for the final sizes.
        if name == "ResNet34_plain":
            model = ResNet(PlainBlock, [3, 4, 6, 3], **options)
        else:
            model = get_model(CLASSIFIERS[name], weights=None, **options)
    if pretrained:
        model.load_state_dict(_imagenet_weights(name), assign=True)
    _fit_first_layer(model, in_channels)
    if hidden != PAPERS_HIDDEN:
        _fit_hidden_layers(model, hidden)
    _fit_last_layer(model, classes)
    if not pretrained:
        model.to_empty(device="cpu").apply(_draw_default)
    model.register_forward_pre_hook(_check_size)
    return model


def _imagenet_weights(name: str) -> dict[str, Tensor]:
    weights = get_model_weights(CLASSIFIERS[name]).IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise BadInput(
            f"The ImageNet weights of {name} cannot be had from {weights.url} ({error}): connect "
            f"to the internet, put the file into {torch.hub.get_dir()}/checkpoints, or run with "
            "pretrained=False.",
            fault="no_pretrained_weights",
        ) from error


def _fit_first_layer(model: nn.Module, in_channels: int) -> None:
    layer = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    if in_channels != layer.in_channels:
        summed = layer.weight.detach().sum(1, keepdim=True)
        layer.weight = nn.Parameter(summed.repeat(1, in_channels, 1, 1) / in_channels)
        layer.in_channels = in_channels


def _fit_hidden_layers(model: nn.Module, units: int) -> None:
    layers = model.get_submodule("classifier")
    old = {name: layer for name, layer in layers.named_children() if isinstance(layer, nn.Linear)}
    n_in = next(iter(old.values())).in_features
    for name in old:
        layers.set_submodule(name, nn.Linear(n_in, units, device="meta"))
        n_in = units


def _fit_last_layer(model: nn.Module, classes: int) -> None:
    layer = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    layer.out_features = classes
    layer.weight = nn.Parameter(layer.weight.new_empty(classes, layer.in_features))
    layer.bias = nn.Parameter(layer.bias.new_empty(classes))
    layer.reset_parameters()


def _draw_default(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
        layer.reset_parameters()


def _check_size(model: nn.Module, inputs: tuple[Tensor]) -> None:
    side = min(inputs[0].shape[-2:])
    if side < SMALLEST_SIDE:
        raise BadInput(
            f"Slices of {side} pixels are too small for this network: take image_size "
            f"{SMALLEST_SIDE} or more.",
            fault="too_small",
        )
