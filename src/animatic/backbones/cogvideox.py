"""Video transformers on diffusers' stock `CogVideoXTransformer3DModel`: CogVideoX 2B, 5B, 1.5, their image models.

Yang et al. 2024, https://arxiv.org/abs/2408.06072, https://github.com/zai-org/CogVideo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor, nn

from ..core.arithmetic import ceil_div
from ..core.backbone import Backbone, Geometry
from ..core.feature_reuse import FeatureCache
from ..core.types import Conditioning, Step
from ..errors import AnimaticError
from .attention_hooks import AttentionHooks, joint_kind
from .attention_processors import JointProcessor
from .codec import latents_of
from .components import Components
from .feature_caches import FirstBlock, is_cacheable
from .folder import read_json
from .image_input import IMAGE_PIPELINES, ImageInput, with_image_channels
from .presets import COGVIDEOX_DEFAULTS, WAN
from .video_vae import decoded_pieces, latent_scaling, to_bytes

BLOCKS = ("transformer_blocks", "blocks")  # module lists of CogVideoX and of Wan
VAE_SPATIAL_RATIO = 8  # of CogVideoX: pixels a side of a latent cell
OFFSET = 2.0  # "ofs" that diffusers' pipeline gives to CogVideoX 1.5 I2V


class Transformer(Components):
    """A transformer over the latents of a video autoencoder.

    Samples are float32 whatever the type of the weights. Where a token spans two latent frames (CogVideoX 1.5) the
    first latent frame is padding: it completes the first pair, and is dropped before decoding.
    """

    network_folder = "transformer"
    architecture = "transformer"
    provides = frozenset({"text maps", "video"})
    native_fps: ClassVar[float] = 8.0  # which no configuration says
    image: ImageInput | None = None

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        config = read_json(folder / "config.json")

        # Models of poses or masks have further input channels; `check_image_model` is of the others.
        inputs, outputs = config.get("in_channels"), config.get("out_channels")
        if outputs and inputs not in (outputs, outputs + cls.image_channels(outputs)):
            wanted = "want a text-to-video or image-to-video model"
            raise AnimaticError(f"{folder}: reads {inputs} channels and answers {outputs}; {wanted}")
        return super().read(folder, dtype)

    @classmethod
    def image_channels(cls, latent_channels: int) -> int:
        """Channels that its image-to-video models read besides the latents; 0 where there are no such models."""
        return 0

    def __post_init__(self) -> None:
        super().__post_init__()
        config = self.unet.config
        further = config.in_channels - (config.out_channels or config.in_channels)
        if further and further == self.image_channels(config.out_channels):
            self.image_input = "required"

    def read_extras(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        """Raises `AnimaticError` where the network's further channels are not those of an image."""
        kind = str(index.get("_class_name", ""))
        if self.image_input == "required" and kind not in IMAGE_PIPELINES:
            raise AnimaticError(f"{folder}: is of a {kind}; want {' or '.join(IMAGE_PIPELINES)}, or text-to-video")

    @classmethod
    def native_geometry(cls, network: Any, vae: Any) -> Geometry:
        """The geometry by the configurations. Wan's has no native size: that of Wan 2.1 is assumed."""
        if "sample_frames" in network:
            spatial_ratio = 2 ** (len(vae.block_out_channels) - 1)
            temporal_ratio = vae.temporal_compression_ratio
            frames = network.sample_frames
            height, width = network.sample_height * spatial_ratio, network.sample_width * spatial_ratio
        else:
            spatial_ratio, temporal_ratio = vae.scale_factor_spatial, vae.scale_factor_temporal
            frames, height, width = WAN.frames, WAN.height, WAN.width

        # CogVideoX's config has no out_channels where they are those of the input.
        channels = network.out_channels or network.in_channels
        patch = patch_of(network)
        size = frames, height, width
        return Geometry(*size, channels, spatial_ratio, cls.native_fps, vae_temporal_ratio=temporal_ratio, patch=patch)

    def save_memory(self) -> Components:
        """Gradient checkpointing as for any network, and tiled decoding for a video autoencoder."""
        if self.geometry.vae_temporal_ratio > 1:
            self.vae.enable_tiling()
        return super().save_memory()

    def chain(self, step: Step) -> Mapping[str, nn.Module]:
        blocks: dict[str, nn.Module] = {}
        for name, child in self.hooks_at(step).network.named_children():
            if name in BLOCKS:
                for i, block in child.named_children():
                    blocks[f"{name}.{i}"] = block
        return blocks

    def feature_cache(self) -> FeatureCache | None:
        if not all(map(is_cacheable, self.networks)):
            return None
        return FirstBlock(lambda step: self.hooks_at(step).network, self.networks)

    def noise(self, seeds: Sequence[int], frames: int, height: int, width: int, windowed: bool = False) -> Tensor:
        return super().noise(seeds, frames, height, width, windowed).float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels of clean latents, as in `Backbone.decode`.

        A clip of n requested frames comes back with n frames where the temporal ratio of the autoencoder divides n - 1,
        else with up to ratio - 1 more.
        """
        ratio = self.geometry.vae_temporal_ratio
        if ratio == 1:
            return super().decode(latents)

        # Latents in units of the VAE, without the frames that pad the first temporal patch, see `to_latents`.
        padding = self.geometry.patch[0] - 1
        x = latents[:, :, padding:].to(self.vae.dtype)
        mean, scale = latent_scaling(self.vae, x)
        unscaled = 1 / scale * x + mean

        # One clip at a time, each piece by piece along time: only bytes are held of a whole clip.
        clips = []
        for clip in unscaled.split(1):
            pieces = [to_bytes(piece) for piece in decoded_pieces(self.vae, clip)]
            clips.append(torch.cat(pieces, 1))
        frames = (x.shape[2] - 1) * ratio + 1
        return torch.cat(clips)[:, :frames]

    @torch.no_grad()
    def to_latents(self, pixels: Tensor, draw: torch.Generator | None = None) -> Tensor:
        if self.geometry.vae_temporal_ratio == 1:
            return super().to_latents(pixels, draw)
        video = pixels.to(self.device).movedim(-1, 1)  # [sample, 3, frame, height, width]
        scaled = video.to(self.vae.dtype) / 127.5 - 1

        # Latents in units of standard deviations.
        x = latents_of(self.vae.encode(scaled), draw).float()
        mean, scale = latent_scaling(self.vae, x)
        x = (x - mean) * scale

        # The first latent frame is repeated, so that latent frames fill whole temporal patches.
        missing = self.geometry.patch[0] - 1
        padding = [x[:, :, :1]] * missing
        return torch.cat([*padding, x], 2)


class CogVideoX(Transformer):
    """CogVideoX: text and video tokens in one sequence, in every attention layer."""

    network = CogVideoXTransformer3DModel
    usual_defaults = COGVIDEOX_DEFAULTS

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, joint_kind, JointProcessor)

    @classmethod
    def image_channels(cls, latent_channels: int) -> int:
        return latent_channels

    def check_size(self, frames: int, height: int, width: int) -> None:
        super().check_size(frames, height, width)
        config = self.unet.config
        check_positions(config, height // VAE_SPATIAL_RATIO, width // VAE_SPATIAL_RATIO)

        # 5B I2V has a learned table of positions, of one size.
        own = (config.sample_width * VAE_SPATIAL_RATIO, config.sample_height * VAE_SPATIAL_RATIO)
        if config.use_learned_positional_embeddings and (width, height) != own:
            raise AnimaticError(f"size is {width}x{height}; {self.name} takes {own[0]}x{own[1]} alone")

    @torch.no_grad()
    def with_image(self, pixels: Tensor, frames: int) -> Backbone:
        if not self.image_input:
            return super().with_image(pixels, frames)
        latents = self.to_latents(pixels)[:, :, -1:]

        # 1.5 was trained with the latents of images divided by the factor, not multiplied.
        if self.vae.config.get("invert_scale_latents"):
            latents = latents / self.vae.config.scaling_factor**2

        # The first latent frame has the image, also where it is spare; the others have zeros.
        _, _, height, width, _ = pixels.shape
        shape = self.geometry.latent(frames, height, width)
        channels = latents.new_zeros(1, *shape)
        channels[:, :, :1] = latents
        model = copy(self)
        model.image = ImageInput(channels)
        return model

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        inputs = x
        options: dict[str, Any] = {}
        if self.image_input:
            inputs = with_image_channels(self.name, x, self.image)
        if self.unet.config.ofs_embed_dim is not None:
            options["ofs"] = x.new_full((1,), OFFSET)

        latents = inputs.movedim(2, 1).to(self.unet.dtype)  # [branch, frame, channel, height, width]
        rotary = rotary_embedding(self.unet.config, latents)
        prediction = self.unet(latents, cond.text.to(latents), t, image_rotary_emb=rotary, **options).sample
        return prediction.movedim(1, 2).to(x.dtype)


def patch_of(config: Any) -> tuple[int, int, int]:
    """Latent frames, and rows and columns of latent cells, of one token, by the configuration of a transformer."""
    if isinstance(config.patch_size, int):
        return config.patch_size_t or 1, config.patch_size, config.patch_size
    return tuple(config.patch_size)


def check_positions(config: Any, height: int, width: int) -> None:
    """Raise where a size in latent cells is larger than the positions of CogVideoX 1.5 reach."""
    has_limit = config.use_rotary_positional_embeddings and config.patch_size_t is not None
    if not has_limit or (height <= config.sample_height and width <= config.sample_width):
        return
    pixels = VAE_SPATIAL_RATIO
    largest = f"{config.sample_width * pixels}x{config.sample_height * pixels}"
    raise AnimaticError(f"size is {width * pixels}x{height * pixels}; this CogVideoX 1.5 takes up to {largest}")


def rotary_embedding(config: Any, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Cosines and sines `[video token, width]` of rotary positions, for `x` `[branch, frame, channel, height, width]`.

    None for the 2B model, which adds absolute positions. Raises `AnimaticError` where the size is larger than the
    positions of CogVideoX 1.5 reach.
    """
    if not config.use_rotary_positional_embeddings:
        return None

    # Sizes in tokens.
    patch = config.patch_size
    patch_frames = config.patch_size_t
    height = x.shape[3] // patch
    width = x.shape[4] // patch
    native = (config.sample_height // patch, config.sample_width // patch)

    if patch_frames is None:  # 1.0: positions of other sizes are scaled into the native frame
        # here: the pipeline's module imports much that no other model needs
        from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

        crop = get_resize_crop_region_for_grid((height, width), *reversed(native))
        options: dict[str, Any] = {"crops_coords": crop}
    else:
        check_positions(config, x.shape[3], x.shape[4])
        options = {"crops_coords": None, "grid_type": "slice", "max_size": native}

    # diffusers' table for tokens in the order frame, row, column.
    embedding: Any = get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim,
        grid_size=(height, width),
        temporal_size=ceil_div(x.shape[1], patch_frames or 1),
        device=x.device,
        **options,
    )
    return embedding
