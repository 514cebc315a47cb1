"""Networks by name: shapes, parameter counts, initialisation, and weights on disk."""

import json
import pickle

import numpy as np
import psutil
import pytest
import torch
import torchvision
from torch import nn

from liverutils.errors import BadInput
from liverutils.models import build_loss, build_model, count_parameters, load_weights, save_weights
from liverutils.models.build import MODELS
from liverutils.models.classifiers import CLASSIFIERS
from liverutils.models.losses import BatchDice
from liverutils.models.resnet_segmentation import encoder_and_head

SMALL = {"UNet": {"width": 8}}


# MultiView answers two questions: see test_multiview.py.
ONE_OUTPUT = sorted(MODELS.keys() - CLASSIFIERS.keys() - {"MultiView"})


@pytest.mark.parametrize("name", ONE_OUTPUT)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_one_logit_per_class_and_pixel(name, in_channels):
    model = build_model(name, in_channels=in_channels, classes=3, **SMALL.get(name, {})).eval()
    with torch.no_grad():
        logits = model(torch.zeros(2, in_channels, 64, 64))
    assert logits.shape == (2, 3, 64, 64)


@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_logits_are_not_clipped(name):
    torch.manual_seed(0)
    model = build_model(name, classes=3, **SMALL.get(name, {})).eval()
    with torch.no_grad():
        assert (model(torch.randn(2, 1, 64, 64)) < 0).any()


def test_unet_has_the_paper_s_layers():
    widths = [64, 128, 256, 512, 1024]
    down = [(1, 64), (64, 64)] + [
        (n, m) for w in widths[:-1] for n, m in ((w, 2 * w), (2 * w,) * 2)
    ]
    up = [(n, m) for w in widths[:-1] for n, m in ((2 * w, w), (w, w))]
    kernels = 9 * sum(n * m for n, m in down + up)
    normalised = 2 * sum(m for _, m in down + up)
    rising = sum(2 * w * w * 4 + w for w in widths[:-1])
    head = 64 * 3 + 3
    total = count_parameters(build_model("UNet", width=64))
    assert total == kernels + normalised + rising + head == 31_036_611


def test_resunet_has_the_paper_s_units():
    down = [(1, 64), (64, 64)] + [
        (n, m) for w in (64, 128, 256) for n, m in ((w, 2 * w), (2 * w,) * 2)
    ]
    up = [(n, m) for w in (64, 128, 256) for n, m in ((3 * w, w), (w, w))]
    shortcuts = [(1, 64), (64, 128), (128, 256), (256, 512), (192, 64), (384, 128), (768, 256)]
    kernels = 9 * sum(n * m for n, m in down + up) + sum(n * m for n, m in shortcuts)
    before = 2 * sum(
        n for n, _ in down[1:] + up
    )  # each kernel but the image's is normalised before
    behind = 2 * sum(m for _, m in shortcuts)
    total = count_parameters(build_model("ResUNet", width=64))
    assert total == kernels + before + behind + 64 * 3 + 3


def test_narrow_resunet_trains_in_either_memory_format():
    for layout in (torch.contiguous_format, torch.channels_last):
        model = build_model("ResUNet", width=8).to(memory_format=layout)
        images = torch.randn(8, 1, 64, 64).contiguous(memory_format=layout)
        model(images).square().mean().backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())


def test_no_two_blocks_share_weights():
    model = build_model("UNet", width=8)
    storages = [p.data_ptr() for p in model.parameters()]
    assert len(storages) == len(set(storages))


def test_normal_initialisation_draws_he_s_distribution():
    torch.manual_seed(0)
    model = build_model("UNet", width=32, init="normal")
    weight = model.down[1][3].weight.detach()
    fan_in = weight.shape[1] * 9
    assert float(weight.std()) == pytest.approx(np.sqrt(2 / fan_in), rel=0.05)
    assert float(weight.abs().max()) > 3 * float(weight.std())  # a uniform draw ends at √3


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Unet", {}, "no network"),
        ("UNet", {"init": "xavier"}, "init"),
        ("UNet", {"pretrained": True}, "no ImageNet weights"),
        ("DeepLabV3Plus_ResNet34", {"init": "normal", "pretrained": True}, "choose one"),
        ("AlexNet", {"hidden": 8, "pretrained": True}, "cannot have hidden=8"),
        ("ResNet18", {"hidden": 8}, "cannot have hidden=8"),
    ],
)
def test_what_cannot_be_built_is_said(name, options, said):
    with pytest.raises(BadInput, match=said):
        build_model(name, **options)


