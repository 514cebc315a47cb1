"""The course's networks by name, and their weights on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.models.classifiers import CLASSIFIERS, classifier
from liverutils.models.deeplab import ENCODERS, deeplabv3plus
from liverutils.models.multitask import MultiTaskUNet
from liverutils.models.resnet_segmentation import ResNetSegmentation
from liverutils.models.resunet import ResUNet
from liverutils.models.simple_cnn import SimpleCNN
from liverutils.models.unet import UNet


def _from_scratch(network: type[nn.Module]) -> Callable[..., nn.Module]:
    """A builder of a network that has no ImageNet weights."""

    def build(name: str, pretrained: bool = False, **options) -> nn.Module:
        if pretrained:
            raise BadInput(f"{name} has no ImageNet weights: run it with pretrained=False.")
        return network(**options)

    return build


def _resnet_segmentation(name: str, **options) -> nn.Module:
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


def build_model(name: str, *, init: str = "default", pretrained: bool = False, **options):
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
    model.recipe = {"name": name, **options}
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


def save_weights(
    model: nn.Module, path: Path | str, facts: dict[str, Any], half: bool = False
) -> None:
    """Write a network's weights as safetensors, with the facts needed to use them.

    Args:
        model: The network, from `build_model`.
        path: Ends in .safetensors; written aside and renamed.
        facts: Kept as JSON beside the recipe of the network.
        half: Store floating-point weights in half precision.
    """
    tensors = {
        name: (t.half() if half and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in model.state_dict().items()
    }
    facts = facts | {"model": model.recipe}
    content = save(tensors, metadata={"facts": json.dumps(facts)})
    with written_aside(path) as aside:  # save_file leaves a file of its own when it is killed
        aside.write_bytes(content)


def load_weights(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network that `save_weights` wrote to `path`; return it and its facts.

    Nothing is unpickled.

    Raises:
        BadInput: No such file, not safetensors (a pickle, a truncated file), written by another
            program, or weights that do not fit the network that the file names.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There are no weights at {path}: check the path or train first.")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
        tensors = load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadInput(
            f"{path} is not a weights file of this course (safetensors with its facts): it may be "
            "a pickle, cut short or written by another program; save it with "
            "`liverutils.models.save_weights`.",
            fault="bad_weights",
        ) from error
    model = build_model(**facts["model"])
    own = model.state_dict()
    if own.keys() != tensors.keys() or any(own[k].shape != tensors[k].shape for k in own):
        raise BadInput(
            f"The weights in {path} do not fit the network they name, {facts['model']}: take the "
            "file that was saved with it.",
            fault="other_architecture",
        )
    model.load_state_dict({name: t.to(own[name].dtype) for name, t in tensors.items()})
    return model.eval(), facts
