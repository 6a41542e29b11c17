"""Video transformers on diffusers' stock `CogVideoXTransformer3DModel`: CogVideoX 2B, 5B and 1.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor, nn

from ..core.backbone import Geometry
from ..core.types import Conditioning, Step
from ..errors import AnimaticError
from .attention_hooks import AttentionHooks, JointProcessor, joint_kind
from .codec import encoded
from .components import Components
from .folder import read_json
from .presets import WAN
from .video_vae import frames_of, scale_of, to_bytes

BLOCKS = ("transformer_blocks", "blocks")  # of CogVideoX and Wan
CELL = 8  # pixels of a latent cell of CogVideoX


class Transformer(Components):
    """A transformer over the latents of a video autoencoder; the sample keeps full precision, whatever the network.

    Where a token holds two latent frames (CogVideoX 1.5) the first latent frame is spare: it completes the first pair.
    """

    network_folder = "transformer"
    provides = frozenset({"text maps", "video"})

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        config = read_json(folder / "config.json")
        seen, told = config.get("in_channels"), config.get("out_channels")
        if told and seen != told:
            raise AnimaticError(f"{folder}: reads {seen} channels and answers {told}; want a text-to-video model")
        if config.get("added_kv_proj_dim"):
            raise AnimaticError(f"{folder}: looks at a picture (added_kv_proj_dim); want a text-to-video model")
        return super().read(folder, dtype)

    @classmethod
    def native(cls, network: Any, vae: Any) -> Geometry:
        """Wan's config has no native size: that of Wan 2.1 then."""
        if "sample_frames" in network:
            stride, pace = 2 ** (len(vae.block_out_channels) - 1), vae.temporal_compression_ratio
            frames, height, width = network.sample_frames, network.sample_height * stride, network.sample_width * stride
        else:
            stride, pace = vae.scale_factor_spatial, vae.scale_factor_temporal
            frames, height, width = WAN.frames, WAN.height, WAN.width
        channels = network.out_channels or network.in_channels
        return Geometry(frames, height, width, channels, stride, vae_temporal_ratio=pace, patch=patch_of(network))

    def save_memory(self) -> Components:
        """Checkpoints as for any network, and tiles for the autoencoder where it knows them."""
        if self.geometry.vae_temporal_ratio > 1:
            self.vae.enable_tiling()
        return super().save_memory()

    def chain(self, step: Step) -> Mapping[str, nn.Module]:
        children = self.expert(step).network.named_children()
        lists = [(name, child) for name, child in children if name in BLOCKS]
        return {f"{name}.{i}": block for name, child in lists for i, block in child.named_children()}

    def noise(self, seeds: Sequence[int], frames: int, height: int, width: int, windowed: bool = False) -> Tensor:
        return super().noise(seeds, frames, height, width, windowed).float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """As many frames as were asked for when `pace` divides one less than them, else up to `pace` - 1 more."""
        if self.geometry.vae_temporal_ratio == 1:
            return super().decode(latents)
        x = latents[:, :, self.geometry.patch[0] - 1 :].to(self.vae.dtype)
        mean, scale = scale_of(self.vae, x)
        rows = (1 / scale * x + mean).split(1)
        films = [torch.cat([to_bytes(piece) for piece in frames_of(self.vae, row)], 1) for row in rows]
        return torch.cat(films)[:, : (x.shape[2] - 1) * self.geometry.vae_temporal_ratio + 1]

    @torch.no_grad()
    def to_latents(self, pixels: Tensor, draw: torch.Generator | None = None) -> Tensor:
        if self.geometry.vae_temporal_ratio == 1:
            return super().to_latents(pixels, draw)
        video = pixels.to(self.device).movedim(-1, 1).to(self.vae.dtype) / 127.5 - 1
        x = encoded(self.vae.encode(video), draw).float()
        mean, scale = scale_of(self.vae, x)
        x = (x - mean) * scale
        return torch.cat([x[:, :, :1]] * (self.geometry.patch[0] - 1) + [x], 2)


class CogVideoX(Transformer):
    network = CogVideoXTransformer3DModel

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, joint_kind, JointProcessor)

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        seen = x.movedim(2, 1).to(self.unet.dtype)
        answer = self.unet(seen, cond.text.to(seen), t, image_rotary_emb=turns(self.unet.config, seen)).sample
        return answer.movedim(1, 2).to(x.dtype)


def patch_of(config: Any) -> tuple[int, int, int]:
    """Latent frames, rows and columns of cells that make a token."""
    if isinstance(config.patch_size, int):
        return config.patch_size_t or 1, config.patch_size, config.patch_size
    return tuple(config.patch_size)


def turns(config: Any, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Cosines and sines `[video token, width]` of the rotary positions in `x` `[row, frame, channel, height, width]`.

    None for the 2B model, which adds its positions. Raises `AnimaticError` where 1.5 has no positions for the size.
    """
    if not config.use_rotary_positional_embeddings:
        return None
    p, pairs = config.patch_size, config.patch_size_t
    height, width = x.shape[3] // p, x.shape[4] // p
    native = config.sample_height // p, config.sample_width // p
    if pairs is None:  # 1.0: positions of other sizes are squeezed into the native frame
        where: dict[str, Any] = {"crops_coords": get_resize_crop_region_for_grid((height, width), *reversed(native))}
    else:
        if height > native[0] or width > native[1]:
            cell = p * CELL
            largest = f"{native[1] * cell}x{native[0] * cell}"
            raise AnimaticError(f"size is {width * cell}x{height * cell}; this CogVideoX 1.5 takes up to {largest}")
        where = {"crops_coords": None, "grid_type": "slice", "max_size": native}
    made: Any = get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim, grid_size=(height, width), temporal_size=-(-x.shape[1] // (pairs or 1)),
        device=x.device, **where,
    )  # fmt: skip
    return made
