"""Taps of diffusion transformers: attention over text and video at once (CogVideoX), or over each apart (Wan)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from .taps import Processor, projected


class JointTap(Processor):
    """The arithmetic of `CogVideoXAttnProcessor2_0`; queries and keys are turned before anybody sees them."""

    def __call__(
        self,
        attn: Any,  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        words = encoder_hidden_states.shape[1]
        x = torch.cat([encoder_hidden_states, hidden_states], 1)
        q, k, v = projected(attn, x, x)
        if image_rotary_emb is not None:
            q, k = (
                torch.cat([t[:, :, :words], apply_rotary_emb(t[:, :, words:], image_rotary_emb)], 2)  # pyright: ignore
                for t in (q, k)
            )
        out = self.look(q, k, v, attention_mask, words).transpose(1, 2).flatten(2)
        out = attn.to_out[1](attn.to_out[0](out))
        return out[:, words:], out[:, :words]


class SplitTap(Processor):
    """The arithmetic of `WanAttnProcessor`, without its second look at a picture."""

    def __call__(
        self,
        attn: Any,  # diffusers' WanAttention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(source)), attn.to_v(source)
        q, k, v = (part.unflatten(2, (attn.heads, -1)) for part in (q, k, v))
        if rotary_emb is not None:
            q, k = (turned(t, *rotary_emb) for t in (q, k))
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        out = self.look(q, k, v, attention_mask, k.shape[2] if self.kind == "cross" else 0)
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2).type_as(q)))


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions of Wan: neighbouring channels of `[row, token, head, width]` are turned as a pair."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).type_as(x)


def joint_kind(name: str) -> str:
    return "joint"


def split_kind(name: str) -> str:
    return "cross" if ".attn2" in name else "self"
