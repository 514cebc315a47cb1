"""What a network costs, against numbers worked out by hand."""

import pytest
import torch
from torch import nn

from liverutils.models import Settings, network_cost


def test_a_convolution_costs_what_its_formula_says():
    cost = network_cost(nn.Conv2d(2, 4, 3, padding=1, bias=False), torch.zeros(5, 2, 16, 16))
    assert cost["parameters"] == 2 * 4 * 9
    assert cost["gflops"] == pytest.approx(2 * (2 * 4 * 9) * 16 * 16 / 1e9)
    assert cost["ms_per_slice"] > 0


def test_measuring_leaves_the_network_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network_cost(model, torch.ones(4, 1, 16, 16), Settings("bfloat16", channels_last=True))
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