@pytest.mark.parametrize("name", ["AlexNet", "VGG19"])
def test_hidden_layers_have_as_many_units_as_asked_for(name):
    model = build_model(name, hidden=8)
    linear = [layer.weight.shape for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert [tuple(shape) for shape in linear[1:]] == [(8, 8), (3, 8)]
    assert linear[0] == (8, 256 * 6 * 6 if name == "AlexNet" else 512 * 7 * 7)


def test_weights_come_back_with_their_facts(tmp_path):
    model = build_model("UNet", width=8).eval()
    save_weights(model, tmp_path / "w.safetensors", {"view": "axial"})
    loaded, facts = load_weights(tmp_path / "w.safetensors")
    images = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert facts["view"] == "axial"
    assert facts["model"] == {"name": "UNet", "width": 8}


def test_half_precision_weights_are_half_as_large_and_nearly_the_same(tmp_path):
    model = build_model("UNet", width=8).eval()
    for name, half in (("whole", False), ("half", True)):
        save_weights(model, tmp_path / name, {}, half=half)
    sizes = [(tmp_path / name).stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    images = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        halved = load_weights(tmp_path / "half")[0](images)
        assert torch.allclose(halved, model(images), atol=0.02)


def test_bad_weights_are_named(tmp_path):
    good = tmp_path / "good.safetensors"
    save_weights(build_model("UNet", width=8), good, {})
    pickled = tmp_path / "pickled.pt"
    pickled.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:-1000])
    for path in (pickled, truncated):
        with pytest.raises(BadInput, match=path.name):
            load_weights(path)
    with pytest.raises(BadInput, match="no weights"):
        load_weights(tmp_path / "missing.safetensors")


ABSURD = [
    {"width": 10**9},
    {"width": -4},
    {"width": 0},
    {"width": 1e308},
    {"width": float("nan")},
    {"width": "16"},
    {"in_channels": 10**7},
    {"pretrained": True},
    {"name": "NoSuchNetwork"},
    {"name": ["UNet"]},
    {"unknown": 1},
]


@pytest.mark.parametrize("changed", ABSURD, ids=str)
def test_weights_with_an_absurd_recipe_take_no_memory(tmp_path, changed):
    model = build_model("UNet", width=4)
    model.recipe = {**model.recipe, **changed}
    save_weights(model, tmp_path / "w.safetensors", {})
    before = psutil.Process().memory_info().rss
    with pytest.raises(BadInput) as refused:
        load_weights(tmp_path / "w.safetensors")
    assert refused.value.fault in ("bad_weights", "other_architecture", "unknown_model")
    assert psutil.Process().memory_info().rss - before < 200 << 20


def test_a_header_that_announces_more_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(build_model("UNet", width=4), path, {})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    for size in (length + 1, 10**9, 2**63):
        path.write_bytes(size.to_bytes(8, "little") + content[8:])
        with pytest.raises(BadInput, match=r"w\.safetensors"):
            load_weights(path)
    header = json.loads(content[8 : 8 + length])
    name = next(key for key in header if key != "__metadata__")
    for shape in ([10**12, 10**6], [0], [-1]):
        header[name]["shape"] = shape
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
        with pytest.raises(BadInput, match=r"w\.safetensors"):
            load_weights(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    model = build_model("UNet", width=4)
    with torch.no_grad():
        next(model.parameters()).view(-1)[3] = value
    save_weights(model, tmp_path / "w.safetensors", {})
    with pytest.raises(BadInput, match="not finite") as refused:
        load_weights(tmp_path / "w.safetensors")
    assert refused.value.fault == "bad_weights"


def test_weights_of_another_architecture_are_refused(tmp_path):
    model = build_model("UNet", width=8)
    model.recipe = {"name": "UNet", "width": 16}
    save_weights(model, tmp_path / "w.safetensors", {})
    with pytest.raises(BadInput, match="do not fit"):
        load_weights(tmp_path / "w.safetensors")


def test_loss_is_low_for_the_truth_and_high_for_its_opposite():
    target = torch.zeros(2, 16, 16, dtype=torch.long)
    target[:, 4:12, 4:12], target[:, 6:8, 6:8] = 1, 2
    truth = 20.0 * nn.functional.one_hot(target, 3).permute(0, 3, 1, 2)
    for name in ("cross_entropy", "dice_cross_entropy"):
        loss = build_loss(name)
        assert float(loss(truth, target)) < 0.01
        assert float(loss(-truth, target)) > 1


def test_dice_part_counts_each_pixel_for_one_class():
    # A perfect liver without its tumour leaves only the tumour's share of the loss: if the liver's
    # target contained the tumour too, the liver would be charged for it a second time.
    target = torch.zeros(1, 16, 16, dtype=torch.long)
    target[:, 4:12, 4:12], target[:, 6:8, 6:8] = 1, 2
    predicted = target.clone()
    predicted[target == 2] = 0
    logits = 40.0 * nn.functional.one_hot(predicted, 3).permute(0, 3, 1, 2)
    dice = build_loss("dice_cross_entropy").dice(logits, target)
    assert float(dice) == pytest.approx(1 / 2, abs=0.01)  # mean of liver 0 and tumour 1


def test_what_is_drawn_of_an_absent_class_costs_and_is_unlearned():
    target = torch.zeros(2, 20, 20, dtype=torch.long)
    target[:, :10] = 1
    sure = torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2) * 80.0 - 40
    dice = BatchDice(smooth=100)
    assert float(dice(sure, target)) == pytest.approx(0, abs=1e-6)
    drawn = sure.clone()
    drawn[:, 2, 15:, :10] = 120  # 100 pixels of the absent class, which were background
    assert float(dice(drawn, target)) == pytest.approx(100 / (100 + 100) / 2, abs=1e-6)
    unsure = (drawn / 40).requires_grad_()
    dice(unsure, target).backward()
    assert (unsure.grad[:, 2, 15:, :10] > 1e-6).all()  # the way down is less of it


