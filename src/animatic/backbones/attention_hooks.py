"""Taps: every attention layer of a diffusers network routed through one narrow waist.

The waist lies after projection and before the output projection: `attend(site, q, k, v, mask)`. A tap computes what
the stock processor computes and is an exact identity when nobody listens. Reading is a request (`cond.maps`): the
probabilities of the wanted tokens come out of fused attention as extra one-hot columns of V, exact and differentiable.

A request for maps only is over as soon as the last of its layers has answered: its tap raises `Enough`, which ends
the forward pass there, and `serving` catches it. What autograd recorded until then is whole.

Gradient checkpointing calls the layers again during backward, so with gradients on the call stays known until the
next one begins; what is found already is not found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from ..core.attention import TEXT_KINDS, attention_with_columns, matches_any, one_hot
from ..core.types import Attend, AttentionCall, AttentionMapRequest, Conditioning, Step
from ..errors import AnimaticError
from .gradients import incompatible_with_gradients


@dataclass(frozen=True)
class NetworkCall:
    """One evaluation of the network, as its layers need to know it.

    `grid` is the latents' (frames, height, width), `patch` the size of a transformer's token in them.
    """

    step: Step
    cond: Conditioning
    attend: Attend
    grid: tuple[int, int, int]
    patch: tuple[int, int, int] = (1, 1, 1)


class AllMapsFound(Exception):
    """All maps that were asked for are there."""


class AttentionHooks:
    """The taps of one network and the call they serve at the moment."""

    def __init__(
        self, network: nn.Module, kind: Callable[[str], str], tap: Callable[[AttentionHooks, str, str], Any]
    ) -> None:
        """`kind` tells a layer's kind by its name, `tap` makes its processor."""
        self.network, self.awaited = network, 0
        self.call: NetworkCall | None = None
        names = (name.removesuffix(".processor") for name in network.attn_processors if kind(name) in TEXT_KINDS)  # type: ignore[union-attr]
        self.listening = [name for name in names if ".fuser." not in name]
        network.set_attn_processor(  # type: ignore[operator]
            {  # a grounding layer's attention is its own affair
                name: own if ".fuser." in name else tap(self, name.removesuffix(".processor"), kind(name))
                for name, own in network.attn_processors.items()  # type: ignore[union-attr, operator]
            }
        )

    @contextmanager
    def serving(self, call: NetworkCall) -> Iterator[None]:
        """Serve one call; ends quietly where its maps were all that was wanted.

        Raises `AnimaticError` where a layer did not answer, or where the gradient would be bent (see `guard`).
        """
        wanted = self.wanted(call.cond.map_request)
        reason = incompatible_with_gradients(self.network) if wanted and torch.is_grad_enabled() else ""
        if reason:
            raise AnimaticError(f"guided passes cannot run with {reason}; guide without it, or switch it on afterwards")
        self.call, self.awaited = call, len(wanted)
        try:
            yield
        except AllMapsFound:
            pass
        finally:
            if not torch.is_grad_enabled():
                self.call = None
        missing = [name for name in wanted if call.cond.map_request and name not in call.cond.map_request.found]
        if missing:
            hint = "are projections fused, or other processors set?"
            raise AnimaticError(
                f"{len(missing)} of {len(wanted)} attention layers did not answer ({missing[0]}); {hint}"
            )

    def wanted(self, maps: AttentionMapRequest | None) -> list[str]:
        """The layers that a request is for."""
        if maps is None:
            return []
        names = [name for name in self.listening if matches_any(name, maps.layers)]
        if not names:
            names = ", ".join(maps.layers)
            hint = "want others, such as --set energy.layers=*, or a method that reads all, such as lvd"
            raise AnimaticError(f"layers {names} match no text attention layer of this model; {hint}")
        return names

    def attention(
        self, name: str, kind: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, words: int = 0
    ) -> Tensor:
        """Attention over `[batch, head, token, width]` of a layer, through the waist where a call is served.

        `words` of the keys are text, which in joint layers stands among the queries too.
        """
        call = self.call
        if call is None:  # the network was called by somebody else
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        frames, height, width = (n // p for n, p in zip(call.grid, call.patch, strict=True))
        fold = len(q) // len(call.cond.branches)
        cells = fold * (q.shape[2] - (words if kind == "joint" else 0)) // frames
        grid = (frames, *grid_of(height, width, cells, name))
        site = AttentionCall(name, kind, fold, slice(0, words), grid, call.step, call.cond, v.shape[-1])
        return self.attend(site, call, q, k, v, mask)

    def attend(
        self, site: AttentionCall, call: NetworkCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """The waist: `call.attend`, and what its request for maps wants of this layer."""
        maps = call.cond.map_request
        if maps is None or site.kind not in TEXT_KINDS or not matches_any(site.layer, maps.layers):
            return call.attend(site, q, k, v, mask)
        out, probabilities = attention_with_columns(call.attend, site, q, k, v, mask, one_hot(maps.tokens, k.shape[2]))
        if site.layer not in maps.found:
            found = probabilities[:, :, site.text_keys.stop :] if site.kind == "joint" else probabilities
            found = (
                found.unflatten(0, (-1, site.entries_per_branch))
                .unflatten(3, (-1, *site.grid[1:]))
                .movedim(3, 2)
                .flatten(1, 2)
            )
            found = found.mean(2, keepdim=True) if maps.mean_over_heads else found
            pace = call.grid[0] // site.grid[0]  # latent frames that share a token
            maps.found[site.layer] = found if pace == 1 else found.repeat_interleave(pace, 1)
            if maps.maps_only and len(maps.found) == self.awaited:
                raise AllMapsFound
        return out


@dataclass(frozen=True)
class Processor:
    """What stands where diffusers' attention processor of a layer stood."""

    taps: AttentionHooks
    name: str
    kind: str

    def attention(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, words: int) -> Tensor:
        return self.taps.attention(self.name, self.kind, q, k, v, mask, words)


class UNetProcessor(Processor):
    """The arithmetic of `AttnProcessor2_0` (UNets), with the waist in the middle."""

    def __call__(
        self,
        attn: Any,  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        residual, shape = hidden_states, hidden_states.shape
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            source = attn.norm_encoder_hidden_states(source)
        q, k, v = project_qkv(attn, hidden_states, source)
        mask = None
        if attention_mask is not None:
            mask = attn.prepare_attention_mask(attention_mask, k.shape[2], q.shape[0]).unflatten(0, (-1, attn.heads))
        words = k.shape[2] if self.kind == "cross" else 0
        out = self.attention(q, k, v, mask, words).transpose(1, 2).flatten(2).to(q.dtype)
        out = attn.to_out[1](attn.to_out[0](out))
        if len(shape) == 4:
            out = out.transpose(1, 2).reshape(shape)
        return (out + residual if attn.residual_connection else out) / attn.rescale_output_factor


class JointProcessor(Processor):
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
        q, k, v = project_qkv(attn, x, x)
        if image_rotary_emb is not None:
            q, k = (
                torch.cat([t[:, :, :words], apply_rotary_emb(t[:, :, words:], image_rotary_emb)], 2)  # pyright: ignore
                for t in (q, k)
            )
        out = self.attention(q, k, v, attention_mask, words).transpose(1, 2).flatten(2)
        out = attn.to_out[1](attn.to_out[0](out))
        return out[:, words:], out[:, :words]


class WanProcessor(Processor):
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
            q, k = (apply_rotary(t, *rotary_emb) for t in (q, k))
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        out = self.attention(q, k, v, attention_mask, k.shape[2] if self.kind == "cross" else 0)
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2).type_as(q)))


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions of Wan: neighbouring channels of `[row, token, head, width]` are turned as a pair."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).type_as(x)


