"""Image transformers on diffusers' stock `SD3Transformer2DModel`: Stable Diffusion 3 and 3.5.

Esser et al. 2024, https://arxiv.org/abs/2403.03206.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor

from ..core.backbone import Geometry, ModelDefaults
from ..core.types import Conditioning
from ..errors import AnimaticError
from .attention_hooks import AttentionHooks, stream_kind
from .attention_processors import StreamsProcessor
from .cogvideox import Transformer
from .sdxl import POOLED


class StableDiffusion3(Transformer):
    """Flow matching on pictures; text and picture are two streams that attend to each other in every block.

    Where frames are several, each is a picture of its own.
    """

    network = SD3Transformer2DModel
    provides = frozenset({"text maps", "image"})
    usual_defaults = ModelDefaults(28, 7.0)  # diffusers' pipeline

    @classmethod
    def native_geometry(cls, network: Any, vae: Any) -> Geometry:
        """The geometry by the configurations, as of any image model; a token is a square of latent cells."""
        # That of `Transformer` is of videos.
        geometry = super(Transformer, cls).native_geometry(network, vae)
        side = network.patch_size
        return replace(geometry, patch=(1, side, side))

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, stream_kind, StreamsProcessor)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Conditioning:
        cond = super().encode(prompts, negatives)
        pooled = self.text.pooled([*negatives, *prompts])
        return replace(cond, extra={POOLED: pooled})

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        # Frames are pictures of the network; what belongs to a branch is repeated for each of its frames.
        branches, _, frames, *_ = x.shape
        images = x.movedim(2, 1).flatten(0, 1).to(self.unet.dtype)
        text = cond.text.to(images).repeat_interleave(frames, 0)
        pooled = cond.extra[POOLED].to(images).repeat_interleave(frames, 0)

        times = t.repeat_interleave(frames)
        output = self.unet(images, text, pooled, times)
        by_branch = output.sample.unflatten(0, (branches, frames))
        return by_branch.movedim(1, 2).to(x.dtype)

    def check_size(self, frames: int, height: int, width: int) -> None:
        super().check_size(frames, height, width)

        # A network without a table of positions computes those of any size.
        config = self.unet.config
        most = (config.pos_embed_max_size or 0) * config.patch_size * self.geometry.vae_spatial_ratio
        if most and max(height, width) > most:
            raise AnimaticError(f"size is {width}x{height}; {self.name} takes up to {most}x{most}")
