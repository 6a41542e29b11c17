"""The model that a run begins with: a new small network, a diffusers network from its config, or a pretrained model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from ..backbones import PRESETS, load
from ..backbones.codec import PatchCodec
from ..backbones.cogvideox import patch_of
from ..backbones.components import Components
from ..backbones.concat_conditioning import LearnedConditioning, conditioning_named
from ..backbones.load import NETWORKS, TRANSFORMERS
from ..backbones.locating import is_hub_id
from ..backbones.small import SpaceTimeUNet
from ..backbones.small_model import Labels, SpaceTimeBackbone, pixels
from ..core.backbone import Geometry, ModelDefaults
from ..core.process import Process
from ..core.text import ClipText
from ..errors import AnimaticError, listed
from .conditioning import BERT, VECTORS, RunText, check_captions
from .diffusion_module import DiffusionTrainModule
from .items import Item
from .matching import Note
from .new_network import KINDS, WIDTH, check_size, frozen_text, network_config, new_network, new_text
from .settings import TrainingSettings


def new_train_module(
    settings: TrainingSettings, text_mode: str, items: Sequence[Item], run_text: RunText, note: Note
) -> tuple[DiffusionTrainModule, str]:
    """The module to train, and the text mode that it has: none, labels or own.

    A model that is fine-tuned keeps its family, defaults and scheduler; a new one gets those that it is trained for.

    Args:
        settings: The settings of the run.
        text_mode: The text mode of the items, see `with_text_mode`; "none" is returned where the network reads no text.
        items: The training data.
        run_text: The tokenizer and classes of the run.
        note: Called with a line for settings that are not used.

    Raises `AnimaticError` where settings, data and model do not fit each other.
    """
    torch.manual_seed(settings.seed)
    process = Process(settings.target, settings.schedule, settings.levels, settings.loss, settings.min_snr)

    # The model: one that interpolates or upscales, a pretrained one, or a new one.
    conditioning = conditioning_named(settings.learn)
    if conditioning is not None:
        model = _interpolation_or_upscaling_model(settings, conditioning)
    elif _is_pretrained(settings.model):
        model = _pretrained_model(settings)
        text_mode = _text_mode_of_pretrained(model, text_mode, settings, note)
        process = _process_of_pretrained(model, settings)
    elif settings.lora:
        raise AnimaticError(f"lora is {settings.lora}, but {settings.model} is a fresh network; want a model folder")
    else:
        model, text_mode = _new_model(settings, text_mode, items, run_text, note)

    # The module.
    if text_mode != "none":
        check_captions(model.text, items)
    train_module = DiffusionTrainModule(model, process, settings.noise_augmentation, settings.min_noise)
    model.name = "in training"

    # How a new model is sampled.
    if model.scheduler is None:
        _set_sampling_defaults(model, process, settings, train_module.reads_text)
    _note_unused(settings, train_module, note)
    return train_module, text_mode


def _set_sampling_defaults(model: Components, process: Process, settings: TrainingSettings, reads_text: bool) -> None:
    """The scheduler, number of steps and guidance of a new model."""
    # Without text there is nothing to guide.
    guidance = settings.guidance if reads_text else 1.0
    if model.concat_conditioning is not None:
        # One step predicts the mean of all residuals that the clip may have; more steps would draw one of them.
        model.scheduler = process.scheduler(ancestral=False, threshold=0.0)
        model.defaults = ModelDefaults(1, guidance)
        return

    # Models that predict eps are sampled as video-diffusion-pytorch samples them: DDPM with every level.
    ancestral = process.target == "eps"
    steps = process.levels if ancestral else min(25, process.levels)
    model.scheduler = process.scheduler(ancestral, settings.threshold)
    model.defaults = ModelDefaults(steps, guidance)


def _process_of_pretrained(model: Components, settings: TrainingSettings) -> Process:
    """The process of a pretrained model, by its scheduler. Raises `AnimaticError` where the settings want another."""
    # Settings at their default are those of the model; any other must agree with it.
    process = Process.of(model.scheduler, settings.loss, settings.min_snr)
    if settings.target not in (TrainingSettings.target, process.target):
        raise AnimaticError(f"target is {settings.target!r}, but {settings.model} predicts {process.target}; want that")
    if settings.schedule != TrainingSettings.schedule:
        raise AnimaticError(f"schedule is {settings.schedule!r}, but {settings.model} has its own; leave it out")
    if settings.levels not in (TrainingSettings.levels, process.levels):
        raise AnimaticError(f"levels is {settings.levels}, but {settings.model} has {process.levels}; want that")
    return process


def _note_unused(settings: TrainingSettings, train_module: DiffusionTrainModule, note: Note) -> None:
    """Note settings that were given and have no effect."""
    unused: list[tuple[tuple[str, ...], str]] = []
    if settings.model not in ("small", "small-original"):
        unused.append((("dim", "multiples", "blocks"), f"{settings.model} has its own sizes"))
    if not train_module.reads_text:
        unused.append((("cfg_dropout", "guidance"), "it learns without text"))

    # Only settings that somebody changed.
    for names, reason in unused:
        given = []
        for name in names:
            if getattr(settings, name) != getattr(TrainingSettings, name):
                given.append(name)
        if given:
            note(f"{', '.join(given)}: not used, since {reason}")


def _new_model(
    settings: TrainingSettings, text_mode: str, items: Sequence[Item], run_text: RunText, note: Note
) -> tuple[Components, str]:
    """A model with random weights that generates pixels, and its text mode."""
    # A config may fix the width of the text, or leave it open.
    width, height = settings.pixels
    config = network_config(settings)
    kind: str = config.pop("_class_name")
    width_field, _ = KINDS[kind]

    # Text: the width of the network's conditioning is that of the text encoder.
    if text_mode != "none" and not config.get(width_field, WIDTH):
        reason = f"{width_field} of {kind} is {config[width_field]}"
        text_mode = _without_text(settings, reason, note)
    pretrained_text: Any = frozen_text(settings, kind) if text_mode != "none" else None
    if kind == "SpaceTimeUNet":
        if text_mode == "none":
            config[width_field] = 0
        elif pretrained_text:
            config[width_field] = pretrained_text.width
        else:
            config[width_field] = config.get(width_field) or WIDTH
    elif text_mode == "labels":
        raise AnimaticError(f"text is 'labels'; {kind} reads token states: want none or own")

    network = new_network(kind, config)
    text = pretrained_text or new_text(kind, text_mode, items, network.config[width_field], run_text)

    # What a new network of this configuration cannot be trained for is refused before data are read.
    channels = config.get("out_channels") or config.get("in_channels", 3)
    if channels not in (1, 3):
        raise AnimaticError(f"{settings.model}: {channels} channels, but a fresh model learns pixels, of 3 or, grey, 1")
    patch = patch_of(network.config) if kind in TRANSFORMERS else (1, 1, 1)
    if patch[0] > 1:
        raise AnimaticError(f"{settings.model}: a token holds {patch[0]} frames; want 1, patch_size_t null")
    tokens = network.config.get("max_text_seq_length", text.limit)
    if tokens != text.limit:
        raise AnimaticError(
            f"{settings.model}: max_text_seq_length is {tokens}; its text will have {text.limit} tokens"
        )
    check_size(network, width, height)

    # The model; its latents are pixels.
    geometry = Geometry(
        settings.frames, height, width, channels=channels, vae_spatial_ratio=1, fps=settings.fps or 8.0, patch=patch
    )
    coordinates = kind == "UNet3DConditionModel" and network.config.in_channels == channels + 3
    model = NETWORKS[kind]("", network, pixels(channels), text, None, geometry, ModelDefaults(), coordinates)
    return model, text_mode


def _without_text(settings: TrainingSettings, reason: str, note: Note) -> str:
    """Text mode "none", with a note. Raises `AnimaticError` where the settings ask for text."""
    if settings.text != "auto":
        raise AnimaticError(f"text is {settings.text!r}, but {reason}; want none")
    note(f"text: none ({reason})")
    return "none"


def _is_pretrained(name: str) -> bool:
    """Whether `name` is a model with weights, and not a kind of network or a config file."""
    # A path goes before a hub id, as everywhere.
    if name in PRESETS or os.path.exists(f"{name}/model_index.json"):
        return True
    is_file = name.endswith(".json") or os.path.exists(name)
    return is_hub_id(name) and not is_file


def _pretrained_model(settings: TrainingSettings) -> Components:
    """A model to fine-tune, or to train LoRA adapters for."""
    model = load(settings.model, "cpu")

    # Only networks whose text and size are known here.
    kind = type(model.unet).__name__
    if kind not in KINDS:
        raise AnimaticError(f"{settings.model}: its network is {kind}; want one of {', '.join(KINDS)}")
    if model.geometry.vae_temporal_ratio > 1:
        frames = f"its latent frames hold {model.geometry.vae_temporal_ratio} frames each"
        raise AnimaticError(f"{settings.model}: {frames}; training wants a model whose frames are encoded one by one")

    # Its geometry becomes that of the clips.
    width, height = settings.pixels
    geometry = replace(model.geometry, frames=settings.frames, height=height, width=width)
    geometry.latent(settings.frames, height, width)  # raises where they do not fit
    check_size(model.unet, width, height, geometry.vae_spatial_ratio)
    model.geometry = geometry
    model.unet.requires_grad_(True)
    return model


def _text_mode_of_pretrained(model: Components, text_mode: str, settings: TrainingSettings, note: Note) -> str:
    """The text mode of a pretrained model, which keeps its text encoder or classes."""
    text: Any = model.text
    if settings.text.startswith((BERT, VECTORS)):
        raise AnimaticError(f"text is {settings.text!r}, but {settings.model} reads with what it has; want own or auto")
    if text_mode == "none":
        return text_mode

    # A text encoder reads captions, classes are looked up by name.
    if not isinstance(text, Labels):
        if text_mode == "labels":
            raise AnimaticError(f"text is 'labels', but {settings.model} reads words; want own, none or auto")
        return text_mode
    if not text.names:
        return _without_text(settings, f"{settings.model} reads none", note)
    if settings.text == "own":
        raise AnimaticError(f"text is 'own', but {settings.model} knows classes ({listed(text.names)}); want labels")
    return "labels"


def _interpolation_or_upscaling_model(settings: TrainingSettings, conditioning: LearnedConditioning) -> Components:
    """A small network that interpolates or upscales clips, without text; its latents are invertible pixel blocks."""
    if settings.model != "small":
        raise AnimaticError(f"model is {settings.model!r}; --learn {settings.learn} begins with 'small'")
    width, height = settings.pixels
    codec = PatchCodec(conditioning.patch, 3 * conditioning.patch**2)
    geometry = Geometry(settings.frames, height, width, codec.channels, conditioning.patch)

    # The network reads the noisy residual and the conditioning, whose channels are counted on an empty clip.
    shape = geometry.latent(settings.frames, height, width)
    empty = torch.zeros(1, *shape)
    prior, concatenated = conditioning.condition(conditioning.degrade(empty))
    channels = prior.shape[1]
    inputs = channels + concatenated.shape[1]
    network = SpaceTimeUNet(in_channels=inputs, out_channels=channels, **settings.sizes)
    check_size(network, width, height, conditioning.patch)

    # With a last layer of zeros the residual is zero, and the result the prior.
    for parameter in network.conv_out.parameters():
        nn.init.zeros_(parameter)

    # It reads no prompt: the labels have no name.
    text = cast(ClipText, Labels((), 1))
    model = SpaceTimeBackbone("", network, codec, text, None, geometry, ModelDefaults())
    model.concat_conditioning = conditioning
    return model
