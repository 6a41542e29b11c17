"""The layers of `LaVieUNet` that relate frames: norms, attention over time and temporal ResNets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from .spacetime import RelativePositions, apply_rotary, rotary_tables

ROTARY = 32  # channels of a head with rotary positions

GROUPS = 32  # of the norms in temporal ResNets, whatever the rest of the network has


class FrameFolding:
    """The number of frames of each clip in the present call, for layers to fold them into the batch and back."""

    count = 1

    def unfold(self, x: Tensor) -> Tensor:
        """`[sample * frame, channel, ...]` to `[sample, channel, frame, ...]`."""
        return x.unflatten(0, (-1, self.count)).transpose(1, 2)

    def fold(self, x: Tensor) -> Tensor:
        """The inverse of `unfold`."""
        return x.transpose(1, 2).flatten(0, 1)


class FrameNorm(nn.GroupNorm):
    """A group norm whose statistics run over all frames of a clip."""

    def __init__(self, like: nn.GroupNorm, frames: FrameFolding) -> None:
        super().__init__(like.num_groups, like.num_channels, like.eps)
        self.frames = frames

    def forward(self, input: Tensor) -> Tensor:
        return self.frames.fold(super().forward(self.frames.unfold(input)))


class RotaryEmbedding(nn.Module):
    """Rotary positions of queries and keys `[batch, head, frame, width]`; diffusers' place for it is `norm_q`."""

    def forward(self, x: Tensor) -> Tensor:
        frames, width = x.shape[2:]
        tables = rotary_tables(frames, min(ROTARY, width), x.device)
        return apply_rotary(x, tables)


class TemporalAttention(Attention):
    """Attention of each cell through time, `[sample * frame, cell, channel]`."""

    def __init__(self, width: int, heads: int, positions: bool, frames: FrameFolding) -> None:
        super().__init__(width, heads=heads, dim_head=width // heads, bias=False)
        self.frames = frames
        self.positions = RelativePositions(heads) if positions else None
        if positions:
            self.norm_q, self.norm_k = RotaryEmbedding(), RotaryEmbedding()

    def forward(self, hidden_states: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        cells = hidden_states.shape[1]
        x = self.frames.unfold(hidden_states).flatten(0, 1)  # [sample * cell, frame, channel]
        bias = None
        if self.positions is not None:
            by_head = self.positions(self.frames.count).to(x.dtype)
            by_batch = by_head.expand(len(x), -1, -1, -1)
            bias = by_batch.flatten(0, 1)  # any attention processor takes it so
        x = super().forward(x, attention_mask=bias)
        by_cell = x.unflatten(0, (-1, cells))
        return self.frames.fold(by_cell)


class TemporalTransformerBlock(BasicTransformerBlock):
    """Attention in space, to text and over time, then feed-forward; or over time last."""

    norm1: Any  # diffusers allows for None
    norm2: Any
    norm3: Any
    attn2: Any

    def __init__(self, like: Any, frames: FrameFolding, time_last: bool, positions: bool, sparse: bool) -> None:
        super().__init__(
            like.dim,
            like.num_attention_heads,
            like.attention_head_dim,
            cross_attention_dim=like.cross_attention_dim,
            only_cross_attention=like.only_cross_attention,
        )
        self.frames = frames
        self.time_last = time_last
        self.sparse = sparse
        self.attn_temp = TemporalAttention(like.dim, like.num_attention_heads, positions, frames)
        self.norm_temp = nn.LayerNorm(like.dim)

        # Attention over time begins as the identity.
        out: Any = self.attn_temp.to_out
        nn.init.zeros_(out[0].weight)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        timestep: Tensor | None = None,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        class_labels: Tensor | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        # What attention in space reads: the frame itself, the text alone, or two other frames.
        x = hidden_states
        normed = self.norm1(x)
        source = None  # self-attention
        if self.only_cross_attention:
            source = encoder_hidden_states
        elif self.sparse:
            source = self._sparse_source(normed)
        x = x + self.attn1(normed, source)

        # Residual branches in the order of the published network.
        x = x + self.attn2(self.norm2(x), encoder_hidden_states)
        if not self.time_last:
            x = x + self.attn_temp(self.norm_temp(x))
        x = x + self.ff(self.norm3(x))
        if self.time_last:
            x = x + self.attn_temp(self.norm_temp(x))
        return x

    def _sparse_source(self, x: Tensor) -> Tensor:
        """The tokens of the first frame and of the one before: `[sample * frame, 2 * cell, channel]`."""
        clip = x.unflatten(0, (-1, self.frames.count))
        first = clip[:, :1]
        earlier = clip[:, :-1]
        before = torch.cat([first, earlier], 1)
        source = torch.cat([first.expand_as(clip), before], 2)
        return source.flatten(0, 1)


class TemporalResNet(nn.Module):
    """Two convolutions along time with these kernel sizes; `embedding` is the width of the timestep's (0: unused)."""

    def __init__(self, width: int, embedding: int, kernels: tuple[int, int], frames: FrameFolding) -> None:
        super().__init__()
        self.frames = frames
        first, second = kernels
        self.norm1 = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.norm2 = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.conv1 = nn.Conv3d(width, width, (first, 1, 1), padding=(first // 2, 0, 0))
        self.conv2 = nn.Conv3d(width, width, (second, 1, 1), padding=(second // 2, 0, 0))
        self.time_emb_proj = nn.Linear(embedding, width) if embedding else None

    def forward(self, x: Tensor, temb: Tensor | None = None) -> Tensor:
        x = self.frames.unfold(x)
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None and temb is not None:
            # The embedding shifts every channel, the same in all cells.
            shift = self.time_emb_proj(F.silu(temb))
            h = h + self.frames.unfold(shift)[..., None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return self.frames.fold(x + h)


class TemporalModule(nn.Module):
    """Added after each block in super-resolution: ResNets over time and in space, then a zero-initialised layer."""

    def __init__(self, width: int, embedding: int, frames: FrameFolding) -> None:
        super().__init__()
        self.resblocks_3d_t = TemporalResNet(width, embedding, (5, 3), frames)
        self.resblocks_3d_s = ResnetBlock2D(in_channels=width, temb_channels=embedding, groups=GROUPS)
        for norm in ("norm1", "norm2"):
            setattr(self.resblocks_3d_s, norm, FrameNorm(getattr(self.resblocks_3d_s, norm), frames))
        self.shift_conv = nn.Conv2d(width, width, 1)
        for parameter in self.shift_conv.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        over_time = self.resblocks_3d_t(x, temb)
        in_space = self.resblocks_3d_s(over_time, temb)
        return x + self.shift_conv(in_space)

    def forward_hook(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """A hook on a block: changes its output, and leaves those for the skip connections as they are."""
        temb = kwargs["temb"] if "temb" in kwargs else args[1]
        if isinstance(output, tuple):
            return self(output[0], temb), *output[1:]
        return self(output, temb)


def temporal_pre_hook(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A hook on a transformer: a temporal ResNet before it."""
    x, *rest = args
    return (module.resblock_temporal(x), *rest), kwargs
