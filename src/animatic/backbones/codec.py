"""A linear patch codec in the shape of a diffusers VAE: what a VAE is to Stable Diffusion, for the small `mini`.

Each `patch` x `patch` block of pixels becomes `channels` numbers by principal components; decoding is the transpose.
Blocks know nothing of each other, so their seams show. A codec may have a learnt `refiner`, which sees the neighbours
of each block and adds to its pixels: latents and all that was trained on them stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock, DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

REFINER_BLOCKS = 3


class PatchCodec(ModelMixin, ConfigMixin):
    """Encodes images `[n, 3, h, w]` in -1..1 to latents `[n, channels, h/patch, w/patch]` and back.

    `refiner_width`: channels of the refiner; 0: there is none.
    """

    @register_to_config
    def __init__(self, patch: int = 8, channels: int = 32, scaling_factor: float = 1.0, refiner_width: int = 0) -> None:
        super().__init__()
        self.patch, self.channels = patch, channels
        pixels = 3 * patch * patch
        self.mean = nn.Parameter(torch.zeros(pixels), requires_grad=False)
        self.basis = nn.Parameter(torch.eye(pixels)[:, :channels].clone(), requires_grad=False)
        self.deviation = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.refiner = _refiner(patch, channels, refiner_width) if refiner_width else None

    @torch.no_grad()
    def fit(self, images: Tensor, weights: Tensor, soften: float = 0.6, level: float = 0.5) -> PatchCodec:
        """Principal components of the blocks of `images`, each counted with `weights` `[n, 1, h, w]`.

        Latent channel k is divided by its standard deviation to the power `soften`, then all by one number so that
        their root mean square is `level`: the strongest components keep most of the signal, the weakest are lifted out
        of the noise, and a level below 1 spends more of the noise levels on where things are (Chen 2023).
        """
        channels = self.channels
        blocks = F.pixel_unshuffle(images, self.patch).movedim(1, -1).flatten(0, -2)
        weight = F.max_pool2d(weights, self.patch).flatten()[:, None]
        mean = (blocks * weight).sum(0) / weight.sum()
        centred = blocks - mean
        values, vectors = torch.linalg.eigh((centred * weight).T @ centred / weight.sum())
        values, vectors = values.flip(0)[:channels].clamp(min=1e-8), vectors.flip(1)[:, :channels]
        spread = values.sqrt() ** soften
        spread = spread * ((centred @ vectors / spread) ** 2).mean().sqrt() / level
        for parameter, value in ((self.mean, mean), (self.basis, vectors), (self.deviation, spread)):
            parameter.copy_(value)
        return self

    def encode(self, images: Tensor) -> AutoencoderTinyOutput:
        blocks = F.pixel_unshuffle(images, self.patch).movedim(1, -1)
        return AutoencoderTinyOutput(latents=((blocks - self.mean) @ self.basis / self.deviation).movedim(-1, 1))

    def decode(self, latents: Tensor) -> DecoderOutput:
        blocks = (latents.movedim(1, -1) * self.deviation) @ self.basis.T + self.mean
        images = F.pixel_shuffle(blocks.movedim(-1, 1), self.patch)
        if self.refiner is not None:
            images = images + self.refiner(latents)
        return DecoderOutput(sample=images)


def encoded(answer: Any, draw: torch.Generator | None = None) -> Tensor:
    """The latents in what a VAE's `encode` answers: its posterior's mode, or with `draw` a sample of the posterior.

    Autoencoders without a posterior (AutoencoderTiny, `PatchCodec`) have one answer.
    """
    if isinstance(answer, AutoencoderTinyOutput):
        return answer.latents
    return answer.latent_dist.mode() if draw is None else answer.latent_dist.sample(draw)


def _refiner(patch: int, channels: int, width: int) -> nn.Sequential:
    """Blocks of diffusers' `AutoencoderTiny` on the grid of latents, then all pixels of a cell at once.

    Its last layer is zero, so that it adds nothing until it is trained. On the grid, three blocks of 128 channels cost
    less than one block of 32 channels would on the pixels.
    """
    last = nn.Conv2d(width, 3 * patch * patch, 3, padding=1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    blocks = [AutoencoderTinyBlock(width, width, "relu") for _ in range(REFINER_BLOCKS)]
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), *blocks, last, nn.PixelShuffle(patch))
