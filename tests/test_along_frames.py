"""Convolutions along frames, computed as pictures: the same numbers, weights and names."""

import copy

import torch
from conftest import close
from torch import nn

from animatic.backbones import load
from animatic.backbones.along_frames import AlongFrames, convolve_along_frames


def test_same_numbers_and_gradients():
    torch.manual_seed(0)
    conv = nn.Conv3d(6, 4, (3, 1, 1), padding=(1, 0, 0))
    along = AlongFrames(copy.deepcopy(conv))
    x = torch.randn(2, 5, 6, 3, 2).movedim(1, 2)  # as diffusers passes it, not contiguous
    results = []
    for layer in (conv, along):
        given = x.clone().requires_grad_()
        result = layer(given)
        result.square().sum().backward()
        results.append((result, given.grad, layer.weight.grad, layer.bias.grad))
    for expected, found in zip(*results, strict=True):
        assert close(found, expected)


def test_a_network_keeps_its_weights():
    network = load("mini", "cpu").unet
    before = network.state_dict()
    assert convolve_along_frames(network) == sum(
        name.endswith("weight") and value.dim() == 5 for name, value in before.items()
    )
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] or torch.equal(after[name], before[name]) for name in before)
    assert convolve_along_frames(network) == 0  # they are there already


def test_other_convolutions_stay():
    layers = nn.Sequential(nn.Conv3d(2, 2, 3, padding=1), nn.Conv3d(2, 2, (3, 1, 1), stride=(2, 1, 1)))
    assert convolve_along_frames(layers) == 0
