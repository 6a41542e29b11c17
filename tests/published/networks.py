"""Model folders of seeded tiny networks, the counterparts of those that the originals were run on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from diffusers import (
    AutoencoderKL,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from seeded import COG_SOLVER, SOLVER, TEXT, UNET, seeded
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from animatic.backbones import load
from animatic.backbones.cogvideox import CogVideoX
from animatic.backbones.components import Components
from animatic.backbones.grounding import add_grounding
from animatic.backbones.presets import COGVIDEOX_DEFAULTS
from animatic.controls.energy import Energy, Terms
from animatic.core.backbone import Geometry
from animatic.core.control import Control
from animatic.core.text import T5Text
from animatic.core.types import Conditioning as Told
from animatic.core.types import Denoise, Step


def video_network(boxes: bool = False, heads: int = 4) -> UNet3DConditionModel:
    """ModelScope's blocks, twice the heads in the two inner levels; `boxes`: with GLIGEN's layers."""
    space = "CrossAttnDownBlock3D", "CrossAttnUpBlock3D"
    network = UNet3DConditionModel(
        down_block_types=(space[0],) * 3 + ("DownBlock3D",), up_block_types=("UpBlock3D",) + (space[1],) * 3,
        attention_head_dim=32 // heads, **UNET,
    )  # fmt: skip
    if boxes:
        add_grounding(network)
        network.register_to_config(attention_type="gated")  # as LVD's folders say that these layers are there
    return seeded(network, loud=2)  # louder, it makes rounding errors a hundred times larger at every step


def image_network(boxes: bool = False) -> UNet2DConditionModel:
    """Stable Diffusion's blocks, without attention at full size, which nothing steers; `boxes`: GLIGEN's layers."""
    down, up = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
    return seeded(
        UNet2DConditionModel(
            down_block_types=("DownBlock2D", down, down, "DownBlock2D"),
            up_block_types=("UpBlock2D", up, up, "UpBlock2D"),
            attention_head_dim=8, attention_type="gated" if boxes else "default", **UNET,
        ),
        loud=2,
    )  # fmt: skip


def transformer() -> CogVideoXTransformer3DModel:
    """CogVideoX-2B's blocks, six of them: 13 latent frames of 2 x 3 tokens, and 16 of text."""
    return seeded(
        CogVideoXTransformer3DModel(
            num_attention_heads=4, attention_head_dim=8, in_channels=4, out_channels=4, time_embed_dim=16,
            text_embed_dim=32, num_layers=6, sample_height=4, sample_width=6, sample_frames=49, max_text_seq_length=16,
        )
    )  # fmt: skip


def transformer_model() -> CogVideoX:
    """`transformer` with a seeded text encoder and CogVideoX-2B's noise levels; its autoencoder is not used."""
    words = tiny.t5_tokenizer()
    text = seeded(T5EncoderModel(T5Config(**tiny.t5_config(words))))
    return CogVideoX(
        "tiny", transformer(), None, T5Text("tiny", words, text, 16), CogVideoXDDIMScheduler(**COG_SOLVER),
        Geometry(49, 32, 48, 4, 8, 8.0, vae_temporal_ratio=4, patch=(1, 2, 2)), COGVIDEOX_DEFAULTS,
    )  # fmt: skip


def model(folder: Path, network: Any, family: str) -> Components:
    """`network` with a text encoder and a VAE, written and read as a model folder, used as one of `family`."""
    words = tiny.tokenizer()
    ids = {name: getattr(words, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = seeded(CLIPTextModel(CLIPTextConfig(vocab_size=len(words), **ids, **TEXT)))
    StableDiffusionPipeline(
        vae=seeded(vae()), text_encoder=text, tokenizer=words, unet=network, scheduler=DDIMScheduler(**SOLVER),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    made = load(str(folder))
    # as the published folders have it: what their scheduler's file does not say, another solver decides by itself
    made.family, made.scheduler = family, DDIMScheduler(**SOLVER)
    return made


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip


@dataclass
class Counted(Control):
    """The passes of each noise level, [guided, plain]; put it innermost."""

    passes: dict[int, list[int]] = field(default_factory=dict)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Told) -> Tensor:
        guided = cond.map_request is not None and cond.map_request.maps_only
        self.passes.setdefault(step.index, [0, 0])[0 if guided else 1] += 1
        return inner(x, step, cond)


@dataclass(frozen=True)
class Heard:
    """Terms that keep what they gave."""

    terms: Terms
    losses: list[float]

    @property
    def every_word(self) -> bool:
        return self.terms.every_word

    def __call__(self, *asked: Any) -> Tensor:
        energy = self.terms(*asked)
        self.losses.append(float(energy))
        return energy


def heard(control: Control, losses: list[float]) -> Control:
    """`control` with its energy's values kept in `losses`."""
    return replace(control, terms=Heard(control.terms, losses)) if isinstance(control, Energy) else control


def agree(x: Tensor, want: dict) -> None:
    """Latents equal the recorded ones to 1e-4 of their root mean square: other kernels, other order of sums."""
    flat = x.detach().double().flatten()
    assert len(flat) == want["n"]
    size = want["norm"] / want["n"] ** 0.5
    assert flat[:: max(1, len(flat) // 40)].tolist() == pytest.approx(want["every"], abs=1e-4 * size)
    assert float(flat.norm()) == pytest.approx(want["norm"], rel=1e-4)
