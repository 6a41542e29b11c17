"""The layers of a factorised space-time U-Net: everything on `[batch * frame, channel, height, width]`, channels last.

Frames are folded into the batch once, for the whole network; a layer over time unfolds them by itself. Two families
share the layers: the original arithmetic of Video Diffusion Models (Ho et al. 2022, https://arxiv.org/abs/2204.03458,
as video-diffusion-pytorch 0.7.0 has it), and a faster one (group norm, attention in space at the coarse levels only,
narrow heads in time).
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


def fused_attention(path: str, kind: str, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attention without hooks."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


@dataclass(frozen=True)
class FrameLayout:
    """What the frames of one call are: `frames` a sample, of which the last `images` are independent images.

    `focus_present` (bool `[sample]`) marks samples whose frames are all independent images. An image attends to itself
    only, in every layer over time. `bias` `[head, video frame, video frame]` and `rotary` `[video frame, width / 2]`
    (complex) are the positions in time; either may be absent. `attention` computes the attention of each layer.
    """

    frames: int
    images: int = 0
    focus_present: Tensor | None = None
    bias: Tensor | None = None
    rotary: Tensor | None = None
    attention: AttentionHook = fused_attention


checkpointed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
"""For operations that are cheap to compute and large to store: computed again during backward."""


def tokens(x: Tensor) -> Tensor:
    """`[n, channel, height, width]` to `[n, height * width, channel]`: a view where x is channels last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def grid(x: Tensor, like: Tensor) -> Tensor:
    """`[n, height * width, channel]` to `[n, channel, height, width]`, the size of `like`."""
    height, width = like.shape[-2:]
    by_cell = x.unflatten(1, (height, width))
    return by_cell.permute(0, 3, 1, 2)


def sinusoids(t: Tensor, width: int) -> Tensor:
    """`[n, width]`: sines, then cosines of t at frequencies 1 to 1e-4 (Vaswani et al. 2017, both ends included)."""
    half = width // 2
    step = -math.log(1e4) / (half - 1)
    frequencies = torch.exp(torch.arange(half, device=t.device) * step)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


def rotary_tables(frames: int, width: int, device: torch.device | None = None) -> Tensor:
    """Rotary positions as complex numbers `[frame, width / 2]`; channel pairs are neighbours (Su et al. 2021)."""
    exponents = -torch.arange(0, width, 2, device=device) / width
    frequencies = 1e4**exponents
    positions = torch.arange(frames, device=device)
    angles = positions[:, None] * frequencies
    return torch.polar(torch.ones_like(angles), angles)


def apply_rotary(x: Tensor, table: Tensor) -> Tensor:
    """`x` `[..., frame, width]` with its first channels rotated by `table` (of `rotary_tables`); the others stay."""
    # Complex numbers are float32 here: torch has no complex type for bfloat16.
    width = 2 * table.shape[-1]
    first = x[..., :width].float()
    pairs = first.unflatten(-1, (-1, 2))
    numbers = torch.view_as_complex(pairs.contiguous())
    turned = torch.view_as_real(numbers * table)
    rotated = turned.flatten(-2).to(x.dtype)
    if width == x.shape[-1]:
        return rotated
    rest = x[..., width:]
    return torch.cat([rotated, rest], -1)


class RelativePositions(nn.Module):
    """T5's relative position bias: one number per head and bucket of `key - query`, exact for near frames.

    Raffel et al. 2020, https://arxiv.org/abs/1910.10683.
    """

    def __init__(self, heads: int, buckets: int = 32, farthest: int = 32) -> None:
        super().__init__()
        self.buckets, self.farthest = buckets, farthest
        self.table = nn.Embedding(buckets, heads)

    def bucket(self, offset: Tensor) -> Tensor:
        """Bucket of an offset: half of the buckets for each sign, half of these exact, the others logarithmic."""
        per_sign = self.buckets // 2
        exact = per_sign // 2
        distance = offset.abs()

        # Beyond the exact ones, buckets grow with the logarithm up to `farthest`.
        ratio = distance.clamp(min=1) / exact
        logarithm = torch.log(ratio) / math.log(self.farthest / exact)
        far = (exact + logarithm * (per_sign - exact)).long()
        far = far.clamp(max=per_sign - 1)
        bucket = torch.where(distance < exact, distance, far)
        return torch.where(offset > 0, bucket + per_sign, bucket)

    def forward(self, frames: int) -> Tensor:
        """`[head, query, key]`."""
        at = torch.arange(frames, device=self.table.weight.device)
        offset = at - at[:, None]
        bias = self.table(self.bucket(offset))  # [query, key, head]
        return bias.permute(2, 0, 1)