def project_qkv(attn: Any, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a layer, normed: `[batch, head, token, width]`."""
    parts = (attn.to_q(x), attn.to_k(source), attn.to_v(source))
    q, k, v = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in parts)
    return q if attn.norm_q is None else attn.norm_q(q), k if attn.norm_k is None else attn.norm_k(k), v


def grid_of(height: int, width: int, cells: int, name: str) -> tuple[int, int]:
    """The (height, width) of the layer called `name`, which has `cells` positions, in a network over height x width.

    Each level of a UNet halves both sides and rounds up (a convolution of stride 2, padded by 1): 75 x 50 becomes
    38 x 25, 19 x 13, 10 x 7. No two levels have equally many cells. Raises `AnimaticError` where no level has `cells`.
    """
    level = (height, width)
    while level[0] * level[1] > max(cells, 1):
        level = (ceil_half(level[0]), ceil_half(level[1]))

    if level[0] * level[1] != cells:
        raise AnimaticError(f"layer {name} has {cells} positions; no level of {height} x {width} cells has as many")
    return level


def ceil_half(side: int) -> int:
    return (side + 1) // 2


def unet_kind(name: str) -> str:
    """ "time", "cross" or "self". Beware: in UNet3D's temporal transformers `attn2` is self-attention over time."""
    if "temp_attentions." in name or ".attn_temp" in name or name.startswith("transformer_in."):
        return "time"
    return "cross" if ".attn2." in name else "self"


def joint_kind(name: str) -> str:
    return "joint"


def split_kind(name: str) -> str:
    return "cross" if ".attn2" in name else "self"
