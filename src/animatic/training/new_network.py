"""The parts of a new model: its network, of a configuration, and its text encoder, with random weights or frozen."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers

from ..backbones.bert import BertSentence, read_bert
from ..backbones.small import SpaceTimeUNet
from ..backbones.small_model import ClipSentence, Labels
from ..core.text import ClipText
from ..errors import AnimaticError
from .conditioning import BERT, VECTORS, RunText
from .items import Item
from .settings import TrainingSettings
from .text_encoder import new_text_encoder

WIDTH = 128  # channels of the conditioning of a new small network
KINDS: dict[str, tuple[str, Callable[[Any], int]]] = {
    # class -> the config field for the width of its text, and what height and width of its latents are multiples of
    "SpaceTimeUNet": ("cond_dim", lambda config: 2 ** (len(config.multiples) - 1)),
    "UNet3DConditionModel": ("cross_attention_dim", lambda config: 2 ** (len(config.block_out_channels) - 1)),
    "CogVideoXTransformer3DModel": ("text_embed_dim", lambda config: config.patch_size),
    "WanTransformer3DModel": ("text_dim", lambda config: config.patch_size[-1]),
}


def network_config(settings: TrainingSettings) -> dict[str, Any]:
    """The configuration of the new network, with its `_class_name`."""
    if settings.model in ("small", "small-original"):
        design = "fast" if settings.model == "small" else "original"
        return {"_class_name": "SpaceTimeUNet", "design": design, **settings.sizes}

    # A diffusers config names its class itself.
    path = Path(settings.model)
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        known = "small, small-original, a model folder or a network's config.json"
        raise AnimaticError(f"model {settings.model!r} cannot be read ({type(error).__name__}); want {known}") from None
    if not isinstance(config, dict) or config.get("_class_name") not in KINDS:
        raise AnimaticError(f"{path}: its _class_name is not one of {', '.join(KINDS)}")
    config.pop("_diffusers_version", None)
    return config


def new_network(kind: str, config: dict[str, Any]) -> Any:
    """A network with random weights. Raises `AnimaticError` where the configuration is not one of this class."""
    cls: Any = SpaceTimeUNet if kind == "SpaceTimeUNet" else getattr(diffusers, kind)

    # diffusers' classes check their own arguments, with messages of many lines.
    try:
        network = cls(**config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AnimaticError(f"{kind}: {str(error).splitlines()[0]}; want a config of this class") from None

    # the original keeps its own first weights
    if isinstance(network, SpaceTimeUNet) and not network.original:
        network.begin_as_identity()
    return network


def check_size(network: Any, width: int, height: int, cell: int = 1) -> None:
    """Raise `AnimaticError` where width or height, in pixels, does not divide into what the network needs.

    `cell` is the side of a latent cell in pixels.
    """
    multiple = cell * KINDS[type(network).__name__][1](network.config)
    for name, value in (("width", width), ("height", height)):
        if value % multiple:
            raise AnimaticError(f"{name} is {value}; this network takes multiples of {multiple}")


def frozen_text(settings: TrainingSettings, kind: str) -> BertSentence | Labels | None:
    """The frozen text encoder of `--text bert:...`, or the vectors of `--text vectors:...`; else None."""
    if ":" not in settings.text:
        return None

    # One vector a caption, which only this network reads.
    if kind != "SpaceTimeUNet":
        raise AnimaticError(f"text is {settings.text!r}; {kind} reads token states: want none or own")
    if settings.text.startswith(BERT):
        return read_bert(settings.text.removeprefix(BERT))
    return Labels.of_file(Path(settings.text.removeprefix(VECTORS))).requires_grad_(False)


def new_text(kind: str, text_mode: str, items: Sequence[Item], width: int, run_text: RunText) -> Any:
    """A text encoder or class embeddings with random weights, of `width` channels."""
    if text_mode == "none":
        return Labels((), max(1, width))
    if text_mode == "labels":
        return Labels(run_text.classes(items), width)

    # As many heads as divide the width, eight at most.
    tokenizer = run_text.tokenizer(items)
    possible = [heads for heads in (1, 2, 4, 8) if width % heads == 0]
    heads = max(possible)
    encoder = new_text_encoder(tokenizer, width, heads)
    text_class = ClipSentence if kind == "SpaceTimeUNet" else ClipText
    return text_class("the text encoder", tokenizer, encoder)
