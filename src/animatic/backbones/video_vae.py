"""Video autoencoders, a piece of time after another: what is decoded leaves as bytes at once, never a whole film."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from torch import Tensor


def decoded_pieces(vae: Any, latents: Tensor) -> Iterator[Tensor]:
    """Decode unscaled `[row, channel, frame, h, w]`: pieces `[row, 3, frame, height, width]` in -1..1, in order.

    Equal to `vae.decode`, which joins its pieces; with tiles on, what it answers is the one piece. CogVideoX's decoder
    takes the first latent frame for one frame only where the count is odd: an even one gets its last one once more.
    """
    decode = _wan if type(vae).__name__ == "AutoencoderKLWan" else _cogvideox
    if decode is _cogvideox and latents.shape[2] % 2 == 0:
        latents = torch.cat([latents, latents[:, :, -1:]], 2)
    yield from (vae.decode(latents).sample,) if vae.use_tiling else decode(vae, latents)


def _cogvideox(vae: Any, latents: Tensor) -> Iterator[Tensor]:
    """Three latent frames are nine frames, every two after them eight; a first one alone is one."""
    cache, size = None, vae.num_latent_frames_batch_size
    first = latents.shape[2] % size + (size if latents.shape[2] >= size else 0)
    for piece in (latents[:, :, :first], *latents[:, :, first:].split(size, 2)):
        if not piece.shape[2]:
            return
        piece = piece if vae.post_quant_conv is None else vae.post_quant_conv(piece)
        decoded, cache = vae.decoder(piece, conv_cache=cache)
        yield decoded


def _wan(vae: Any, latents: Tensor) -> Iterator[Tensor]:
    """The first latent frame is one frame, every other four."""
    vae.clear_cache()
    x, memory = vae.post_quant_conv(latents), vae._feat_map
    for i in range(x.shape[2]):
        decoded = vae.decoder(x[:, :, i : i + 1], feat_cache=memory, feat_idx=[0], first_chunk=i == 0)
        patch = vae.config.patch_size
        yield (decoded if patch is None else unpatchify(decoded, patch)).clamp(-1, 1)
    vae.clear_cache()


def to_bytes(pixels: Tensor) -> Tensor:
    """-1..1 `[row, 3, frame, height, width]` to uint8 `[row, frame, height, width, 3]`."""
    return ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(1, -1)


def latent_scaling(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, 1 / deviation) of a video autoencoder's own latents, per channel."""
    if vae.config.get("latents_std") is None:
        return like.new_zeros(()), like.new_tensor(vae.config.scaling_factor)
    mean, deviation = (torch.tensor(vae.config[key]).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
    return mean.to(like), (1 / deviation).to(like)
