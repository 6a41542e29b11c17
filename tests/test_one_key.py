"""Attention to a single key, as in temporal layers on one frame: as PyTorch's fused kernel computes it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import close
from torch import Tensor

from animatic.core.attention import fused_attention

UNUSED: Any = None  # the layer, of which the innermost attention reads nothing


@pytest.mark.parametrize("queries", [1, 3])
def test_same_output_and_gradients(queries: int):
    torch.manual_seed(0)
    q = torch.randn(4, 2, queries, 8)
    k = torch.randn(4, 2, 1, 8)
    v = torch.randn(4, 2, 1, 8)

    def results(attend: Any) -> list[Tensor]:
        given = [part.clone().requires_grad_() for part in (q, k, v)]
        out = attend(*given)
        (out * torch.arange(8)).square().sum().backward()
        return [out, *(part.grad for part in given)]

    expected, *_, expected_of_v = results(F.scaled_dot_product_attention)
    found, of_q, of_k, of_v = results(lambda *qkv: fused_attention(UNUSED, *qkv, None))
    assert found.shape == expected.shape
    assert close(found, expected)
    assert close(of_v, expected_of_v)

    # of queries and keys it is zero, and given: an optimiser leaves out what has none
    assert not of_q.any()
    assert not of_k.any()


def test_wider_values_and_masks():
    q, k, v = torch.randn(4, 2, 1, 8), torch.randn(4, 2, 1, 8), torch.randn(4, 2, 1, 11)
    assert close(fused_attention(UNUSED, q, k, v, None), v)

    # a mask may leave no key at all, which is left to the kernel
    mask = torch.zeros(4, 1, 1, 1, dtype=torch.bool)
    assert close(fused_attention(UNUSED, q, k, v, mask), F.scaled_dot_product_attention(q, k, v, mask))
