"""LaVie's three models as backbones, and its published checkpoints converted to model folders.

Wang et al. 2023, https://arxiv.org/abs/2309.15103, https://github.com/Vchitect/LaVie.

Betas are linear from 1e-4 to 0.02, much noisier than Stable Diffusion's schedule, with which these weights give bad
video. Text encoder and VAE are those of Stable Diffusion; a converted folder names in `parts` where they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from ..core.backbone import Geometry, ModelDefaults
from ..core.types import Conditioning
from ..errors import AnimaticError
from ..prompting.negatives import LAVIE_ENDING, LAVIE_INTERPOLATION, LAVIE_UPSCALING
from .components import Components
from .concat_conditioning import LEVEL, with_concatenated
from .folder import check_state, read_checkpoint, write_cards
from .lavie_unet import BASE, INTERPOLATION, VSR, LaVieUNet

BETAS: dict[str, Any] = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False}
SD, X4 = "CompVis/stable-diffusion-v1-4", "stabilityai/stable-diffusion-x4-upscaler"
CARDS: dict[str, dict[str, Any]] = {  # settings of the released programs
    "lavie": {
        "unet": BASE, "parts": SD, "solver": DDPMScheduler, "scheduler": {},  # from 980 to 0 in 50 steps
        "geometry": Geometry(16, 320, 512), "defaults": ModelDefaults(50, 7.5),
    },
    "lavie-interpolation": {
        "unet": INTERPOLATION, "parts": SD, "scheduler": {"timestep_spacing": "linspace"},
        "geometry": Geometry(61, 320, 512),
        "defaults": ModelDefaults(50, 4.0, LAVIE_INTERPOLATION, prompt_suffix=LAVIE_ENDING),
        "concat_conditioning": {"kind": "copied", "factor": 4},
    },
    "lavie-vsr": {
        "unet": VSR, "parts": X4,
        "scheduler": {"steps_offset": 1, "set_alpha_to_one": False, "prediction_type": "v_prediction"},
        "geometry": Geometry(8, 1280, 2048, vae_spatial_ratio=4), "defaults": ModelDefaults(50, 5.0, LAVIE_UPSCALING),
        "concat_conditioning": {"kind": "noised", "level": 50},
    },
}  # fmt: skip
RENAMED = {
    "attn_temporal.": "attn_temp.",
    "norm_temporal.": "norm_temp.",
    ".time_rel_pos_bias.relative_attention_bias.": ".positions.table.",
}


class LaVie(Components):
    """Text to video, interpolation of key frames, or super-resolution, as the network was trained for."""

    provides = frozenset({"text maps", "video"})
    network = LaVieUNet

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        inputs = with_concatenated(x, cond)
        return self.unet(inputs, t, cond.text, class_labels=cond.extra.get(LEVEL))


def models_home() -> Path:
    """The folder of converted models, unless `--out` names another."""
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home) / "animatic" / "models"


def recognised(state: Mapping[str, Tensor]) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """(model name, network config, renamed weights) of a checkpoint, sizes read from its shapes.

    Raises `AnimaticError` naming the first tensor that is missing, unknown or of another shape.
    """
    weights = {}
    for name, tensor in state.items():
        if not name.endswith("rotary_emb.freqs"):  # computed anew: one table 10000^(-2i/32)
            for theirs, ours in RENAMED.items():
                name = name.replace(theirs, ours)
            weights[name] = tensor

    # The three networks differ in what they read: noisy latents, key frames with them, or small frames and a noise
    # level.
    inputs = weights.get("conv_in.weight")
    if inputs is None or inputs.dim() != 4:
        raise AnimaticError("conv_in.weight is missing; want lavie_base.pt, lavie_interpolation.pt or lavie_vsr.pt")
    vsr = "class_embedding.weight" in weights
    kind = "lavie-vsr" if vsr else "lavie-interpolation" if inputs.shape[1] == 8 else "lavie"

    # Every weight must have its place, before anything is written.
    config = {**CARDS[kind]["unet"], **_sizes(weights)}
    with torch.device("meta"):
        check_state(weights, LaVieUNet(**config).state_dict(), f"all weights of {kind}, and no others")
    return kind, config, weights


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Widths and depth by the shapes of the weights, so that smaller networks of the same kind can be converted too."""
    widths: dict[tuple[int, int], int] = {}  # by level and layer
    text_width = None
    for name, tensor in weights.items():
        match = re.match(r"down_blocks\.(\d+)\.resnets\.(\d+)\.conv1\.weight", name)
        if match:
            level, layer = match.groups()
            widths[int(level), int(layer)] = tensor.shape[0]
        if text_width is None and name.endswith("attn2.to_k.weight"):
            text_width = tensor.shape[1]

    # LaVie's networks have four levels.
    levels = range(4)
    has_all = all((level, 0) in widths for level in levels)
    if text_width is None or not has_all:
        raise AnimaticError("a level or its text attention is missing; want all weights of one of LaVie's networks")
    return {
        "block_out_channels": tuple(widths[level, 0] for level in levels),
        "layers_per_block": 1 + max(layer for _, layer in widths),
        "cross_attention_dim": text_width,
    }


def convert_lavie(checkpoint: Path, out: Path | None = None, parts: str = "") -> Path:
    """Write the model folder of a published checkpoint, and return it; no code in the file is run.

    `parts` is the folder or hub id of the model with text encoder, tokenizer and VAE. `out` None is the folder where
    `--model lavie` (`lavie-interpolation`, `lavie-vsr`) reads. Raises `AnimaticError` where the file is no such
    checkpoint.
    """
    state = read_checkpoint(checkpoint)
    kind, config, weights = recognised(state.get("ema", state))
    out = out or models_home() / kind
    card = CARDS[kind]

    # The network, built without memory: its weights are those of the file.
    with torch.device("meta"):
        network = LaVieUNet(**config)
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    network.load_state_dict(contiguous, assign=True)
    network.save_pretrained(out / "unet")

    # The scheduler of the released program, with LaVie's betas.
    solver: Any = card.get("solver", DDIMScheduler)
    scheduler = solver(**BETAS, **card["scheduler"])
    scheduler.save_pretrained(out / "scheduler")

    # The card says the rest; text encoder and VAE stay where they are.
    written = {
        "family": "lavie",
        "geometry": asdict(card["geometry"]),
        "defaults": asdict(card["defaults"]),
        "parts": parts or card["parts"],
    }
    if "concat_conditioning" in card:
        written["concat_conditioning"] = card["concat_conditioning"]
    classes = {"unet": ("animatic", "LaVieUNet"), "scheduler": ("diffusers", solver.__name__)}
    write_cards(out, classes, written)
    return out
