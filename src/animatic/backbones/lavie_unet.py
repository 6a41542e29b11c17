"""`LaVieUNet`: Stable Diffusion's UNet extended to video, for base model, interpolation and super-resolution.

Wang et al. 2023, https://arxiv.org/abs/2309.15103. It is diffusers' own 2D network with frames folded into the batch.
Three kinds of layers relate frames: group norms of the ResNets and of the output (statistics over all frames),
transformer blocks (attention over time), and with `convolutions` temporal ResNets. All else keeps diffusers' names, so
that weights and LoRAs of the image model fit its spatial part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from .lavie_layers import (
    FrameFolding,
    FrameNorm,
    TemporalModule,
    TemporalResNet,
    TemporalTransformerBlock,
    temporal_pre_hook,
)

DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")

BASE: dict[str, Any] = {}
INTERPOLATION: dict[str, Any] = {"in_channels": 8, "positions": False, "time_last": True, "sparse": True}
VSR: dict[str, Any] = {
    "in_channels": 7, "block_out_channels": (256, 512, 512, 1024), "cross_attention_dim": 1024,
    "down_block_types": DOWN[::-1], "up_block_types": UP[::-1], "only_cross_attention": (True, True, True, False),
    "use_linear_projection": True, "num_class_embeds": 1000, "convolutions": True, "sample_size": 128,
}  # fmt: skip


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
                    module.register_forward_pre_hook(temporal_pre_hook, with_kwargs=True)
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
