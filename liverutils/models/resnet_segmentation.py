"""A ResNet that was made to classify, and a small head that asks every stage of it."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from liverutils.models.classifiers import classifier


class ResNetSegmentation(nn.Module):
    """ResNet encoder and a pyramid of 1×1 convolutions that adds up what its stages know.

    The coarsest features are enlarged and added to those of the stage before, down to half the
    size of the images; logits follow there and are enlarged to full size. This is the top-down path
    of feature pyramid networks, https://arxiv.org/abs/1612.03144, with one output.

    Images may have any size of at least 32 pixels a side.

    Args:
        in_channels: Slices per input.
        classes: Channels of the output.
        encoder: A ResNet that `classifiers.classifier` knows.
        head_width: Channels of the pyramid.
        pretrained: Start the encoder from ImageNet weights.

    Raises:
        BadInput: The weights cannot be had.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 3,
        encoder: str = "ResNet18",
        head_width: int = 32,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        resnet: Any = classifier(encoder, in_channels=in_channels, pretrained=pretrained)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu),
                nn.Sequential(resnet.maxpool, resnet.layer1),
                resnet.layer2,
                resnet.layer3,
                resnet.layer4,
            ]
        )
        channels = [64, *(64 * 2**i * resnet.layer1[0].expansion for i in range(4))]
        self.lateral = nn.ModuleList(nn.Conv2d(n, head_width, 1) for n in channels)
        self.head = nn.Sequential(
            nn.Conv2d(head_width, head_width, 3, padding=1, bias=False),
            nn.BatchNorm2d(head_width),
            nn.ReLU(inplace=True),
            nn.Conv2d(head_width, classes, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, in_channels, H, W) to logits (B, classes, H, W)."""
        features = [images]
        for stage in self.stages:
            features.append(stage(features[-1]))
        laterals = [lateral(f) for lateral, f in zip(self.lateral, features[1:], strict=True)]
        pyramid = laterals.pop()
        while laterals:
            pyramid = _enlarge(pyramid, laterals[-1]) + laterals.pop()
        return _enlarge(self.head(pyramid), images)


def _enlarge(features: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(features, like.shape[-2:], mode="bilinear")


def encoder_and_head(model: ResNetSegmentation) -> list[list[nn.Parameter]]:
    """Return the parameters of the early stages, of the late stages and of the head.

    These are fastai's parameter groups: `Learner.freeze` trains the last one only.
    """
    early, late = model.stages[:3], model.stages[3:]
    head = nn.ModuleList([model.lateral, model.head])
    return [list(part.parameters()) for part in (early, late, head)]