class ChannelRMS(nn.Module):
    """Root mean square norm over channels, with a learnt gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        # F.normalize divides by the norm, which is sqrt(channels) times the root mean square.
        gain = self.gain * len(self.gain) ** 0.5
        return F.normalize(x, dim=1) * gain.view(1, -1, 1, 1)


class ResNet(nn.Module):
    """Two 3 x 3 convolutions per frame with a shortcut, modulated by the embedding of timestep and condition (FiLM).

    `embedding` is its width; 0: there is none. `norm_after` (the original): convolution, RMS norm, scale and shift,
    SiLU; then the same without scale and shift. Otherwise the norm comes first: group norm, SiLU, convolution; then
    group norm with scale and shift, SiLU, convolution.
    """

    def __init__(self, channels: int, out: int, embedding: int = 0, after: bool = False) -> None:
        super().__init__()
        self.norm_after = after
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm1 = ChannelRMS(out) if after else nn.GroupNorm(group_count(channels), channels)
        self.norm2 = ChannelRMS(out) if after else nn.GroupNorm(group_count(out), out)

        # FiLM (Perez et al. 2018, arXiv 1709.07871); the name is a key of checkpoints.
        self.film = nn.Linear(embedding, 2 * out) if embedding else None
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """`x` `[batch * frame, channel, height, width]`, `embedding` `[batch * frame, width]`."""
        if self.norm_after:
            h = checkpointed(self._normed, self.norm1, self.conv1(x), embedding)
            h = checkpointed(self._normed, self.norm2, self.conv2(h), None)
            return h + self.shortcut(x)

        # Norm first: group norm, SiLU, convolution; the second norm is modulated.
        h = self.conv1(F.silu(self.norm1(x)))
        h = self._modulated(self.norm2(h), embedding)
        h = self.conv2(F.silu(h))
        return h + self.shortcut(x)

    def _normed(self, norm: nn.Module, x: Tensor, embedding: Tensor | None) -> Tensor:
        return F.silu(self._modulated(norm(x), embedding))

    def _modulated(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """`x` scaled and shifted channel by channel (FiLM, Perez et al. 2018, https://arxiv.org/abs/1709.07871)."""
        if self.film is None or embedding is None:
            return x
        modulation = self.film(F.silu(embedding))
        scale, shift = modulation[..., None, None].chunk(2, 1)
        return torch.addcmul(shift, x, scale + 1)


def group_count(channels: int) -> int:
    """As many groups of 8 channels or more as divide them, 32 at most."""
    return math.gcd(32, max(1, channels // 8))


class Attention(nn.Module):
    """Multi-head attention with a layer norm before it and a residual connection, to be added by subclasses."""

    path = ""  # its name in the network

    def __init__(self, channels: int, heads: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels, bias=False)
        self.qkv = nn.Linear(channels, 3 * heads * width, bias=False)
        self.out = nn.Linear(heads * width, channels, bias=bias)

    def projected(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `[n, head, token, width]` of `[n, token, channel]`."""
        qkv = self.qkv(self.norm(t))
        by_head = qkv.unflatten(-1, (3, self.heads, -1))  # [n, token, 3, head, width]
        q, k, v = by_head.permute(2, 0, 3, 1, 4)
        return q, k, v

    def joined(self, out: Tensor) -> Tensor:
        """`[n, head, token, width]` to `[n, token, channel]`."""
        return self.out(out.transpose(1, 2).flatten(2))


class LinearAttention(Attention):
    """Attention in space at linear cost: softmax of q over channels, of k over positions.

    Shen et al. 2021, https://arxiv.org/abs/1812.01243.
    """

    def __init__(self, channels: int, heads: int, width: int = 32) -> None:
        super().__init__(channels, heads, width, bias=True)

    def forward(self, x: Tensor, clip: FrameLayout) -> Tensor:
        t = tokens(x)
        return grid(t + checkpointed(self._output, t), x)

    def _output(self, t: Tensor) -> Tensor:
        # Keys and values are summed up first, whatever the number of cells.
        q, k, v = self.projected(t)
        scale = k.shape[-1] ** -0.5
        weights = k.softmax(-2).transpose(-1, -2)
        summary = weights @ v  # [n, head, width, width]
        weights = q.softmax(-1)
        return self.joined(weights @ (summary * scale))


class SpaceAttention(Attention):
    """Full attention between the cells of each frame."""

    def forward(self, x: Tensor, clip: FrameLayout) -> Tensor:
        t = tokens(x)
        q, k, v = self.projected(t)
        out = clip.attention(self.path, "self", q, k, v, None)
        return grid(t + self.joined(out), x)


class TemporalAttention(Attention):
    """Attention of each cell over time; the output for an independent image is its own value."""

    def forward(self, x: Tensor, clip: FrameLayout) -> Tensor:
        frames = tokens(x).unflatten(0, (-1, clip.frames))  # [sample, frame, cell, channel]
        added = frames + checkpointed(self._output, frames, clip)
        return grid(added.flatten(0, 1), x)

    def _output(self, frames: Tensor, clip: FrameLayout) -> Tensor:
        cells = frames.shape[2]
        over_time = frames.transpose(1, 2).flatten(0, 1)  # [sample * cell, frame, channel]
        q, k, v = self.projected(over_time)
        has_several = clip.frames > max(1, clip.images)
        out = self._attend(q, k, v, clip) if has_several else v

        # A frame that attends to itself alone gets its own value.
        if clip.focus_present is not None:
            alone = clip.focus_present.repeat_interleave(cells)
            out = torch.where(alone[:, None, None, None], v, out)
        by_cell = self.joined(out).unflatten(0, (-1, cells))
        return by_cell.transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, clip: FrameLayout) -> Tensor:
        # The frames of the video; the pictures behind it keep their own values.
        video = clip.frames - clip.images
        q = q[..., :video, :]
        k = k[..., :video, :]
        if clip.rotary is not None:
            q = apply_rotary(q, clip.rotary)
            k = apply_rotary(k, clip.rotary)
        bias = None
        if clip.bias is not None:
            bias = clip.bias[None, : self.heads].to(q.dtype)

        v_video = v[..., :video, :]
        out = clip.attention(self.path, "time", q, k, v_video, bias)
        if not clip.images:
            return out
        v_images = v[..., video:, :]
        return torch.cat([out, v_images], -2)
