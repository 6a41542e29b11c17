"""What `mini-2` is made of: its network, its text encoder and tokenizer, its geometry, with random weights."""

from __future__ import annotations

import random
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import nn

from ..backbones.codec import PatchCodec
from ..backbones.grounding import add_grounding, is_grounding
from ..backbones.unet3d import UNet3D
from ..core.backbone import Geometry, ModelDefaults
from ..core.text import ClipText
from ..training.text_encoder import new_text_encoder, train_tokenizer
from .captions import invent
from .world import BACKGROUNDS, FPS, FRAMES, NOUNS, SIZE

PATCH, CHANNELS = 4, 12  # pixels on the side of a cell of the latents, and its channels
LENGTH = 64  # tokens in a prompt
WIDTH = 96  # channels of a token state
CAPTIONS = 4000  # of stills, and as many of clips, that the tokenizer is trained on
GEOMETRY = Geometry(FRAMES, SIZE, SIZE, channels=CHANNELS, vae_spatial_ratio=PATCH, fps=FPS, max_frames=64)
# guided in the first half alone: later it amplifies errors of colour
DEFAULTS = ModelDefaults(steps=20, guidance=4.0, guidance_interval=(0.0, 0.5), method="lvd-gligen")


def build(codec: PatchCodec, seed: int = 0) -> UNet3D:
    """A new `mini-2` on the latents of `codec`, whose networks have random weights."""
    torch.manual_seed(seed)
    unet = new_network()
    add_grounding(unet)
    open_grounding(unet)
    tokenizer = new_tokenizer(random.Random(seed))
    encoder = new_text_encoder(tokenizer, WIDTH, heads=6)
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    return assemble(unet, codec, ClipText("mini", tokenizer, encoder), scheduler)


def assemble(unet: UNet3DConditionModel, codec: PatchCodec, text: ClipText, scheduler: Any) -> UNet3D:
    """The parts of `mini-2` as a model."""
    words = tuple(NOUNS)
    model = UNet3D("mini", unet, codec, text, scheduler, GEOMETRY, DEFAULTS, coordinates=True, words=words)
    model.family = "mini"
    model.backgrounds = tuple(BACKGROUNDS)
    return model


def new_network() -> UNet3DConditionModel:
    """The network with random weights: 16 x 16 cells without attention, 8 x 8 and 4 x 4 with it.

    An object between the cells of the latents looks different at each of its offsets: 16 of them with cells of 4
    pixels, 64 with cells of 8. The outermost level, without attention, draws; those inside decide what is where.
    """
    unet = UNet3DConditionModel(
        sample_size=SIZE // PATCH,
        in_channels=CHANNELS + 3,
        out_channels=CHANNELS,
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=(48, 80, 80),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=16,
    )
    disable_dropout(unet)
    temporal_layers_as_identities(unet)
    return unet


def disable_dropout(network: nn.Module) -> None:
    """Set all dropout to 0: the toy world has endless scenes, so that there is no overfitting."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def temporal_layers_as_identities(network: nn.Module) -> None:
    """Let temporal transformers add nothing until they are trained, as temporal convolutions do."""
    for module in network.modules():
        if isinstance(module, TransformerTemporalModel):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)


def open_grounding(unet: nn.Module) -> None:
    """Let untrained grounding layers have no effect at first, and gradients from the first step on.

    Their last layers are zero and their gates are open; GLIGEN's own gates are closed, and learn slowly.
    """
    for name, parameter in unet.named_parameters():
        if not is_grounding(name):
            continue
        if "alpha" in name:
            nn.init.ones_(parameter)
        elif "attn.to_out.0." in name or "ff.net.2." in name:
            nn.init.zeros_(parameter)


def new_tokenizer(rng: random.Random) -> Any:
    """A tokenizer trained on toy captions, each word of which is one token."""
    captions = []
    for frames in (1, FRAMES):
        captions += [invent(rng, frames).prompt for _ in range(CAPTIONS)]
    return train_tokenizer(captions, LENGTH)
