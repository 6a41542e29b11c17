"""The layers of a factorised space-time U-Net: everything on `[batch * frame, channel, height, width]`, channels last.

Frames are folded into the batch once, for the whole network; a layer over time unfolds them by itself. Two families
share the layers: the original arithmetic of Video Diffusion Models (Ho et al. 2022, as video-diffusion-pytorch 0.7.0
has it), and a faster one (group norm, attention in space at the coarse levels only, narrow heads in time).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

AttentionHook = Callable[[str, str, Tensor, Tensor, Tensor, "Tensor | None"], Tensor]
"""(module path, "self" or "time", q, k, v, bias) -> out, each of q, k, v `[batch, head, token, width]`."""


def fused(path: str, kind: str, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


@dataclass(frozen=True)
class Features:
    """How the frames of one call are to be read: `frames` a row, of which the last `images` are pictures.

    `alone` `[row]` marks rows whose frames are all pictures ("focus present"). A picture looks at itself only, in every
    layer over time. `bias` `[head, video frame, video frame]` and `turns` `[video frame, width / 2]` (complex) are
    the positions in time; either may be absent.
    """

    frames: int
    images: int = 0
    alone: Tensor | None = None
    bias: Tensor | None = None
    turns: Tensor | None = None
    waist: AttentionHook = fused


checkpointed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
"""For what is cheap beside its size: computed once more in backward rather than kept."""


def tokens(x: Tensor) -> Tensor:
    """`[n, channel, height, width]` to `[n, height * width, channel]`: a view where x is channels last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def grid(x: Tensor, like: Tensor) -> Tensor:
    """The way back, to the height and width of `like`."""
    return x.unflatten(1, like.shape[-2:]).permute(0, 3, 1, 2)


def sinusoids(t: Tensor, width: int) -> Tensor:
    """`[n, width]`: sines, then cosines of t at frequencies 1 to 1e-4 (Vaswani et al. 2017, both ends included)."""
    half = width // 2
    angles = t.float()[:, None] * torch.exp(torch.arange(half, device=t.device) * (-math.log(1e4) / (half - 1)))
    return torch.cat([angles.sin(), angles.cos()], -1)


