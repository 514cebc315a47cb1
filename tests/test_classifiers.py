"""Classification networks: the papers' layers, fitted to CT; weights; where they look."""

from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import WeightsEnum, get_model

from liverutils.errors import BadInput
from liverutils.models import build_model, count_parameters, grad_cam
from liverutils.models.classifiers import CLASSIFIERS

SMALL = {"AlexNet": {"hidden": 32}, "VGG19": {"hidden": 32}}
TORCHVISION = {name: other for name, other in CLASSIFIERS.items() if other}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_one_logit_per_class_and_slice_from_64_pixels(name, in_channels):
    model = build_model(name, in_channels=in_channels, **SMALL.get(name, {})).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, in_channels, 64, 64))
    assert logits.shape == (2, 3)


@pytest.mark.parametrize("name", TORCHVISION)
def test_layers_are_those_of_the_paper(name):
    with torch.device("meta"):
        paper = get_model(TORCHVISION[name])
        ours = build_model(name, in_channels=3, classes=1000)
    shapes = [p.shape for p in ours.parameters()]
    assert shapes == [p.shape for p in paper.parameters()]
    with torch.device("meta"):
        fitted = build_model(name, in_channels=1, classes=3)
    first, last = list(fitted.parameters())[0], list(fitted.parameters())[-2]
    assert first.shape == (shapes[0][0], 1, *shapes[0][2:])
    assert last.shape == (3, shapes[-2][1])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_no_two_blocks_share_weights(name):
    model = build_model(name, **SMALL.get(name, {}))
    with_repeats = list(model.named_parameters(remove_duplicate=False))
    assert len({p.data_ptr() for _, p in with_repeats}) == len(with_repeats)


def test_plain_resnet34_lacks_the_shortcuts_and_nothing_else():
    plain, residual = build_model("ResNet34_plain"), build_model("ResNet34")
    shortcuts = sum(
        count_parameters(m) for n, m in residual.named_modules() if n.endswith("downsample")
    )
    assert count_parameters(plain) == count_parameters(residual) - shortcuts
    for block in [m for m in plain.modules() if hasattr(m, "conv2")]:
        nn.init.zeros_(block.bn2.weight)
        features = torch.randn(1, block.conv1.in_channels, 8, 8)
        assert not block(features).any()  # nothing passes around the convolutions


def test_default_initialisation_is_pytorch_s_uniform_one():
    torch.manual_seed(0)
    for name in ("VGG19", "ResNet18"):
        layer = [m for m in build_model(name).modules() if isinstance(m, nn.Conv2d)][-1]
        bound = layer.weight[0].numel() ** -0.5
        assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)


def test_small_slices_are_refused():
    with pytest.raises(BadInput, match="63 pixels are too small"):
        build_model("ResNet18")(torch.zeros(1, 1, 64, 63))


@pytest.fixture
def weights_at_hand(monkeypatch):
    """Have torchvision find weights without the internet; return them."""
    torch.manual_seed(1)
    state = get_model("resnet18").state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: dict(state))
    return state


def test_imagenet_kernels_answer_to_equal_slices_as_to_grey(weights_at_hand):
    grey = torch.randn(2, 1, 64, 64)
    expected = nn.functional.conv2d(grey.repeat(1, 3, 1, 1), weights_at_hand["conv1.weight"])
    for n in (1, 3, 5):
        model = build_model("ResNet18", in_channels=n, pretrained=True)
        answer = nn.functional.conv2d(grey.repeat(1, n, 1, 1), model.conv1.weight)
        assert torch.allclose(answer, expected, atol=1e-5)
        assert torch.equal(model.layer4[1].conv2.weight, weights_at_hand["layer4.1.conv2.weight"])
    assert model.fc.out_features == 3


def test_imagenet_weights_that_cannot_be_had_are_said(monkeypatch):
    def fail(self, **options):
        raise URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(BadInput, match="ResNet50 cannot be had from http.*pretrained=False"):
        build_model("ResNet50", pretrained=True)
    with pytest.raises(BadInput, match="no ImageNet weights"):
        build_model("ResNet34_plain", pretrained=True)


class BrightOrDark(nn.Module):
    """Class 1 speaks for bright patches, class 2 for dark ones."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 8, stride=8, bias=False), nn.ReLU())
        with torch.no_grad():
            self.features[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1) / 64)

    def forward(self, images):
        bright, dark = self.features(images).mean((2, 3)).T
        return torch.stack([0 * bright, bright, dark], 1)


def test_grad_cam_shows_what_spoke_for_the_class():
    images = torch.zeros(2, 1, 32, 32)
    images[:, :, :8, :8], images[:, :, 24:, 24:] = 1, -1
    bright, dark = grad_cam(BrightOrDark(), images, torch.tensor([1, 2]))
    assert bright.shape == (32, 32)
    assert float(bright[:6, :6].min()) > 0.5 and not bright[16:, 16:].any()
    assert float(dark[26:, 26:].min()) > 0.5 and not dark[:16, :16].any()


@pytest.mark.parametrize("name", ["AlexNet", "ResNet18"])
def test_grad_cam_of_the_course_s_networks(name):
    torch.manual_seed(0)
    model = build_model(name, **SMALL.get(name, {}))
    images = torch.randn(3, 1, 64, 64)
    maps = grad_cam(model, images, torch.tensor([0, 1, 2]))
    assert maps.shape == (3, 64, 64)
    assert torch.isfinite(maps).all() and float(maps.min()) >= 0
    again = grad_cam(model, images, torch.tensor([0, 1, 2]))
    assert torch.equal(maps, again)
