"""`LaVieUNet`: Stable Diffusion's UNet extended to video, for base model, interpolation and super-resolution.

Wang et al. 2023, https://arxiv.org/abs/2309.15103. It is diffusers' own 2D network with frames folded into the batch.
Three kinds of layers relate frames: group norms of the ResNets and of the output (statistics over all frames),
transformer blocks (attention over time), and with `convolutions` temporal ResNets. All else keeps diffusers' names, so
that weights and LoRAs of the image model fit its spatial part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from .spacetime import RelativePositions, apply_rotary, rotary_tables

DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
ROTARY = 32  # channels of a head with rotary positions
GROUPS = 32  # of the norms in temporal ResNets, whatever the rest of the network has

BASE: dict[str, Any] = {}
INTERPOLATION: dict[str, Any] = {"in_channels": 8, "positions": False, "time_last": True, "sparse": True}
VSR: dict[str, Any] = {
    "in_channels": 7, "block_out_channels": (256, 512, 512, 1024), "cross_attention_dim": 1024,
    "down_block_types": DOWN[::-1], "up_block_types": UP[::-1], "only_cross_attention": (True, True, True, False),
    "use_linear_projection": True, "num_class_embeds": 1000, "convolutions": True, "sample_size": 128,
}  # fmt: skip


class FrameFolding:
    """The number of frames of each clip in the present call, for layers to fold them into the batch and back."""

    count = 1

    def unfold(self, x: Tensor) -> Tensor:
        """`[sample * frame, channel, ...]` to `[sample, channel, frame, ...]`."""
        return x.unflatten(0, (-1, self.count)).transpose(1, 2)

    def fold(self, x: Tensor) -> Tensor:
        """The inverse of `unfold`."""
        return x.transpose(1, 2).flatten(0, 1)


class LaVieUNet(UNet2DConditionModel):
    """Predictions for clips `[sample, channel, frame, height, width]` of any number of frames.

    Beyond `UNet2DConditionModel`: `time_last` puts attention over time after the feed-forward, `positions` gives it
    positions (rotary, and a relative bias), with `sparse` a frame attends in space to the first frame and the one
    before instead of itself, `convolutions` adds temporal ResNets. BASE, INTERPOLATION and VSR are the released three.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 64,
        in_channels: int = 4,
        out_channels: int = 4,
        down_block_types: Sequence[str] = DOWN,
        up_block_types: Sequence[str] = UP,
        only_cross_attention: bool | Sequence[bool] = False,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        cross_attention_dim: int = 768,
        attention_head_dim: int = 8,  # the number of heads, as Stable Diffusion's configs call it
        use_linear_projection: bool = False,
        num_class_embeds: int | None = None,
        time_last: bool = False,
        positions: bool = True,
        sparse: bool = False,
        convolutions: bool = False,
    ) -> None:
        only_text: Any = only_cross_attention
        only_text = only_text if isinstance(only_text, bool) else tuple(only_text)
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=tuple(down_block_types),
            up_block_types=tuple(up_block_types),
            only_cross_attention=only_text,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=attention_head_dim,
            use_linear_projection=use_linear_projection,
            num_class_embeds=num_class_embeds,
        )
        frames = FrameFolding()
        self.frames = frames

        # Layers of the image network that are replaced, or get one before them.
        for module in list(self.modules()):
            if isinstance(module, ResnetBlock2D):
                module.norm1 = FrameNorm(module.norm1, frames)
                module.norm2 = FrameNorm(module.norm2, frames)
            elif isinstance(module, Transformer2DModel):
                blocks = module.transformer_blocks
                extended = [TemporalTransformerBlock(block, frames, time_last, positions, sparse) for block in blocks]
                module.transformer_blocks = nn.ModuleList(extended)
                if convolutions:
                    width: Any = module.in_channels
                    module.resblock_temporal = TemporalResNet(width, 0, (3, 3), frames)
                    module.register_forward_pre_hook(_temporal_pre_hook, with_kwargs=True)
        self.conv_norm_out = FrameNorm(self.conv_norm_out, frames)
        if convolutions:
            self._add_temporal_blocks(block_out_channels)

    def _add_temporal_blocks(self, widths: Sequence[int]) -> None:
        """A module over time after each block, which a hook calls; their names are those of the published weights."""
        embedding = 4 * widths[0]  # width of the embedding of the timestep
        down = [TemporalModule(width, embedding, self.frames) for width in widths]
        middle = TemporalModule(widths[-1], embedding, self.frames)
        up = [TemporalModule(width, embedding, self.frames) for width in reversed(widths)]
        self.down_temporal_blocks = nn.ModuleList(down)
        self.mid_temporal_block = middle
        self.up_temporal_blocks = nn.ModuleList(up)

        blocks = (*self.down_blocks, self.mid_block, *self.up_blocks)
        for block, module in zip(blocks, (*down, middle, *up), strict=True):
            block.register_forward_hook(module.forward_hook, with_kwargs=True)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        class_labels: Tensor | None = None,
    ) -> Tensor:
        """`encoder_hidden_states` `[sample, token, channel]`, `timestep` and `class_labels` `[sample]`."""
        samples, _, count = sample.shape[:3]
        self.frames.count = count
        x = self.frames.fold(sample)

        # Frames are samples of the image network; what belongs to a clip is repeated for each of its frames.
        t = torch.as_tensor(timestep, device=sample.device).expand(samples)
        t = t.repeat_interleave(count)
        text = encoder_hidden_states.repeat_interleave(count, 0)
        labels = None if class_labels is None else class_labels.repeat_interleave(count)
        prediction = super().forward(x, t, text, class_labels=labels, return_dict=False)
        return self.frames.unfold(prediction[0])


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
            bias = by_head.expand(len(x), -1, -1, -1).flatten(0, 1)  # any attention processor takes it so
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
        before = torch.cat([first, clip[:, :-1]], 1)
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


def _temporal_pre_hook(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A hook on a transformer: a temporal ResNet before it."""
    return (module.resblock_temporal(args[0]), *args[1:]), kwargs
