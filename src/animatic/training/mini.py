"""What `mini` is: its network, its text encoder with a tokenizer of its own, its codec, its place on disk."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import nn

from ..backbones.base import Geometry, Habits
from ..backbones.codec import PatchCodec
from ..backbones.unet3d import UNet3D
from ..scene import write_atomically
from ..text import ClipText
from . import toyworld
from .captions import invent
from .words import fresh_encoder, learnt_tokenizer

LENGTH = 64  # tokens
WIDTH = 96  # of a token state
GEOMETRY = Geometry(frames=8, height=toyworld.SIZE, width=toyworld.SIZE, channels=32, stride=8, fps=4.0, max_frames=32)
HABITS = Habits(steps=25, guidance=4.0)


def build(seed: int = 0) -> UNet3D:
    """A fresh `mini`, its codec fitted, its networks untrained."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    unet = UNet3DConditionModel(
        sample_size=toyworld.GRID,
        in_channels=GEOMETRY.channels + 3,
        out_channels=GEOMETRY.channels,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(80, 80),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=16,
    )
    for module in unet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the world is endless: nothing to overfit
        if isinstance(module, TransformerTemporalModel):  # time layers begin as identities, as its convolutions do
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    tokenizer = tokenize(rng)
    encoder = fresh_encoder(tokenizer, WIDTH, heads=6)
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    text = ClipText("mini", tokenizer, encoder)
    codec = fit_codec(rng)
    return UNet3D("mini", unet, codec, text, scheduler, GEOMETRY, HABITS, coordinates=True, words=tuple(toyworld.NOUNS))


def tokenize(rng: random.Random) -> Any:
    """Of toy captions: every word of theirs is one token."""
    return learnt_tokenizer([invent(rng, frames).prompt for frames in (1, 8) for _ in range(4000)], LENGTH)


def fit_codec(rng: random.Random) -> PatchCodec:
    films = [toyworld.draw(invent(rng, 1), 1) for _ in range(2000)]
    images = torch.from_numpy(np.concatenate([video for video, _ in films])).movedim(-1, 1) / 127.5 - 1
    cover = torch.from_numpy(np.stack([cover.max(0) for _, cover in films]))
    return PatchCodec(GEOMETRY.stride, GEOMETRY.channels).fit(images, 1 + 4 * cover)


def save(model: UNet3D, unet: Any, encoder: Any, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write `model` with these networks as a diffusers folder; `animatic.json` holds what diffusers has no word for."""
    for name, part in (("unet", unet), ("vae", model.vae), ("text_encoder", encoder)):
        copy.deepcopy(part).to(dtype).save_pretrained(folder / name)
    model.text.tokenizer.save_pretrained(folder / "tokenizer")
    model.scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "TextToVideoSDPipeline",
        "unet": ["diffusers", "UNet3DConditionModel"],
        "vae": ["animatic", "PatchCodec"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    card = {
        "coordinates": model.coordinates,
        "words": model.words,
        "geometry": asdict(model.geometry),
        "habits": asdict(model.habits),
    }
    for name, data in (("model_index.json", index), ("animatic.json", card)):
        write_atomically(folder / name, (json.dumps(data, indent=1) + "\n").encode())
