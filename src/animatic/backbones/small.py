"""`SpaceTimeUNet`: a small video network to train from scratch.

After Video Diffusion Models, Ho et al. 2022, https://arxiv.org/abs/2204.03458, in the version of
https://github.com/lucidrains/video-diffusion-pytorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..errors import AnimaticError
from .spacetime import (
    Attention,
    AttentionHook,
    FrameLayout,
    LinearAttention,
    RelativePositions,
    ResNet,
    SpaceAttention,
    TemporalAttention,
    fused_attention,
    group_count,
    rotary_tables,
    sinusoids,
)

DESIGNS = ("fast", "original")


class SpaceTimeUNet(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Predicts noise, sample, velocity or flow of clips `[sample, channel, frame, height, width]`.

    `design` "original" computes what video-diffusion-pytorch 0.7.0's `Unet3D(dim, cond_dim, out_dim, dim_mults,
    channels, attn_heads, attn_dim_head, init_kernel_size=first_kernel, use_sparse_linear_attn=linear_attention)`
    computes; its weights are read by `animatic convert vdp`. "fast" is a faster variant (see `spacetime`).

    Levels have `dim * multiples[i]` channels, and `blocks[i]` ResNets on the way down and as many on the way up (the
    original: two). `cond_dim` is the width of the
    condition, one vector a sample or a frame; 0: none. Any number of frames; height and width must be multiples of
    `size_multiple`. Raises `AnimaticError` where `design` is unknown or `blocks` do not match `multiples`.
    """

    attn_processors: ClassVar[dict[str, Any]] = {}  # none to replace: its layers call the `attention` they are given

    @register_to_config
    def __init__(
        self,
        dim: int = 64,
        multiples: Sequence[int] = (1, 2, 4, 8),
        in_channels: int = 3,
        out_channels: int = 0,
        cond_dim: int = 0,
        design: str = "fast",
        blocks: Sequence[int] = (),
        heads: int = 8,
        head_dim: int = 32,
        linear_attention: bool = True,
        first_kernel: int = 7,
    ) -> None:
        super().__init__()
        if design not in DESIGNS:
            raise AnimaticError(f"design is {design!r}; want one of {', '.join(DESIGNS)}")
        blocks = tuple(blocks) or (2,) * len(multiples)
        if len(blocks) != len(multiples):
            raise AnimaticError(f"blocks are {list(blocks)}; want one number for each of {len(multiples)} levels")
        original = design == "original"
        self.original = original
        self.size_multiple = 2 ** (len(multiples) - 1)
        widths = [dim * multiple for multiple in multiples]
        lowest = widths[-1]
        embedding = 4 * dim + cond_dim  # channels of the embedding of timestep and condition

        def through_time(channels: int) -> TemporalAttention:
            narrow = min(heads, max(2, channels // (2 * head_dim)))
            return TemporalAttention(channels, heads if original else narrow, head_dim)

        def through_space(channels: int, level: int) -> nn.Module | None:
            if original:
                return LinearAttention(channels, heads) if linear_attention else None
            is_low = level >= len(multiples) - 2
            return full(channels) if is_low else None

        def full(channels: int) -> SpaceAttention:
            if original:
                return SpaceAttention(channels, heads, 32)
            return SpaceAttention(channels, max(1, channels // head_dim), head_dim)

        def level(index: int, channels: int, out: int) -> Level:
            resnets = [ResNet(channels, out, embedding, original)]
            for _ in range(blocks[index] - 1):
                resnets.append(ResNet(out, out, embedding, original))
            return Level(resnets, through_space(out, index), through_time(out))

        # Input, embeddings of timestep and condition, relative positions in time.
        self.conv_in = nn.Conv2d(in_channels, dim, first_kernel, padding=first_kernel // 2)
        self.time_in = TemporalAttention(dim, heads, head_dim) if original else None
        wide = 4 * dim
        self.time_embed = nn.Sequential(nn.Linear(dim, wide), nn.GELU(), nn.Linear(wide, wide))
        self.null = nn.Parameter(torch.randn(1, cond_dim)) if cond_dim else None
        self.positions = RelativePositions(heads)

        # Levels on the way down.
        steps = list(zip([dim, *widths[:-1]], widths, strict=True))
        down = [level(i, a, b) for i, (a, b) in enumerate(steps)]
        self.down = nn.ModuleList(down)
        shrink = [nn.Conv2d(width, width, 4, stride=2, padding=1) for width in widths[:-1]]
        self.shrink = nn.ModuleList(shrink)

        # The middle.
        self.mid1 = ResNet(lowest, lowest, embedding, original)
        self.mid2 = ResNet(lowest, lowest, embedding, original)
        self.mid_space = full(lowest)
        self.mid_time = through_time(lowest)

        # Levels on the way up, which also read what the way down has left.
        upwards = list(reversed(list(enumerate(steps))))
        up = [level(i, 2 * b, a) for i, (a, b) in upwards]
        self.up = nn.ModuleList(up)
        grow = [nn.ConvTranspose2d(a, a, 4, stride=2, padding=1) for _, (a, _) in upwards[:-1]]
        self.grow = nn.ModuleList(grow)

        # Output.
        kernel = 1 if original else 3
        self.last = ResNet(2 * dim, dim, 0, True) if original else nn.GroupNorm(group_count(dim), dim)
        self.conv_out = nn.Conv2d(dim, out_channels or in_channels, kernel, padding=kernel // 2)

        for name, module in self.named_modules():
            if isinstance(module, Attention):
                module.path = name
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        cond: Tensor | None = None,
        null: Tensor | None = None,
        focus_present: Tensor | None = None,
        images: int = 0,
        attention: AttentionHook = fused_attention,
    ) -> Tensor:
        """The prediction for `x` `[sample, channel, frame, height, width]` at timesteps `t` `[sample]`.

        `cond` is `[sample, cond_dim]`, or `[sample, frame, cond_dim]` where images have captions of their own; where
        `null` (bool, `[sample]` or `[sample, frame]`) is true the learnt null condition replaces it. The last `images`
        frames of every sample are independent images, and so are all frames of the samples in `focus_present` (bool
        `[sample]`): attention over time leaves them alone. `attention` computes the attention of each layer.

        Raises `AnimaticError` where a shape does not fit the network.
        """
        samples, _, frames, *_ = x.shape
        self._check(x, cond, images)
        video = frames - images

        # One embedding a frame, of its timestep and its condition.
        angles = sinusoids(t.expand(samples), self.config["dim"])
        embedding = self.time_embed(angles.to(x.dtype))
        embedding = embedding.repeat_interleave(frames, 0)
        if self.null is not None:
            condition = self._condition(cond, null, samples, frames).to(x.dtype)
            embedding = torch.cat([embedding, condition], -1)

        # Positions in time.
        bias = self.positions(video)
        rotary = None
        if self.original:
            rotary = rotary_tables(video, min(32, self.config["head_dim"]), x.device)
        clip = FrameLayout(frames, images, focus_present, bias, rotary, attention)

        # Convolutions see frames as images: [sample * frame, channel, height, width].
        images_in = x.movedim(2, 1).flatten(0, 1)
        h = self.conv_in(images_in.contiguous(memory_format=torch.channels_last))
        if self.time_in is not None:
            h = self.time_in(h, clip)
        first = h

        # Down, middle and up.
        skips = []
        for i, level in enumerate(self.down):
            h = level(h, embedding, clip)
            skips.append(h)
            if i < len(self.shrink):
                h = self.shrink[i](h)

        h = self.mid1(h, embedding)
        h = self.mid_space(h, clip)
        h = self.mid_time(h, clip)
        h = self.mid2(h, embedding)

        for i, level in enumerate(self.up):
            h = torch.cat([h, skips.pop()], 1)
            h = level(h, embedding, clip)
            if i < len(self.grow):
                h = self.grow[i](h)

        # The original joins the first features once more; the other has a norm in their place.
        if self.original:
            h = self.last(torch.cat([h, first], 1))
        else:
            h = F.silu(self.last(h))
        by_sample = self.conv_out(h).unflatten(0, (samples, frames))
        return by_sample.movedim(1, 2)

    def begin_as_identity(self) -> None:
        """Set what each residual branch of the design "fast" ends in, and its bias of positions in time, to zero.

        A new network learns faster so: its layers take part as they become useful. After Diffusion Models Beat GANs
        (Dhariwal & Nichol 2021, https://arxiv.org/abs/2105.05233, `zero_module`). Raises `AnimaticError` for the design
        "original", whose norms come last: they cannot scale zeros.
        """
        if self.original:
            raise AnimaticError("design 'original' has norms at the end of its branches; want 'fast' to begin at zero")
        nn.init.zeros_(self.positions.table.weight)
        for module in self.modules():
            if isinstance(module, ResNet):
                assert module.conv2.bias is not None
                nn.init.zeros_(module.conv2.weight)
                nn.init.zeros_(module.conv2.bias)
            elif isinstance(module, Attention):
                nn.init.zeros_(module.out.weight)

    def set_attn_processor(self, processors: Mapping[str, Any]) -> None:
        """Part of diffusers' protocol; there is none to set."""

    def _condition(self, cond: Tensor | None, null: Tensor | None, samples: int, frames: int) -> Tensor:
        """The condition of every frame, `[sample * frame, cond_dim]`."""
        assert self.null is not None
        if cond is None:
            return self.null.expand(samples * frames, -1)

        # One condition a sample is repeated for each frame.
        if cond.dim() == 2:
            cond = cond[:, None].expand(-1, frames, -1)
        if null is not None:
            # Where it is null the learnt condition takes its place.
            if null.dim() == 1:
                null = null[:, None].expand(-1, frames)
            learnt = self.null.to(cond.dtype)
            cond = torch.where(null[..., None], learnt, cond)
        return cond.flatten(0, 1)

    def _check(self, x: Tensor, cond: Tensor | None, images: int) -> None:
        channels, frames, height, width = x.shape[1:]
        own_channels = self.config["in_channels"]
        if channels != own_channels:
            raise AnimaticError(f"{channels} channels; this network takes {own_channels}")
        for name, value in (("height", height), ("width", width)):
            if value % self.size_multiple:
                raise AnimaticError(f"{name} is {value}; this network takes multiples of {self.size_multiple}")
        if not 0 <= images <= frames:
            raise AnimaticError(f"images is {images}; want 0 to {frames}, the frames of a clip")

        cond_dim = self.config["cond_dim"]
        if cond is None:
            return
        if self.null is None or cond.shape[-1] != cond_dim:
            raise AnimaticError(f"condition of width {cond.shape[-1]}; this network takes {cond_dim}")


class Level(nn.Module):
    """ResNets, then attention in space (or none), then in time."""

    def __init__(self, resnets: list[ResNet], space: nn.Module | None, time: TemporalAttention) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.space = space
        self.time = time

    def forward(self, x: Tensor, embedding: Tensor, clip: FrameLayout) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x, embedding)
        if self.space is not None:
            x = self.space(x, clip)
        return self.time(x, clip)
