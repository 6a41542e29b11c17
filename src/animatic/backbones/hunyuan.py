"""Video transformers on diffusers' stock `HunyuanVideo15Transformer3DModel`: HunyuanVideo 1.5, text to video.

Wu et al. 2025, https://arxiv.org/abs/2511.18870, https://github.com/Tencent-Hunyuan/HunyuanVideo-1.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideo15Transformer3DModel
from torch import Tensor

from ..core.backbone import Geometry, ModelDefaults
from ..core.feature_reuse import FeatureCache
from ..core.schedule import Grid, Schedule
from ..core.schedulers import scheduler_named
from ..core.types import Conditioning
from ..errors import AnimaticError, warn
from .attention_hooks import AttentionHooks, refined_kind
from .attention_processors import MaskedStreamsProcessor
from .cogvideox import Transformer, patch_of
from .feature_caches import describe_hunyuan_blocks
from .folder import read_json
from .guider import guidance_of
from .presets import HUNYUAN_DEFAULTS

IMAGE_PIPELINE = "HunyuanVideo15ImageToVideoPipeline"
MASK_CHANNELS = 1  # of the mask of given frames
FRAMES, FRAMES_A_SECOND = 121, 24.0  # generate.py
ASPECT = (9, 16)  # height, width


class HunyuanVideo(Transformer):
    """Flow matching; text and video are two streams that attend to each other in every block.

    The network reads channels of a first image and its mask, too, and tokens of the image: text-to-video models have
    zeros there, and no tokens.
    """

    network = HunyuanVideo15Transformer3DModel
    usual_defaults = HUNYUAN_DEFAULTS
    by_shape = False  # tokens are sorted by whether they are present

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        if read_json(folder / "config.json").get("use_meanflow"):
            raise AnimaticError(f"{folder}: is distilled to few steps (use_meanflow); want a model that is not")
        return super().read(folder, dtype)

    @classmethod
    def image_channels(cls, latent_channels: int) -> int:
        return latent_channels + MASK_CHANNELS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.image_input = ""  # the channels are there in any case

    def feature_cache(self) -> FeatureCache | None:
        describe_hunyuan_blocks()
        return super().feature_cache()

    def read_extras(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        if index.get("_class_name") == IMAGE_PIPELINE:
            raise AnimaticError(f"{folder}: is of a {IMAGE_PIPELINE}; want text-to-video, such as hunyuanvideo1.5-480p")
        super().read_extras(folder, index, dtype)
        self.vae.enable_slicing()  # of several clips at once its attention fails

    @classmethod
    def native_geometry(cls, network: Any, vae: Any) -> Geometry:
        """The geometry by the configurations: the size of 16:9 that diffusers' pipeline has for a `target_size`."""
        from diffusers.pipelines.hunyuan_video1_5.image_processor import HunyuanVideo15ImageProcessor

        ratio = vae.spatial_compression_ratio
        sizes = HunyuanVideo15ImageProcessor(vae_scale_factor=ratio)
        height, width = sizes.calculate_default_height_width(*ASPECT, network.target_size)
        return Geometry(
            FRAMES,
            height,
            width,
            network.out_channels,
            ratio,
            FRAMES_A_SECOND,
            vae_temporal_ratio=vae.temporal_compression_ratio,
            patch=patch_of(network),
        )

    @classmethod
    def native_defaults(cls, folder: Path, known: ModelDefaults | None) -> ModelDefaults:
        """As published, with the guidance of the folder's guider: 1 where it was distilled to need none."""
        defaults = super().native_defaults(folder, known)
        scale = guidance_of(folder)
        return defaults if scale is None else replace(defaults, guidance=scale)

    def encode_stories(self, prompts: Sequence[Sequence[str]], negatives: Sequence[Sequence[str]]) -> Conditioning:
        text: Any = self.text  # ChatAndGlyphs
        for story in prompts:
            # Where scenes blend, the words of a prompt stand behind the longest of their quotes.
            quoted = {len(text.glyphs.token_ids(prompt)) for prompt in story}
            if len(quoted) > 1:
                counts = f"{min(quoted)} to {max(quoted)} tokens of quoted words"
                warn(f"{self.name}: scenes of a story have {counts}; where they blend, controls may act on other words")
        return super().encode_stories(prompts, negatives)

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, refined_kind, MaskedStreamsProcessor)

    def schedule(self, steps: int, name: str = "") -> Schedule:
        scheduler = scheduler_named(name, self.scheduler) if name else self.scheduler
        is_own = type(scheduler) is FlowMatchEulerDiscreteScheduler
        return Schedule(scheduler, steps, levels=even_levels if is_own else None)

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        latents = x.to(self.unet.dtype)
        text: Any = self.text  # ChatAndGlyphs

        # Glyphs have fewer channels than words; the last channel of both says which tokens are present.
        glyphs, words = cond.text.to(latents).split(text.sizes, 1)
        width = self.unet.config.text_embed_2_dim
        given = glyphs[..., -1] > 0
        present = words[..., -1] > 0
        present[:, 0] = True  # also of a text that was set to zero: a mean over no words is not defined

        # No image: its channels and their mask are zero, and it has no tokens.
        further = x.new_zeros(len(x), self.image_channels(x.shape[1]), *x.shape[2:])
        image = latents.new_zeros(len(x), 0, self.unet.config.image_embed_dim)
        output = self.unet(
            torch.cat([latents, further.to(latents)], 1),
            t.to(latents),
            words[..., :-1],
            present.to(latents),
            encoder_hidden_states_2=glyphs[..., :width],
            encoder_attention_mask_2=given.to(latents),
            image_embeds=image,
        )
        return output.sample.to(x.dtype)


def even_levels(steps: int, grid: Grid) -> Mapping[str, Any]:
    """The levels before the shift, as diffusers' pipeline sets them; the scheduler's own end at its least level."""
    levels = np.linspace(1.0, 0.0, steps + 1)
    return {"sigmas": levels[:-1]}
