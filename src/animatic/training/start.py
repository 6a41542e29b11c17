"""What a run begins with: a fresh small network, a diffusers network from its config, or a model folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from torch import nn

from ..backbones import PRESETS, load
from ..backbones.bert import BertSentence, read_bert
from ..backbones.codec import PatchCodec
from ..backbones.cogvideox import patch_of
from ..backbones.components import Components
from ..backbones.concat_conditioning import LearnedConditioning, conditioning_named
from ..backbones.load import NETWORKS, TRANSFORMERS
from ..backbones.locating import is_hub_id
from ..backbones.small import SpaceTimeUNet
from ..backbones.small_model import ClipSentence, Labels, SpaceTimeBackbone, pixels
from ..core.backbone import Geometry, ModelDefaults
from ..core.process import Process
from ..core.text import ClipText
from ..errors import AnimaticError, listed
from .conditioning import BERT, VECTORS, KeptText, check_captions
from .learner import DiffusionTrainModule
from .matching import Note
from .settings import TrainingSettings
from .sources import Item
from .words import fresh_encoder

WIDTH = 128  # of the condition of a fresh small network
KINDS: dict[str, tuple[str, Callable[[Any], int]]] = {
    # the field of its config that says how wide its text is; what height and width of its latents are multiples of
    "SpaceTimeUNet": ("cond_dim", lambda config: 2 ** (len(config.multiples) - 1)),
    "UNet3DConditionModel": ("cross_attention_dim", lambda config: 2 ** (len(config.block_out_channels) - 1)),
    "CogVideoXTransformer3DModel": ("text_embed_dim", lambda config: config.patch_size),
    "WanTransformer3DModel": ("text_dim", lambda config: config.patch_size[-1]),
}


def begin(
    settings: TrainingSettings, text_mode: str, items: Sequence[Item], kept: KeptText, note: Note
) -> tuple[DiffusionTrainModule, str]:
    """What learns, whose model samples and is saved as it stands; and its text mode: none, labels or own.

    `text_mode` is that of the items, see `conditioned`; it becomes none where the network reads no text. A model that
    is gone on with keeps its family, habits and scheduler; a fresh one gets those it is trained for.
    """
    torch.manual_seed(settings.seed)
    process = Process(settings.target, settings.schedule, settings.levels, settings.loss, settings.min_snr)
    if (beside := conditioning_named(settings.learn)) is not None:
        model = _finisher(settings, beside)
    elif _is_whole_model(settings.model):
        model = _loaded(settings)
        text_mode = _mode_of_loaded(model, text_mode, settings, note)
        process = _its_process(model, settings)
    elif settings.lora:
        raise AnimaticError(f"lora is {settings.lora}, but {settings.model} is a fresh network; want a model folder")
    else:
        model, text_mode = _fresh(settings, text_mode, items, kept, note)
    if text_mode != "none":
        check_captions(model.text, items)
    learner = DiffusionTrainModule(model, process, settings.noise_augmentation, settings.min_noise)
    model.name = "in training"

    if model.scheduler is None:  # fresh
        finishes, whole = (
            model.concat_conditioning is not None,
            process.target == "eps",
        )  # as video-diffusion-pytorch samples it
        steps = (
            1 if finishes else process.levels if whole else min(25, process.levels)
        )  # the mean of all corrections, not one of them
        model.defaults = ModelDefaults(steps, settings.guidance if learner.told_something else 1.0)
        model.scheduler = process.scheduler(whole and not finishes, 0.0 if finishes else settings.threshold)
    _note_unused(settings, learner, note)
    return learner, text_mode


def _its_process(model: Components, settings: TrainingSettings) -> Process:
    """What a loaded model predicts, and on which schedule, is its scheduler's. Raises where another is asked for."""
    process = Process.of(model.scheduler, settings.loss, settings.min_snr)
    if settings.target not in (TrainingSettings.target, process.target):
        raise AnimaticError(f"target is {settings.target!r}, but {settings.model} predicts {process.target}; want that")
    if settings.schedule != TrainingSettings.schedule:
        raise AnimaticError(f"schedule is {settings.schedule!r}, but {settings.model} has its own; leave it out")
    if settings.levels not in (TrainingSettings.levels, process.levels):
        raise AnimaticError(f"levels is {settings.levels}, but {settings.model} has {process.levels}; want that")
    return process


