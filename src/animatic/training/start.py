"""What a run begins with: a fresh small network, a diffusers network from its config, or a model folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from ..backbones import PRESETS, load
from ..backbones.base import Components, Geometry, Habits
from ..backbones.beside import Learnt, beside_named
from ..backbones.codec import PatchCodec
from ..backbones.cogvideox import patch_of
from ..backbones.load import NETWORKS, TRANSFORMERS
from ..backbones.small import SpaceTimeUNet
from ..backbones.small_model import Labels, Sentence, pixels
from ..backbones.unet3d import UNet3D
from ..errors import AnimaticError
from ..schedule import is_flow
from ..text import ClipText
from .data import Item, captions_of
from .diffusion import TARGETS, Process
from .learner import ASK, TEXT_WIDTH, Learner
from .settings import Settings
from .words import fresh_encoder, learnt_tokenizer

TEXTS = ("auto", "none", "labels", "own")
WIDTH = 128  # of the condition of a fresh small network


def begin(settings: Settings, items: Sequence[Item]) -> tuple[Learner, Any]:
    """The learner and its codec (frozen, pixels <-> latents)."""
    torch.manual_seed(settings.seed)
    if (beside := beside_named(settings.learn)) is not None:
        return _finisher(settings, beside)
    if settings.model in PRESETS or (Path(settings.model) / "model_index.json").exists():
        return _loaded(settings)
    process = Process(settings.target, settings.schedule, loss=settings.loss, min_snr=settings.min_snr)
    config = _config(settings)
    kind = config.pop("_class_name")
    text_width = TEXT_WIDTH[kind]
    how = _how(settings.text, items) if config.get(text_width, WIDTH) else "none"
    if kind == "SpaceTimeUNet":
        config[text_width] = 0 if how == "none" else config.get(text_width) or WIDTH
    elif how == "labels":
        raise AnimaticError(f"text is 'labels'; {kind} reads token states: want none or own")
    network = _network(kind, config)
    width = network.config[text_width]
    text = _text(kind, how, items, width)
    w, h = settings.pixels
    channels = config.get("out_channels") or config.get("in_channels", 3)
    if channels != 3:
        raise AnimaticError(f"{settings.model}: {channels} channels, but a fresh model learns pixels, which have 3")
    patch = patch_of(network.config) if kind in TRANSFORMERS else (1, 1, 1)
    if patch[0] > 1:
        raise AnimaticError(f"{settings.model}: a token holds {patch[0]} frames; want 1, patch_size_t null")
    read = network.config.get("max_text_seq_length", text.limit)
    if read != text.limit:
        raise AnimaticError(f"{settings.model}: max_text_seq_length is {read}; its text will have {text.limit} tokens")
    geometry = Geometry(settings.frames, h, w, channels=3, stride=1, fps=settings.fps or 8.0, patch=patch)
    check_size(network, w, h)
    return Learner(network, text, process, geometry, lowest=settings.lowest), pixels()


def _loaded(settings: Settings) -> tuple[Learner, Any]:
    """A model to go on with, or to teach by LoRA; what it predicts, and on which schedule, is its scheduler's."""
    model = load(settings.model, "cpu")
    kind = type(model.unet).__name__
    if kind not in ASK:
        raise AnimaticError(f"{settings.model}: its network is {kind}; want one of {', '.join(ASK)}")
    if model.geometry.pace > 1:
        frames = f"its latent frames hold {model.geometry.pace} frames each"
        raise AnimaticError(f"{settings.model}: {frames}; training wants a model whose frames are encoded one by one")
    w, h = settings.pixels
    geometry = replace(model.geometry, frames=settings.frames, height=h, width=w)
    geometry.latent(settings.frames, h, w)
    check_size(model.unet, w // geometry.stride, h // geometry.stride)
    model.unet.requires_grad_(True)
    process = Known.of(model.scheduler, settings)
    return Learner(model.unet, model.text, process, geometry, model.words), model.vae


def _finisher(settings: Settings, beside: Learnt) -> tuple[Learner, PatchCodec]:
    """A small network that finishes clips: no text; latents are blocks of pixels, nothing lost."""
    if settings.model != "small":
        raise AnimaticError(f"model is {settings.model!r}; what learns to {settings.learn} begins as 'small'")
    patch, (w, h) = beside.patch, settings.pixels
    codec = PatchCodec(patch, 3 * patch**2)
    geometry = Geometry(settings.frames, h, w, codec.channels, patch)
    shape = geometry.latent(settings.frames, h, w)
    guess, told = beside.tell(beside.reduce(torch.zeros(1, *shape)))
    channels = guess.shape[1]
    sizes = {"dim": settings.dim, "multiples": settings.levels, "blocks": settings.layers}
    network = SpaceTimeUNet(in_channels=channels + told.shape[1], out_channels=channels, **sizes)
    check_size(network, shape[3], shape[2])
    for parameter in network.conv_out.parameters():
        nn.init.zeros_(parameter)  # it begins as the first guess
    process = Process(settings.target, settings.schedule, loss=settings.loss, min_snr=settings.min_snr)
    return Learner(
        network, Labels((), 1), process, geometry, beside=beside, rough=settings.rough, lowest=settings.lowest
    ), codec


class Known(Process):
    """The process a loaded model was trained on, read from its scheduler."""

    @staticmethod
    def of(scheduler: Any, settings: Settings) -> Process:
        names = {theirs: ours for ours, theirs in TARGETS.items() if theirs}
        flow = is_flow(scheduler)
        target = "flow" if flow else names[scheduler.config.prediction_type]
        known = Known(target, "cosine", scheduler.config.num_train_timesteps, settings.loss, settings.min_snr)
        if not flow:
            known.__dict__["betas"] = scheduler.betas.double()  # stand in for the cached properties
            known.__dict__["alphas_cumprod"] = scheduler.alphas_cumprod.double()  # CogVideoX shifts them
        return known


def _config(settings: Settings) -> dict[str, Any]:
    if settings.model in ("small", "small-original"):
        design = "fast" if settings.model == "small" else "original"
        sizes = {"dim": settings.dim, "multiples": settings.levels, "blocks": settings.layers}
        return {"_class_name": "SpaceTimeUNet", "design": design, **sizes}
    path = Path(settings.model)
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        known = "small, small-original, a model folder or a network's config.json"
        raise AnimaticError(f"model {settings.model!r} cannot be read ({type(error).__name__}); want {known}") from None
    if not isinstance(config, dict) or config.get("_class_name") not in ASK:
        raise AnimaticError(f"{path}: its _class_name is not one of {', '.join(ASK)}")
    return {k: v for k, v in config.items() if k != "_diffusers_version"}


def _network(kind: str, config: dict[str, Any]) -> Any:
    cls: Any = SpaceTimeUNet if kind == "SpaceTimeUNet" else getattr(diffusers, kind)
    try:
        return cls(**config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AnimaticError(f"{kind}: {str(error).splitlines()[0]}; want a config of this class") from None


def _how(text: str, items: Sequence[Item]) -> str:
    if text not in TEXTS:
        raise AnimaticError(f"text is {text!r}; want one of {', '.join(TEXTS)}")
    return text if text != "auto" else ("own" if items[0].caption is not None else "none")


def _text(kind: str, how: str, items: Sequence[Item], width: int) -> Any:
    match how:
        case "none":
            return Labels((), max(1, width))
        case "labels":
            return Labels(sorted(set(captions_of(items)) - {""}), width)
    tokenizer = learnt_tokenizer(captions_of(items))
    encoder = fresh_encoder(tokenizer, width, heads=max(h for h in (1, 2, 4, 8) if width % h == 0))
    return (Sentence if kind == "SpaceTimeUNet" else ClipText)("the text encoder", tokenizer, encoder)


def check_size(network: Any, width: int, height: int) -> None:
    """Raise before the data is touched where a size cannot pass through the network."""
    config = network.config
    stride = {
        "SpaceTimeUNet": lambda: 2 ** (len(config["multiples"]) - 1),
        "UNet3DConditionModel": lambda: 2 ** (len(config["block_out_channels"]) - 1),
        "CogVideoXTransformer3DModel": lambda: config["patch_size"],
        "WanTransformer3DModel": lambda: config["patch_size"][-1],
    }[type(network).__name__]()
    for name, value in (("width", width), ("height", height)):
        if value % stride:
            raise AnimaticError(f"{name} is {value}; this network takes multiples of {stride}")


def backbone_of(learner: Learner, codec: Any, guidance: float) -> Components:
    """The learner as something that samples."""
    cls = NETWORKS[learner.kind]
    coordinates = cls is UNet3D and learner.network.config.in_channels == learner.geometry.channels + 3
    steps = 25 if learner.beside is None else 1  # the mean of all corrections is wanted, not one of them
    habits = Habits(steps, guidance if learner.told_something else 1.0)
    text: Any = learner.text
    made = cls(
        "in training", learner.network, codec, text, learner.process.scheduler(), learner.geometry, habits, coordinates,
        learner.words,
    )  # fmt: skip
    made.beside = learner.beside
    return made
