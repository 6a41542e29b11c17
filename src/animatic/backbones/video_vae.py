"""Decoding of video autoencoders piece by piece along time, so that only uint8 frames are held of the whole clip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from torch import Tensor


def decoded_pieces(vae: Any, latents: Tensor) -> Iterator[Tensor]:
    """Decode unscaled latents `[sample, channel, frame, h, w]` to pieces `[sample, 3, frame, height, width]` in -1..1.

    Joined along time they equal the output of `vae.decode`; there is one piece with tiling, and of LTX-Video and
    HunyuanVideo 1.5. CogVideoX's decoder turns the first latent frame into a single frame only where the number of
    latent frames is odd: of an even number the last is repeated.
    """
    kind = type(vae).__name__
    if kind == "AutoencoderKLLTXVideo":
        yield _ltx(vae, latents)
        return
    is_whole = kind == "AutoencoderKLHunyuanVideo15"  # its attention is over all frames
    decode = _wan if kind == "AutoencoderKLWan" else _cogvideox
    if decode is _cogvideox and not is_whole and latents.shape[2] % 2 == 0:
        last = latents[:, :, -1:]
        latents = torch.cat([latents, last], 2)
    if vae.use_tiling or is_whole:
        yield vae.decode(latents).sample
    else:
        yield from decode(vae, latents)


def _cogvideox(vae: Any, latents: Tensor) -> Iterator[Tensor]:
    """The first piece has three latent frames (nine frames) or one (one frame), every other two (eight frames)."""
    cache = None
    size = vae.num_latent_frames_batch_size
    count = latents.shape[2]
    first = count % size + size if count >= size else count % size
    rest = latents[:, :, first:].split(size, 2)
    for piece in (latents[:, :, :first], *rest):
        if not piece.shape[2]:
            return
        if vae.post_quant_conv is not None:
            piece = vae.post_quant_conv(piece)
        decoded, cache = vae.decoder(piece, conv_cache=cache)
        yield decoded


def _wan(vae: Any, latents: Tensor) -> Iterator[Tensor]:
    """Each latent frame is a piece: the first has one frame, every other four."""
    vae.clear_cache()
    x = vae.post_quant_conv(latents)
    cache = vae._feat_map
    patch = vae.config.patch_size
    for i in range(x.shape[2]):
        frame = x[:, :, i : i + 1]
        decoded = vae.decoder(frame, feat_cache=cache, feat_idx=[0], first_chunk=i == 0)
        pixels = decoded if patch is None else unpatchify(decoded, patch)
        yield pixels.clamp(-1, 1)
    vae.clear_cache()


def _ltx(vae: Any, latents: Tensor) -> Tensor:
    """The whole clip: its decoder looks ahead in time. Decoders of 0.9.1 and later are told that nothing is noisy."""
    timestep = latents.new_zeros(len(latents)) if vae.config.timestep_conditioning else None
    return vae.decode(latents, timestep).sample


def to_bytes(pixels: Tensor) -> Tensor:
    """`[sample, 3, frame, height, width]` in -1..1 to uint8 `[sample, frame, height, width, 3]`."""
    levels = ((pixels.float() + 1) * 127.5).round()
    return levels.clamp(0, 255).to(torch.uint8).movedim(1, -1)


def latent_scaling(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, 1 / standard deviation) of a video autoencoder's latents per channel, as tensors like `like`."""
    config = vae.config
    if type(vae).__name__ == "AutoencoderKLLTXVideo":  # in its weights
        shape = (1, -1, 1, 1, 1)
        mean, deviation = vae.latents_mean.view(shape), vae.latents_std.view(shape)
        return mean.to(like), (config.scaling_factor / deviation).to(like)
    if config.get("latents_std") is None:  # one factor for all channels
        return like.new_zeros(()), like.new_tensor(config.scaling_factor)
    mean = torch.tensor(config["latents_mean"]).view(1, -1, 1, 1, 1)
    deviation = torch.tensor(config["latents_std"]).view(1, -1, 1, 1, 1)
    return mean.to(like), (1 / deviation).to(like)