def _note_unused(settings: TrainingSettings, learner: DiffusionTrainModule, note: Note) -> None:
    """Say which options are given although the run has no use for them."""
    unused: list[tuple[tuple[str, ...], str]] = []
    if settings.model not in ("small", "small-original"):
        unused.append((("dim", "multiples", "blocks"), f"{settings.model} has its own sizes"))
    if not learner.told_something:
        unused.append((("cfg_dropout", "guidance"), "it learns without text"))
    for names, reason in unused:
        if given := [name for name in names if getattr(settings, name) != getattr(TrainingSettings, name)]:
            note(f"{', '.join(given)}: not used, since {reason}")


def _fresh(
    settings: TrainingSettings, text_mode: str, items: Sequence[Item], kept: KeptText, note: Note
) -> tuple[Components, str]:
    """A network that learns pixels, and what it reads."""
    config, (w, h) = _config(settings), settings.pixels
    kind: str = config.pop("_class_name")
    field, _ = KINDS[kind]
    if text_mode != "none" and not config.get(field, WIDTH):
        text_mode = _without_text(settings, f"{field} of {kind} is {config[field]}", note)
    ready: Any = _ready_text(settings, kind) if text_mode != "none" else None
    if kind == "SpaceTimeUNet":
        own = ready.width if ready else config.get(field) or WIDTH
        config[field] = 0 if text_mode == "none" else own
    elif text_mode == "labels":
        raise AnimaticError(f"text is 'labels'; {kind} reads token states: want none or own")
    network = _network(kind, config)
    text = ready or _text(kind, text_mode, items, network.config[field], kept)
    channels = config.get("out_channels") or config.get("in_channels", 3)
    if channels not in (1, 3):
        raise AnimaticError(f"{settings.model}: {channels} channels, but a fresh model learns pixels, of 3 or, grey, 1")
    patch = patch_of(network.config) if kind in TRANSFORMERS else (1, 1, 1)
    if patch[0] > 1:
        raise AnimaticError(f"{settings.model}: a token holds {patch[0]} frames; want 1, patch_size_t null")
    read = network.config.get("max_text_seq_length", text.limit)
    if read != text.limit:
        raise AnimaticError(f"{settings.model}: max_text_seq_length is {read}; its text will have {text.limit} tokens")
    geometry = Geometry(
        settings.frames, h, w, channels=channels, vae_spatial_ratio=1, fps=settings.fps or 8.0, patch=patch
    )
    check_size(network, w, h)
    coordinates = kind == "UNet3DConditionModel" and network.config.in_channels == channels + 3
    return NETWORKS[kind]("", network, pixels(channels), text, None, geometry, ModelDefaults(), coordinates), text_mode


def _without_text(settings: TrainingSettings, reason: str, note: Note) -> str:
    """Captions that nothing reads are left out, which is said; they are refused where they were asked for."""
    if settings.text != "auto":
        raise AnimaticError(f"text is {settings.text!r}, but {reason}; want none")
    note(f"text: none ({reason})")
    return "none"


def _is_whole_model(name: str) -> bool:
    """Whether `name` is of a model with weights, and not of a fresh network or a config file."""
    if name in PRESETS or os.path.exists(f"{name}/model_index.json"):
        return True
    return is_hub_id(name) and not name.endswith(".json") and not os.path.exists(name)