def test_batch_dice_by_hand():
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[0, :2], target[0, 2:3] = 1, 2  # 20 and 10 pixels
    drawn = torch.zeros(1, 10, 10, dtype=torch.long)
    drawn[0, :1], drawn[0, 2:4] = 1, 2  # 10 of the 20; the 10 and 10 more
    logits = torch.nn.functional.one_hot(drawn, 3).permute(0, 3, 1, 2) * 80.0
    assert float(BatchDice()(logits, target)) == pytest.approx(1 / 3, abs=1e-6)  # 1 - 20 / 30


def test_unknown_loss_is_said():
    with pytest.raises(BadInput, match="no loss"):
        build_loss("focal")


@pytest.mark.parametrize("name", ["SimpleCNN", "ResNet_segmentation"])
def test_any_size_gets_a_logit_per_pixel(name):
    model = build_model(name).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 101, 77)).shape == (1, 3, 101, 77)


def test_simple_cnn_sees_38_pixels():
    torch.manual_seed(0)
    model = build_model("SimpleCNN", width=4).eval()
    images = torch.randn(32, 1, 128, 128, requires_grad=True)
    coarse = model.coarse(images)
    assert coarse.shape == (32, 3, 16, 16)
    coarse[:, :, 8, 8].sum().backward()
    rows, columns = images.grad.abs().sum((0, 1)).nonzero().unbind(1)
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 38


@pytest.mark.parametrize("name", ["SimpleCNN", "ResNet_segmentation"])
def test_weights_of_these_networks_come_back(name, tmp_path):
    model = build_model(name, in_channels=3).eval()
    save_weights(model, tmp_path / "w.safetensors", {})
    loaded, _ = load_weights(tmp_path / "w.safetensors")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))


def test_simple_cnn_has_no_imagenet_weights():
    with pytest.raises(BadInput, match="SimpleCNN has no ImageNet weights"):
        build_model("SimpleCNN", pretrained=True)


def test_segmentation_takes_the_classifier_s_weights_as_they_are(monkeypatch):
    torch.manual_seed(0)
    imagenet = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr("liverutils.models.classifiers._imagenet_weights", lambda name: imagenet)
    stages = build_model("ResNet_segmentation", pretrained=True).stages
    assert torch.equal(stages[3][0].conv1.weight, imagenet["layer3.0.conv1.weight"])
    assert torch.allclose(stages[0][0].weight, imagenet["conv1.weight"].sum(1, keepdim=True))


def test_parameter_groups_hold_each_weight_once():
    model = build_model("ResNet_segmentation")
    grouped = [id(p) for group in encoder_and_head(model) for p in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_imagenet_weights_that_cannot_be_downloaded_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match="weights of mobilenet_v2 cannot be downloaded"):
        build_model("DeepLabV3Plus_MobileNet", pretrained=True)


def test_weights_of_a_network_with_a_list_in_its_recipe_are_read(tmp_path):
    model = build_model("DeepLabV3Plus_MobileNet", decoder_atrous_rates=[1, 2, 3])
    save_weights(model, tmp_path / "deeplab.safetensors", {})
    assert load_weights(tmp_path / "deeplab.safetensors")[0].recipe == model.recipe