def rotary_tables(frames: int, width: int, device: torch.device | None = None) -> Tensor:
    """Rotary positions as complex numbers `[frame, width / 2]`; channel pairs are neighbours (Su et al. 2021)."""
    frequencies = 1e4 ** (-torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(frames, device=device)[:, None] * frequencies
    return torch.polar(torch.ones_like(angles), angles)


def apply_rotary(x: Tensor, by: Tensor) -> Tensor:
    """`x` `[..., frame, width]` with its first channels rotated by `turns`; the others pass."""
    width = 2 * by.shape[-1]
    part = torch.view_as_complex(x[..., :width].float().unflatten(-1, (-1, 2)).contiguous()) * by
    out = torch.view_as_real(part).flatten(-2).to(x.dtype)
    return out if width == x.shape[-1] else torch.cat([out, x[..., width:]], -1)


class RelativePositions(nn.Module):
    """T5's bias: one number per head and bucket of `key - query`, exact for near frames (Raffel et al. 2020)."""

    def __init__(self, heads: int, buckets: int = 32, farthest: int = 32) -> None:
        super().__init__()
        self.buckets, self.farthest = buckets, farthest
        self.table = nn.Embedding(buckets, heads)

    def bucket(self, offset: Tensor) -> Tensor:
        side = self.buckets // 2
        exact = side // 2
        far = exact + torch.log(offset.abs().clamp(min=1) / exact) / math.log(self.farthest / exact) * (side - exact)
        near = torch.where(offset.abs() < exact, offset.abs(), far.long().clamp(max=side - 1))
        return near + side * (offset > 0)

    def forward(self, frames: int) -> Tensor:
        """`[head, query, key]`."""
        at = torch.arange(frames, device=self.table.weight.device)
        return self.table(self.bucket(at - at[:, None])).permute(2, 0, 1)


class ChannelRMS(nn.Module):
    """Root-mean-square norm over channels, with a gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * (self.gain * len(self.gain) ** 0.5).view(1, -1, 1, 1)


class ResNet(nn.Module):
    """Two 3 x 3 convolutions per frame with a shortcut, told time and condition by scale and shift (FiLM).

    `after` (the original): convolution, RMS norm, scale and shift, SiLU; then the same without scale and shift.
    Otherwise the norm comes first: group norm, SiLU, convolution; then group norm with scale and shift, and so on.
    """

    def __init__(self, channels: int, out: int, told: int = 0, after: bool = False) -> None:
        super().__init__()
        self.after = after
        self.conv1, self.conv2 = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.norm1 = ChannelRMS(out) if after else nn.GroupNorm(groups(channels), channels)
        self.norm2 = ChannelRMS(out) if after else nn.GroupNorm(groups(out), out)
        self.film = nn.Linear(told, 2 * out) if told else None
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """`told` `[batch * frame, channel]`."""
        if self.after:
            h = checkpointed(self._after, self.norm1, self.conv1(x), told)
            h = checkpointed(self._after, self.norm2, self.conv2(h), None)
            return h + self.shortcut(x)
        h = self.conv1(F.silu(self.norm1(x)))
        return self.conv2(F.silu(self._told(self.norm2(h), told))) + self.shortcut(x)

    def _after(self, norm: nn.Module, x: Tensor, told: Tensor | None) -> Tensor:
        return F.silu(self._told(norm(x), told))

    def _told(self, x: Tensor, told: Tensor | None) -> Tensor:
        if self.film is None or told is None:
            return x
        scale, shift = self.film(F.silu(told))[..., None, None].chunk(2, 1)
        return torch.addcmul(shift, x, scale + 1)


def groups(channels: int) -> int:
    """As many groups of 8 channels or more as divide them, 32 at most."""
    return math.gcd(32, max(1, channels // 8))


class Attention(nn.Module):
    """A norm, a projection to queries, keys and values, and one back; what is looked at is added to what was."""

    path = ""  # its name in the network

    def __init__(self, channels: int, heads: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels, bias=False)
        self.qkv = nn.Linear(channels, 3 * heads * width, bias=False)
        self.out = nn.Linear(heads * width, channels, bias=bias)

    def projected(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `[n, head, token, width]` of `[n, token, channel]`."""
        q, k, v = self.qkv(self.norm(t)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def joined(self, out: Tensor) -> Tensor:
        """`[n, head, token, width]` to `[n, token, channel]`."""
        return self.out(out.transpose(1, 2).flatten(2))


class LinearAttention(Attention):
    """Attention in space at linear cost: softmax of q over channels, of k over positions (Shen et al. 2021)."""

    def __init__(self, channels: int, heads: int, width: int = 32) -> None:
        super().__init__(channels, heads, width, bias=True)

    def forward(self, x: Tensor, clip: Features) -> Tensor:
        t = tokens(x)
        return grid(t + checkpointed(self._answer, t), x)

    def _answer(self, t: Tensor) -> Tensor:
        q, k, v = self.projected(t)
        summary = k.softmax(-2).transpose(-1, -2) @ v
        return self.joined(q.softmax(-1) @ (summary * k.shape[-1] ** -0.5))


class SpaceAttention(Attention):
    """Full attention between the cells of each frame."""

    def forward(self, x: Tensor, clip: Features) -> Tensor:
        t = tokens(x)
        q, k, v = self.projected(t)
        return grid(t + self.joined(clip.waist(self.path, "self", q, k, v, None)), x)


class TimeAttention(Attention):
    """Attention of each cell through time; a picture's answer is its own value, whatever the other frames hold."""

    def forward(self, x: Tensor, clip: Features) -> Tensor:
        frames = tokens(x).unflatten(0, (-1, clip.frames))  # [row, frame, cell, channel]
        return grid((frames + checkpointed(self._answer, frames, clip)).flatten(0, 1), x)

    def _answer(self, frames: Tensor, clip: Features) -> Tensor:
        cells = frames.shape[2]
        q, k, v = self.projected(frames.transpose(1, 2).flatten(0, 1))  # [row * cell, head, frame, width]
        out = self._look(q, k, v, clip) if clip.frames > max(1, clip.images) else v
        if clip.alone is not None:
            out = torch.where(clip.alone.repeat_interleave(cells)[:, None, None, None], v, out)
        return self.joined(out).unflatten(0, (-1, cells)).transpose(1, 2)

    def _look(self, q: Tensor, k: Tensor, v: Tensor, clip: Features) -> Tensor:
        video = clip.frames - clip.images
        q, k = q[..., :video, :], k[..., :video, :]
        if clip.turns is not None:
            q, k = apply_rotary(q, clip.turns), apply_rotary(k, clip.turns)
        bias = None if clip.bias is None else clip.bias[None, : self.heads].to(q.dtype)
        out = clip.waist(self.path, "time", q, k, v[..., :video, :], bias)
        return torch.cat([out, v[..., video:, :]], -2) if clip.images else out
