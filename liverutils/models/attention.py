"""Where a classifier looked: Grad-CAM."""

import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn


def grad_cam(
    model: nn.Module, images: Tensor, classes: Tensor, layer: nn.Module | None = None
) -> Tensor:
    """Return maps (B, H, W), 0…1, of what spoke for a class: Selvaraju et al., arXiv:1610.02391.

    The channels of a layer are summed, each weighted by the mean gradient of the class's logit with
    respect to it; what is negative speaks against the class and becomes 0. Each map is scaled by
    its own maximum and interpolated to the images' size.

    Args:
        model: Maps images to logits (B, C).
        images: (B, C, H, W) on the model's device.
        classes: (B,) the class asked for in each image.
        layer: Whose output is looked at; by default `last_features`.
    """
    model.eval()
    layer = layer or last_features(model)
    maps = LayerGradCam(model, layer).attribute(images, target=classes, relu_attributions=True)
    maps = LayerAttribution.interpolate(maps, tuple(images.shape[-2:]), "bilinear")[:, 0].detach()
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def last_features(model: nn.Module) -> nn.Module:
    """Return the last layer of a network of `models.classifiers` whose output is a picture."""
    return model.get_submodule("layer4" if hasattr(model, "layer4") else "features")
