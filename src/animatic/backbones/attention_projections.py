"""What attention processors compute before the attention: projections to queries, keys and values, rotary positions.

`attn` is diffusers' attention module, which has the layers; the arithmetic is that of its stock processors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def apply_rotary_to_channels(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """LTX-Video's rotary positions: neighbouring channels of `x` `[branch, token, channel]` are rotated as pairs."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-b, a], -1).flatten(-2)
    rotated = x.float() * cos + turned.float() * sin
    return rotated.to(x.dtype)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Wan's rotary positions: neighbouring channels of `x` `[branch, token, head, width]` are rotated as pairs.

    RoPE, Su et al. 2021, https://arxiv.org/abs/2104.09864.
    """
    # The tables have every value twice, one for each channel of a pair.
    cos = cos[..., 0::2]
    sin = sin[..., 1::2]
    pairs = x.unflatten(-1, (-1, 2))
    a, b = pairs.unbind(-1)
    first = a * cos - b * sin
    second = a * sin + b * cos
    rotated = torch.stack([first, second], -1)
    return rotated.flatten(-2).type_as(x)


def project_qkv(attn: Any, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of `x`, keys and values of `source`, with the layer's norms: `[batch, head, token, width]`."""
    projected = (attn.to_q(x), attn.to_k(source), attn.to_v(source))
    return _normed_heads(attn, projected, attn.norm_q, attn.norm_k)


def project_added_qkv(attn: Any, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a second stream, by projections and norms of its own; as in `project_qkv`."""
    projected = (attn.add_q_proj(text), attn.add_k_proj(text), attn.add_v_proj(text))
    return _normed_heads(attn, projected, attn.norm_added_q, attn.norm_added_k)


def _normed_heads(
    attn: Any, projected: tuple[Tensor, Tensor, Tensor], norm_q: Any, norm_k: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Projected queries, keys and values as heads; norms are None where the layer has none."""
    q, k, v = (split_heads(attn, each) for each in projected)
    if norm_q is not None:
        q = norm_q(q)
    if norm_k is not None:
        k = norm_k(k)
    return q, k, v


def split_heads(attn: Any, projected: Tensor) -> Tensor:
    """`[batch, token, head * width]` as `[batch, head, token, width]`."""
    return projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
