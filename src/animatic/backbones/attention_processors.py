"""Attention processors of the kinds of network: diffusers' own arithmetic, with `AttentionHooks` in the middle.

Each computes what diffusers' stock processor of the same network computes; the attention itself, between the
projections to queries, keys and values and the output projection, goes through `AttentionHooks.attention`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from .attention_hooks import AttentionHooks
from .attention_projections import (
    apply_rotary,
    apply_rotary_to_channels,
    project_added_qkv,
    project_qkv,
    split_heads,
)

WAN_TEXT_TOKENS = 512  # tokens that Wan was trained on


@dataclass(frozen=True)
class Processor:
    """Replaces diffusers' attention processor of the layer `name`, of kind "self", "cross", "time" or "joint"."""

    hooks: AttentionHooks
    name: str
    kind: str

    def attention(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, text_tokens: int) -> Tensor:
        """Attention of `[batch, head, token, width]`; the first `text_tokens` keys are text."""
        return self.hooks.attention(self.name, self.kind, q, k, v, mask, text_tokens)


class UNetProcessor(Processor):
    """The arithmetic of `AttnProcessor2_0` (UNets)."""

    def __call__(
        self,
        attn: Any,  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        residual = hidden_states
        shape = hidden_states.shape

        # Norms, and images as sequences of their cells.
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            source = attn.norm_encoder_hidden_states(source)

        # Attention of [batch, head, token, width]; the mask is expanded as diffusers expands it.
        q, k, v = project_qkv(attn, hidden_states, source)
        mask = None
        if attention_mask is not None:
            expanded = attn.prepare_attention_mask(attention_mask, k.shape[2], len(q))
            mask = expanded.unflatten(0, (-1, attn.heads))
        text_tokens = k.shape[2] if self.kind == "cross" else 0
        out = self.attention(q, k, v, mask, text_tokens)
        merged = out.transpose(1, 2).flatten(2).to(q.dtype)

        # Output projection and dropout.
        projection, dropout = attn.to_out
        out = dropout(projection(merged))
        if len(shape) == 4:
            out = out.transpose(1, 2).reshape(shape)
        if attn.residual_connection:
            out = out + residual
        return out / attn.rescale_output_factor


class JointProcessor(Processor):
    """The arithmetic of `CogVideoXAttnProcessor2_0`; hooks see queries and keys with their rotary positions applied."""

    def __call__(
        self,
        attn: Any,  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        # Text tokens come first in the joint sequence.
        text_tokens = encoder_hidden_states.shape[1]
        x = torch.cat([encoder_hidden_states, hidden_states], 1)
        q, k, v = project_qkv(attn, x, x)

        # Positions are those of video tokens alone.
        if image_rotary_emb is not None:
            q_video = apply_rotary_emb(q[:, :, text_tokens:], image_rotary_emb)  # pyright: ignore
            k_video = apply_rotary_emb(k[:, :, text_tokens:], image_rotary_emb)  # pyright: ignore
            q_text = q[:, :, :text_tokens]
            q = torch.cat([q_text, q_video], 2)  # pyright: ignore
            k_text = k[:, :, :text_tokens]
            k = torch.cat([k_text, k_video], 2)  # pyright: ignore

        # Output projection and dropout, then text and video apart again.
        out = self.attention(q, k, v, attention_mask, text_tokens)
        merged = out.transpose(1, 2).flatten(2)  # [branch, token, head * width]
        projected = attn.to_out[1](attn.to_out[0](merged))
        return projected[:, text_tokens:], projected[:, :text_tokens]


class StreamsProcessor(Processor):
    """The arithmetic of `JointAttnProcessor2_0` (Stable Diffusion 3): text and picture have projections of their own.

    Hooks see the text first, as in other joint layers; the sums of attention are the same in any order.
    """

    def __call__(
        self,
        attn: Any,  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        q, k, v = project_qkv(attn, hidden_states, hidden_states)
        text_tokens = 0

        # The stream of text goes before that of the picture.
        if encoder_hidden_states is not None:
            text_tokens = encoder_hidden_states.shape[1]
            of_text = project_added_qkv(attn, encoder_hidden_states)
            q, k, v = (torch.cat(pair, 2) for pair in zip(of_text, (q, k, v), strict=True))
        out = self.attention(q, k, v, attention_mask, text_tokens)
        merged = out.transpose(1, 2).flatten(2).to(q.dtype)  # [branch, token, head * width]

        # Output projections; the last block has none of text, whose output nothing reads.
        picture = attn.to_out[1](attn.to_out[0](merged[:, text_tokens:]))
        if encoder_hidden_states is None:
            return picture
        text = merged[:, :text_tokens]
        return picture, text if attn.context_pre_only else attn.to_add_out(text)


class MaskedStreamsProcessor(Processor):
    """The arithmetic of `HunyuanVideo15AttnProcessor2_0`: as `StreamsProcessor`, with positions and absent text tokens.

    Absent tokens are masked as keys alone, not as queries: nothing reads what they attend to.
    """

    def __call__(
        self,
        attn: Any,  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor,
        image_rotary_emb: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        # Positions are those of video tokens alone.
        q, k, v = project_qkv(attn, hidden_states, hidden_states)
        q = apply_rotary_emb(q, image_rotary_emb)  # pyright: ignore
        k = apply_rotary_emb(k, image_rotary_emb)  # pyright: ignore

        # The text goes before the video, and so does its mask: [branch, 1, 1, key].
        of_text = project_added_qkv(attn, encoder_hidden_states)
        q, k, v = (torch.cat(pair, 2) for pair in zip(of_text, (q, k, v), strict=True))  # pyright: ignore
        text_tokens = encoder_hidden_states.shape[1]
        mask = F.pad(attention_mask.bool(), (0, hidden_states.shape[1]), value=True)
        out = self.attention(q, k, v, mask[:, None, None], text_tokens)
        merged = out.transpose(1, 2).flatten(2).to(q.dtype)  # [branch, token, head * width]

        # Output projections, of the text's last one nothing is read.
        video = attn.to_out[1](attn.to_out[0](merged[:, text_tokens:]))
        return video, attn.to_add_out(merged[:, :text_tokens])


class WanProcessor(Processor):
    """The arithmetic of `WanAttnProcessor`; hooks see attention to the text, to which that to an image is added."""

    def __call__(
        self,
        attn: Any,  # diffusers' WanAttention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        # Wan 2.1 I2V: the tokens of an image stand before those of the text.
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        image = None
        if attn.add_k_proj is not None:
            text_tokens = self.hooks.text_tokens(WAN_TEXT_TOKENS)
            image = source[:, :-text_tokens]
            source = source[:, -text_tokens:]

        # Wan normalises queries and keys over all heads, before these are split.
        split = (attn.heads, -1)
        q = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, split)
        k = attn.norm_k(attn.to_k(source)).unflatten(2, split)
        v = attn.to_v(source).unflatten(2, (attn.heads, -1))

        # Positions are applied to [branch, token, head, width], attention takes [branch, head, token, width].
        if rotary_emb is not None:
            q = apply_rotary(q, *rotary_emb)
            k = apply_rotary(k, *rotary_emb)
        q = q.transpose(1, 2)
        k = k.transpose(1, 2)
        v = v.transpose(1, 2)

        # In cross-attention every key is text.
        text_tokens = k.shape[2] if self.kind == "cross" else 0
        out = self.attention(q, k, v, attention_mask, text_tokens)
        merged = out.transpose(1, 2).flatten(2).type_as(q)
        if image is not None:
            merged = merged + self._of_image(attn, q, image)
        return attn.to_out[1](attn.to_out[0](merged))

    def _of_image(self, attn: Any, q: Tensor, image: Tensor) -> Tensor:
        """Attention of `q` `[batch, head, token, width]` to an image `[batch, token, channel]`, its heads merged."""
        k = attn.norm_added_k(attn.add_k_proj(image)).unflatten(2, (attn.heads, -1))
        v = attn.add_v_proj(image).unflatten(2, (attn.heads, -1))
        out = F.scaled_dot_product_attention(q, k.transpose(1, 2), v.transpose(1, 2))
        return out.transpose(1, 2).flatten(2).type_as(q)


class LTXProcessor(Processor):
    """The arithmetic of `LTXVideoAttnProcessor`: norms and rotary positions before the heads are split."""

    def __call__(
        self,
        attn: Any,  # diffusers' LTXAttention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q = attn.norm_q(attn.to_q(hidden_states))
        k = attn.norm_k(attn.to_k(source))
        v = split_heads(attn, attn.to_v(source))
        if image_rotary_emb is not None:
            q = apply_rotary_to_channels(q, *image_rotary_emb)
            k = apply_rotary_to_channels(k, *image_rotary_emb)
        q = split_heads(attn, q)
        k = split_heads(attn, k)

        # A mask is the same for all heads and queries: [branch, 1, token] becomes [branch, 1, 1, token].
        mask = None if attention_mask is None else attention_mask[:, None]
        text_tokens = k.shape[2] if self.kind == "cross" else 0
        out = self.attention(q, k, v, mask, text_tokens)
        merged = out.transpose(1, 2).flatten(2).type_as(q)
        return attn.to_out[1](attn.to_out[0](merged))
