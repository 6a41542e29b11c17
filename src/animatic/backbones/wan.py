"""Video transformers on diffusers' stock `WanTransformer3DModel`: Wan 2.1 and 2.2, of text or of an image.

Wan team 2025, https://arxiv.org/abs/2503.20314, https://github.com/Wan-Video.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from ..core.backbone import Backbone
from ..core.types import Conditioning, Step
from ..errors import AnimaticError
from .attention_hooks import AttentionHooks, separate_kind
from .attention_processors import WanProcessor
from .cogvideox import Transformer
from .folder import class_in, read_json
from .image_input import ImageEncoder, ImageInput, first_frame_mask, padded_clip, with_image_channels
from .presets import WAN, WAN_DEFAULTS
from .replaceable import check_replaceable

MASK_CHANNELS = 4  # of the mask of given frames: one for each frame of a latent frame


class Wan(Transformer):
    """Flow matching; text in cross-attention, all frames in self-attention.

    Wan 2.2 A14B has a second network, `low_noise`, for timesteps below `boundary`. Wan 2.2 5B reads a timestep for
    every token (`timestep_per_token`), so that its first frame can be given. Image-to-video models read a whole clip
    that has the image alone, and 2.1 the image's states in CLIP, too.
    """

    network = WanTransformer3DModel
    full_precision_vae = True
    native_fps = WAN.fps
    usual_defaults = replace(WAN_DEFAULTS, negative="")
    low_noise: AttentionHooks | None = None
    boundary: float = 0.0
    timestep_per_token: bool = False
    image_encoder: ImageEncoder | None = None

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        if read_json(folder / "config.json").get("pos_embed_seq_len"):
            raise AnimaticError(f"{folder}: reads a first and a last image (pos_embed_seq_len); want a model of one")
        return super().read(folder, dtype)

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, separate_kind, WanProcessor)

    def read_extras(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        """The second network. Raises `AnimaticError` where there is one, and no boundary between the two."""
        super().read_extras(folder, index, dtype)

        # Above the boundary the first network is called, below it the second.
        ratio = index.get("boundary_ratio")
        if class_in(index, "transformer_2"):
            if ratio is None:
                raise AnimaticError(f"{folder}: has transformer_2, but model_index.json no boundary_ratio; want 0 to 1")
            self.low_noise = self.hook_attention(self.read(folder / "transformer_2", dtype))
            self.boundary = ratio * self.scheduler.config.num_train_timesteps
        if self.unet.config.image_dim:
            self.image_encoder = ImageEncoder.read(folder)
        self._read_timesteps(index.get("expand_timesteps"))

    def borrow_extras(self, pipe: Any) -> None:
        """The second network of a pipeline. Raises `AnimaticError` where it has no boundary between the two."""
        ratio = pipe.config.boundary_ratio
        if pipe.transformer_2 is not None:
            if ratio is None:
                raise AnimaticError(f"{self.name}: has transformer_2, but no boundary_ratio; want 0 to 1")
            check_replaceable(pipe.transformer_2.attn_processors)
            self.low_noise = self.hook_attention(pipe.transformer_2)
            self.boundary = ratio * self.scheduler.config.num_train_timesteps
        if self.unet.config.pos_embed_seq_len:
            raise AnimaticError(f"{self.name}: reads a first and a last image; want a model of one")
        if self.unet.config.image_dim:
            self.image_encoder = ImageEncoder(pipe.image_encoder, pipe.image_processor)
        self._read_timesteps(pipe.config.expand_timesteps)

    def _read_timesteps(self, is_expanded: bool | None) -> None:
        """Wan 2.2 5B reads a timestep for every token: 0 for those of a given first frame."""
        self.timestep_per_token = bool(is_expanded)
        if is_expanded:
            self.image_input = "optional"

    @property
    def all_hooks(self) -> list[AttentionHooks]:
        return [self.hooks] if self.low_noise is None else [self.hooks, self.low_noise]

    @property
    def networks(self) -> list[Any]:
        return [self.unet] if self.low_noise is None else [self.unet, self.low_noise.network]

    def has_low_noise(self, step: Step) -> bool:
        return self.hooks_at(step) is self.low_noise

    def hooks_at(self, step: Step) -> AttentionHooks:
        return self._hooks_at_timestep(torch.as_tensor(step.t))

    def _hooks_at_timestep(self, t: Tensor) -> AttentionHooks:
        if self.low_noise is None:
            return self.hooks
        is_high = float(t.max()) >= self.boundary
        return self.hooks if is_high else self.low_noise

    @classmethod
    def image_channels(cls, latent_channels: int) -> int:
        return MASK_CHANNELS + latent_channels

    @torch.no_grad()
    def with_image(self, pixels: Tensor, frames: int) -> Backbone:
        if not self.image_input:
            return super().with_image(pixels, frames)
        model = copy(self)
        if self.timestep_per_token:
            model.first_frame = self.to_latents(pixels)
            return model

        _, _, height, width, _ = pixels.shape
        _, latent_frames, *_ = self.geometry.latent(frames, height, width)
        latents = self.to_latents(padded_clip(pixels, self.geometry.pixel_frames(latent_frames)))
        mask = first_frame_mask(latents, MASK_CHANNELS)
        states = None if self.image_encoder is None else self.image_encoder.states(pixels[0, 0])
        model.image = ImageInput(torch.cat([mask, latents], 1), states)
        return model

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        network: Any = self._hooks_at_timestep(t).network
        inputs = x
        options: dict[str, Any] = {}
        if self.timestep_per_token:
            inputs, t = self._by_token(x, t, cond)
        if self.image_input == "required":
            inputs = with_image_channels(self.name, x, self.image)
            if self.image is not None and self.image.states is not None:
                states = self.image.states.to(x.device, network.dtype)
                options["encoder_hidden_states_image"] = states.expand(len(x), *states.shape[1:])

        latents = inputs.to(network.dtype)
        output = network(latents, t, cond.text.to(latents), **options)
        return output.sample.to(x.dtype)

    def _by_token(self, x: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """(latents, timesteps `[branch, token]`): a given first frame is clean, and its tokens have timestep 0."""
        sizes = zip(x.shape[2:], self.unet.config.patch_size, strict=True)
        frames, height, width = (size // patch for size, patch in sizes)
        times = t[:, None].repeat(1, frames)

        # Of several windows the first alone begins with it.
        if self.first_frame is not None:
            begins = torch.tensor([branch.first_frame == 0 for branch in cond.branches], device=x.device)
            times[begins, 0] = 0
            given = torch.where(begins[:, None, None, None, None], self.first_frame.to(x), x[:, :, :1])
            x = torch.cat([given, x[:, :, 1:]], 2)
        return x, times.repeat_interleave(height * width, 1)
