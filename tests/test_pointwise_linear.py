"""Linear layers, computed as convolutions: the same numbers, gradients, weights and names."""

import copy

import pytest
import torch
from conftest import close
from torch import nn

from animatic.backbones import load
from animatic.backbones.pointwise_linear import FEWEST_ROWS, PointwiseLinear, compute_pointwise


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(FEWEST_ROWS // 16, 16, 6), (FEWEST_ROWS + 1, 6), (3, 2, 6)], ids=["many", "odd", "few"]
)
def test_same_numbers_and_gradients(shape: tuple[int, ...], bias: bool):
    torch.manual_seed(0)
    linear = nn.Linear(6, 4, bias)
    pointwise = PointwiseLinear(copy.deepcopy(linear))
    x = torch.randn(*shape[:-2], shape[-1], shape[-2]).mT  # not contiguous, as sequences of an image's cells are
    results = []
    for layer in (linear, pointwise):
        given = x.clone().requires_grad_()
        result = layer(given)
        result.square().sum().backward()
        of_bias = [layer.bias.grad] if bias else []
        results.append((result, given.grad, layer.weight.grad, *of_bias))
    for expected, found in zip(*results, strict=True):
        assert found.shape == expected.shape
        assert close(found, expected)


def test_many_vectors_are_convolved():
    """Else nothing would be gained: which operation it is cannot be seen in the numbers."""
    layer = PointwiseLinear(nn.Linear(6, 4))
    operations = []
    for rows in (FEWEST_ROWS, 8):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            layer(torch.zeros(rows, 6))
        operations.append({event.key for event in profile.key_averages()})
    many, few = operations
    assert "aten::conv2d" in many
    assert "aten::conv2d" not in few


@pytest.mark.parametrize("cast", [True, False], ids=["autocast", "bfloat16"])
def test_half_precision_is_multiplied(cast: bool):
    layer = PointwiseLinear(nn.Linear(6, 4))
    rows = torch.zeros(FEWEST_ROWS, 6)
    if not cast:
        layer, rows = layer.bfloat16(), rows.bfloat16()
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=cast),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile,
    ):
        assert layer(rows).dtype == torch.bfloat16
    assert "aten::conv2d" not in {event.key for event in profile.key_averages()}


def test_a_model_keeps_its_weights():
    model = load("mini", "cpu")
    for network in (model.unet, model.text):
        before = network.state_dict()
        linear = sum(type(module) is nn.Linear for module in network.modules())
        assert compute_pointwise(network) == linear > 0
        after = network.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert compute_pointwise(network) == 0  # they are there already
