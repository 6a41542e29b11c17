"""A linear patch codec with the interface of a diffusers VAE: the autoencoder of the small model `mini`.

Each `patch` x `patch` block of pixels becomes `channels` numbers by principal component analysis; decoding is the
transpose. Blocks are independent, so their seams are visible. A codec may have a learnt `refiner`, a convolutional
network on the latents whose output is added to the decoded pixels: the latents stay as they are.
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
        self.patch = patch
        self.channels = channels

        # Before it is fitted the codec keeps the first values of a block as they are.
        pixels = 3 * patch * patch
        first_axes = torch.eye(pixels)[:, :channels].clone()
        self.mean = nn.Parameter(torch.zeros(pixels), requires_grad=False)
        self.basis = nn.Parameter(first_axes, requires_grad=False)
        self.deviation = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.refiner = _refiner(patch, channels, refiner_width) if refiner_width else None

    @torch.no_grad()
    def fit(self, images: Tensor, weights: Tensor, soften: float = 0.6, level: float = 0.5) -> PatchCodec:
        """Principal components of the blocks of `images`, each counted with `weights` `[n, 1, h, w]`.

        Latent channel k is divided by its standard deviation to the power `soften`, then all by one number so that
        their root mean square is `level`. A `soften` below 1 leaves strong components stronger; a level below 1 shifts
        the noise schedule towards noise, where layout is decided (Chen 2023, https://arxiv.org/abs/2301.10972).
        """
        # Blocks as vectors, [block, 3 patch^2], and their weights: the largest of a pixel in them.
        unshuffled = F.pixel_unshuffle(images, self.patch)
        blocks = unshuffled.movedim(1, -1).flatten(0, -2)
        weight = F.max_pool2d(weights, self.patch).flatten()[:, None]

        # Weighted mean and covariance of the blocks.
        total = weight.sum()
        mean = (blocks * weight).sum(0) / total
        centred = blocks - mean
        covariance = (centred * weight).T @ centred / total

        # The largest principal components; eigh gives them in ascending order.
        variances, vectors = torch.linalg.eigh(covariance)
        variances = variances.flip(0)[: self.channels].clamp(min=1e-8)
        vectors = vectors.flip(1)[:, : self.channels]

        # Their scale.
        deviation = variances.sqrt() ** soften
        latents = centred @ vectors / deviation
        root_mean_square = (latents**2).mean().sqrt()
        deviation = deviation * root_mean_square / level

        self.mean.copy_(mean)
        self.basis.copy_(vectors)
        self.deviation.copy_(deviation)
        return self

    def encode(self, images: Tensor) -> AutoencoderTinyOutput:
        blocks = F.pixel_unshuffle(images, self.patch).movedim(1, -1)
        latents = (blocks - self.mean) @ self.basis / self.deviation
        return AutoencoderTinyOutput(latents=latents.movedim(-1, 1))

    def decode(self, latents: Tensor) -> DecoderOutput:
        components = latents.movedim(1, -1) * self.deviation
        blocks = components @ self.basis.T + self.mean

        # Blocks side by side, and what the refiner adds to all of them.
        images = F.pixel_shuffle(blocks.movedim(-1, 1), self.patch)
        if self.refiner is not None:
            images = images + self.refiner(latents)
        return DecoderOutput(sample=images)


def latents_of(encoding: Any, draw: torch.Generator | None = None) -> Tensor:
    """The latents in the output of a VAE's `encode`: the mode of the posterior, or with `draw` a sample of it.

    Autoencoders without a posterior (AutoencoderTiny, `PatchCodec`) return latents.
    """
    if isinstance(encoding, AutoencoderTinyOutput):
        return encoding.latents
    posterior = encoding.latent_dist
    return posterior.mode() if draw is None else posterior.sample(draw)


def _refiner(patch: int, channels: int, width: int) -> nn.Sequential:
    """Blocks of diffusers' `AutoencoderTiny` at the resolution of the latents, then a pixel shuffle.

    Its last layer is zero, so that it adds nothing until it is trained. Three blocks of 128 channels at this
    resolution cost less than one block of 32 channels at that of the pixels.
    """
    # The last layer has a block of pixels for each latent cell.
    first = nn.Conv2d(channels, width, 3, padding=1)
    blocks = [AutoencoderTinyBlock(width, width, "relu") for _ in range(REFINER_BLOCKS)]
    last = nn.Conv2d(width, 3 * patch * patch, 3, padding=1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    unshuffle = nn.PixelShuffle(patch)
    return nn.Sequential(first, nn.ReLU(), *blocks, last, unshuffle)
