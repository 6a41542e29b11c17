"""Video transformers on diffusers' stock `LTXVideoTransformer3DModel`: LTX-Video.

HaCohen et al. 2024, https://arxiv.org/abs/2501.00103, https://github.com/Lightricks/LTX-Video.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import LTXVideoTransformer3DModel
from torch import Tensor

from ..core.backbone import Geometry
from ..core.schedule import Grid, Schedule
from ..core.schedulers import scheduler_named
from ..core.text import T5Text
from ..core.types import Conditioning
from ..errors import AnimaticError
from .attention_hooks import AttentionHooks, separate_kind
from .attention_processors import LTXProcessor
from .cogvideox import Transformer
from .presets import LTX, LTX_DEFAULTS

LTX_TEXT_TOKENS = 128  # tokens of T5 that diffusers' pipeline reads

# the shift of the noise levels, for schedulers that do not say it: diffusers' `calculate_shift`
FEWEST_TOKENS, MOST_TOKENS = 256, 4096
LEAST_SHIFT, LARGEST_SHIFT = 0.5, 1.15


class FlaggedT5(T5Text):
    """T5 whose last channel says which states are tokens: 1, or 0 for padding, which the network does not attend to.

    T5 itself attends to padding, as in diffusers' pipeline.
    """

    def states(self, ids: Tensor) -> Tensor:
        states = super().states(ids)
        padding: Any = self.tokenizer.pad_token_id
        flags = ids.ne(padding)[..., None].to(states)
        return torch.cat([states, flags], -1)


class LTXVideo(Transformer):
    """Flow matching; text in cross-attention, all frames in self-attention; a token is a cell of 32 x 32 pixels.

    Padding of the text is not attended to. The more tokens a video has, the more of its noise levels are high.
    """

    network = LTXVideoTransformer3DModel
    text_flags = 1
    rate_matters = True  # positions are in seconds
    usual_defaults = replace(LTX_DEFAULTS, negative="")

    @classmethod
    def native_geometry(cls, network: Any, vae: Any) -> Geometry:
        """The channels and ratios by the configurations; as many latent cells, and as fast, as LTX-Video 0.9."""
        halvings = sum(vae.spatio_temporal_scaling)
        spatial = vae.spatial_compression_ratio or vae.patch_size * 2**halvings
        temporal = vae.temporal_compression_ratio or vae.patch_size_t * 2**halvings
        _, frames, rows, columns = LTX.latent(LTX.frames, LTX.height, LTX.width)
        return Geometry(
            (frames - 1) * temporal + 1,
            rows * spatial,
            columns * spatial,
            network.in_channels,
            spatial,
            LTX.fps,
            vae_temporal_ratio=temporal,
        )

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, separate_kind, LTXProcessor)

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        network: Any = self.unet
        tokens = x.flatten(2).transpose(1, 2).to(network.dtype)
        text = cond.text.to(tokens)
        mask = (text[..., -1] > 0).to(tokens)

        # Positions are in seconds and pixels.
        g = self.geometry
        scale = (g.vae_temporal_ratio / g.fps, g.vae_spatial_ratio, g.vae_spatial_ratio)
        frames, height, width = x.shape[2:]
        output = network(tokens, text[..., :-1], t, mask, frames, height, width, rope_interpolation_scale=scale)
        return output.sample.transpose(1, 2).reshape(x.shape).to(x.dtype)

    def schedule(self, steps: int, name: str = "") -> Schedule:
        scheduler = scheduler_named(name, self.scheduler) if name else self.scheduler
        if steps < 2 and scheduler.config.get("shift_terminal"):
            raise AnimaticError(f"steps is {steps}; {self.name} takes at least 2, as its levels end above zero noise")
        g = self.geometry
        _, frames, rows, columns = g.latent(g.frames, g.height, g.width)
        return Schedule(scheduler, steps, levels=self._levels, grid=(frames, rows, columns))

    def _levels(self, steps: int, grid: Grid) -> Mapping[str, Any]:
        """The levels before they are shifted, and the shift of a video of this size: linear in its tokens."""
        config = self.scheduler.config
        fewest, most = config.get("base_image_seq_len", FEWEST_TOKENS), config.get("max_image_seq_len", MOST_TOKENS)
        least, largest = config.get("base_shift", LEAST_SHIFT), config.get("max_shift", LARGEST_SHIFT)
        slope = (largest - least) / (most - fewest)
        shift = least + slope * (math.prod(grid) - fewest)
        return {"sigmas": np.linspace(1.0, 1 / steps, steps), "mu": shift}
