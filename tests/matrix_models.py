"""The families of models of the matrix of methods x models x situations: real classes, tiny, random weights; `mini`."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import tiny
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel, UNet3DConditionModel

from animatic.backbones import load
from animatic.backbones.components import Components
from animatic.backbones.grounding import add_grounding, is_grounding
from animatic.backbones.lavie_unet import BASE, LaVieUNet
from animatic.backbones.small import SpaceTimeUNet
from animatic.backbones.small_model import ClipSentence, SpaceTimeBackbone, pixels, save_model
from animatic.core.backbone import Geometry, MemoryOptions, ModelDefaults


def _awake(network: torch.nn.Module) -> torch.nn.Module:
    """GLIGEN's gates and nulls are zero in a fresh network, and so are temporal convolutions: all would hide faults."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not parameter.any():
                parameter.normal_(std=1.0 if is_grounding(name) else 0.05)
    return network.eval()


def _image(path: Path, grounded: bool = False, v_prediction: bool = False) -> Path:
    """Stable Diffusion 1 (eps), 2 (v), or GLIGEN's."""
    config = {key: value for key, value in tiny.unet2d().config.items() if not key.startswith("_")}
    if grounded:
        config["attention_type"] = "gated"
    torch.manual_seed(0)
    tiny.folder(path, _awake(UNet2DConditionModel(**config)))
    if v_prediction:
        scheduler = DDIMScheduler.from_pretrained(path, subfolder="scheduler")
        DDIMScheduler.from_config(scheduler.config, prediction_type="v_prediction").save_pretrained(path / "scheduler")
    return path


def _modelscope(path: Path) -> Path:
    """ModelScope's four levels and names of layers, so that LVD's own are there."""
    torch.manual_seed(0)
    down = (*("CrossAttnDownBlock3D",) * 3, "DownBlock3D")
    up = ("UpBlock3D", *("CrossAttnUpBlock3D",) * 3)
    network = UNet3DConditionModel(
        sample_size=8, down_block_types=down, up_block_types=up, block_out_channels=(16,) * 4, layers_per_block=1,
        norm_num_groups=8, cross_attention_dim=tiny.WIDTH, attention_head_dim=8,
    )  # fmt: skip
    tiny.folder(path, _awake(network))
    (path / "animatic.json").write_text(json.dumps({"family": "modelscope"}), "utf-8")
    return path


def _grounded_video(path: Path) -> Path:
    """A UNet3D with GLIGEN's layers, of no known family."""
    network = tiny.unet3d()
    add_grounding(network)
    tiny.folder(path, _awake(network))
    config = path / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "attention_type": "gated"}), "utf-8")
    return path


def _lavie(path: Path) -> Path:
    """LaVie's own UNet."""
    torch.manual_seed(0)
    network = LaVieUNet(
        **{**BASE, "layers_per_block": 1, "cross_attention_dim": tiny.WIDTH, "block_out_channels": (32, 32, 64, 64)}
    )
    return tiny.folder(path, _awake(network))


def _small(path: Path) -> Path:
    """A small network trained here: one vector a prompt, no attention to text."""
    torch.manual_seed(0)
    words = tiny.tokenizer()
    network = SpaceTimeUNet(16, (1, 2), cond_dim=tiny.WIDTH)
    model = SpaceTimeBackbone(
        "small", _awake(network), pixels(), ClipSentence("small", words, tiny.text_encoder(words)),
        DDIMScheduler(), Geometry(4, 16, 16, channels=3, vae_spatial_ratio=1), ModelDefaults(steps=2, guidance=2.0),
    )  # fmt: skip
    save_model(path, model)
    return path


Builder = Callable[[Path], Path]

FAMILIES: dict[str, tuple[Builder | None, tuple[int, int, int]]] = {
    "Stable Diffusion 1": (_image, (1, 64, 64)),
    "Stable Diffusion 2": (partial(_image, v_prediction=True), (1, 64, 64)),
    "Stable Diffusion GLIGEN": (partial(_image, grounded=True), (1, 64, 64)),
    "ModelScope": (_modelscope, (2, 64, 64)),
    "UNet3D GLIGEN": (_grounded_video, (2, 64, 64)),
    "LaVie": (_lavie, (2, 64, 64)),
    "CogVideoX 2B": (tiny.cogvideox, (9, 32, 48)),
    "CogVideoX 5B": (partial(tiny.cogvideox, rotary=True), (9, 32, 48)),
    "CogVideoX 1.5": (partial(tiny.cogvideox, pairs=True), (9, 32, 48)),
    "Wan 2.1": (tiny.wan, (9, 32, 48)),
    "Wan 2.2 5B": (partial(tiny.wan, each_token=True), (9, 32, 48)),
    "Wan 2.2 A14B": (partial(tiny.wan, second=True), (9, 32, 48)),
    "LTX-Video": (tiny.ltx, (9, 32, 48)),
    "CogVideoX 5B I2V": (tiny.cogvideox_i2v, (9, 32, 48)),
    "Wan 2.1 I2V": (tiny.wan_i2v, (9, 32, 48)),
    "Wan 2.2 5B of an image": (partial(tiny.wan, each_token=True), (9, 32, 48)),
    "HunyuanVideo 1.5": (tiny.hunyuan, (9, 32, 48)),
    "small": (_small, (4, 16, 16)),
    "mini": (None, (2, 64, 64)),
}
"""By name: what writes its folder (None: it is bundled), and the frames, height and width of its clips here."""

ANIMATING = {"CogVideoX 5B I2V", "Wan 2.1 I2V", "Wan 2.2 5B of an image"}
"""Families whose videos begin with `first_image`."""


def first_image(family: str) -> np.ndarray | None:
    """The image, uint8 `[height, width, 3]`; None where there is none."""
    if family not in ANIMATING:
        return None
    _, (_, height, width) = FAMILIES[family]
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (height, width, 3), dtype=np.uint8)


def folder_name(family: str) -> str:
    """The name of its folder, by which messages call the model."""
    return family.replace(" ", "-").lower()


def loaded(family: str, root: Path, memory: MemoryOptions | None = None) -> Components:
    """The model of a family, whose clips are one second of few frames; its folder is written into `root`."""
    build, (frames, height, width) = FAMILIES[family]
    source = "mini" if build is None else str(build(root / folder_name(family)))
    model = copy(load(source, memory=memory or MemoryOptions()))

    # one second a clip, so that situations are told in clips
    most = max(frames, model.geometry.max_frames)
    model.geometry = replace(
        model.geometry, frames=frames, height=height, width=width, fps=float(frames), max_frames=most
    )
    return model