def _loaded(settings: TrainingSettings) -> Components:
    """A model to go on with, or to teach by LoRA."""
    model = load(settings.model, "cpu")
    kind = type(model.unet).__name__
    if kind not in KINDS:
        raise AnimaticError(f"{settings.model}: its network is {kind}; want one of {', '.join(KINDS)}")
    if model.geometry.vae_temporal_ratio > 1:
        frames = f"its latent frames hold {model.geometry.vae_temporal_ratio} frames each"
        raise AnimaticError(f"{settings.model}: {frames}; training wants a model whose frames are encoded one by one")
    w, h = settings.pixels
    model.geometry = geometry = replace(model.geometry, frames=settings.frames, height=h, width=w)
    geometry.latent(settings.frames, h, w)
    check_size(model.unet, w // geometry.vae_spatial_ratio, h // geometry.vae_spatial_ratio)
    model.unet.requires_grad_(True)
    return model


def _mode_of_loaded(model: Components, text_mode: str, settings: TrainingSettings, note: Note) -> str:
    """The text mode of a loaded model, which keeps what reads its text."""
    text: Any = model.text
    if settings.text.startswith((BERT, VECTORS)):
        raise AnimaticError(f"text is {settings.text!r}, but {settings.model} reads with what it has; want own or auto")
    if text_mode == "none":
        return text_mode
    if not isinstance(text, Labels):
        if text_mode == "labels":
            raise AnimaticError(f"text is 'labels', but {settings.model} reads words; want own, none or auto")
        return text_mode
    if not text.names:
        return _without_text(settings, f"{settings.model} reads none", note)
    if settings.text == "own":
        raise AnimaticError(f"text is 'own', but {settings.model} knows classes ({listed(text.names)}); want labels")
    return "labels"


def _finisher(settings: TrainingSettings, beside: LearnedConditioning) -> Components:
    """A small network that finishes clips: no text; latents are blocks of pixels, nothing lost."""
    if settings.model != "small":
        raise AnimaticError(f"model is {settings.model!r}; what learns to {settings.learn} begins as 'small'")
    patch, (w, h) = beside.patch, settings.pixels
    codec = PatchCodec(patch, 3 * patch**2)
    geometry = Geometry(settings.frames, h, w, codec.channels, patch)
    shape = geometry.latent(settings.frames, h, w)
    guess, told = (x.shape[1] for x in beside.condition(beside.degrade(torch.zeros(1, *shape))))
    network = SpaceTimeUNet(in_channels=guess + told, out_channels=guess, **settings.sizes)
    check_size(network, shape[3], shape[2])
    for parameter in network.conv_out.parameters():
        nn.init.zeros_(parameter)  # it begins as the first guess
    model = SpaceTimeBackbone("", network, codec, cast(ClipText, Labels((), 1)), None, geometry, ModelDefaults())
    model.concat_conditioning = beside
    return model


def _config(settings: TrainingSettings) -> dict[str, Any]:
    if settings.model in ("small", "small-original"):
        design = "fast" if settings.model == "small" else "original"
        return {"_class_name": "SpaceTimeUNet", "design": design, **settings.sizes}
    path = Path(settings.model)
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        known = "small, small-original, a model folder or a network's config.json"
        raise AnimaticError(f"model {settings.model!r} cannot be read ({type(error).__name__}); want {known}") from None
    if not isinstance(config, dict) or config.get("_class_name") not in KINDS:
        raise AnimaticError(f"{path}: its _class_name is not one of {', '.join(KINDS)}")
    return {k: v for k, v in config.items() if k != "_diffusers_version"}


def _network(kind: str, config: dict[str, Any]) -> Any:
    cls: Any = SpaceTimeUNet if kind == "SpaceTimeUNet" else getattr(diffusers, kind)
    try:
        return cls(**config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AnimaticError(f"{kind}: {str(error).splitlines()[0]}; want a config of this class") from None


def _ready_text(settings: TrainingSettings, kind: str) -> BertSentence | Labels | None:
    """What reads the captions and does not learn, if they are to be read by a BERT, or name vectors in a file."""
    if ":" not in settings.text:
        return None
    if kind != "SpaceTimeUNet":
        raise AnimaticError(f"text is {settings.text!r}; {kind} reads token states: want none or own")
    if settings.text.startswith(BERT):
        return read_bert(settings.text.removeprefix(BERT))
    return Labels.of_file(Path(settings.text.removeprefix(VECTORS))).requires_grad_(False)


def _text(kind: str, text_mode: str, items: Sequence[Item], width: int, kept: KeptText) -> Any:
    if text_mode == "none":
        return Labels((), max(1, width))
    if text_mode == "labels":
        return Labels(kept.classes(items), width)
    tokenizer = kept.tokenizer(items)
    encoder = fresh_encoder(tokenizer, width, heads=max(h for h in (1, 2, 4, 8) if width % h == 0))
    return (ClipSentence if kind == "SpaceTimeUNet" else ClipText)("the text encoder", tokenizer, encoder)


def check_size(network: Any, width: int, height: int) -> None:
    """Raise before the data is touched where a size cannot pass through the network."""
    multiple = KINDS[type(network).__name__][1](network.config)
    for name, value in (("width", width), ("height", height)):
        if value % multiple:
            raise AnimaticError(f"{name} is {value}; this network takes multiples of {multiple}")
