"""A pipeline of diffusers that is loaded already, as a backbone: its own modules, as and where they are.

Nothing is copied. The attention hooks are in its layers during a run alone; before and after these have the pipeline's
own processors, and its weights take gradients as they did. Its LoRAs, quantised weights, offloading and scheduler stay.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from diffusers.loaders import TextualInversionLoaderMixin

from ..core.text import ClipText
from ..errors import AnimaticError
from .components import Components
from .folder import read_card
from .identity import known_by_card, known_by_config
from .image_input import IMAGE_PIPELINES
from .load import NETWORKS, Found
from .locating import preset_of
from .parts import text_of_parts
from .presets import PRESETS
from .replaceable import check_replaceable
from .sdxl import class_of_xl
from .text_parts import TextPair
from .usage import warn_of_usage

# Pipelines that make pictures or videos of text alone. Others, but those of a first image, read more (a depth map, a
# mask), and would ignore it here without a word.
TEXT_PIPELINES = (
    "StableDiffusionPipeline",
    "StableDiffusionGLIGENPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusion3Pipeline",
    "TextToVideoSDPipeline",
    "CogVideoXPipeline",
    "WanPipeline",
    "LTXPipeline",
)


def borrowed(pipe: Any) -> Components:
    """The backbone of a loaded pipeline, which can be used as before.

    Raises `AnimaticError` where it is of another kind, lacks a part, is in training mode, or its attention layers
    compute what the hooks would not (IP-Adapters, fused projections).
    """
    model, known = assembled(pipe)
    model.defaults = replace(model.defaults, scheduler="")  # the pipeline's own
    warn_of_usage(model, known)
    for hooks in model.all_hooks:
        hooks.give_back()

    # With offloading weights wait elsewhere than they compute.
    device = pipe._execution_device
    if device != model.unet.device:
        model.compute_device = device
    return model


def assembled(pipe: Any) -> tuple[Components, Found]:
    """The backbone made of a pipeline's modules, whose attention layers are hooked from now on, and what it is.

    See `borrowed`.
    """
    kind = type(pipe).__name__
    if not isinstance(pipe, DiffusionPipeline):
        raise AnimaticError(f"model is {repr(pipe)[:60]}; want a name, a folder, a hub id or a pipeline of diffusers")
    known_pipelines = (*TEXT_PIPELINES, *IMAGE_PIPELINES)
    if kind not in known_pipelines:
        raise AnimaticError(f"{kind} is not one that can be used here; want {', '.join(known_pipelines)}")

    # Its parts, all of which must be there.
    found, network = _found(pipe)
    vae = _part(pipe, "vae")
    encoders = {name: part for name, part in pipe.components.items() if name.startswith("text_encoder")}
    for name, part in {"network": network, "vae": vae, **encoders}.items():
        if part is not None and part.training:
            raise AnimaticError(f"{kind}: its {name} is in training mode, which drops parts at random; want .eval()")
    check_replaceable(network.attn_processors)

    # The same modules in the family's class.
    cls = found.cls
    if found.config.get("addition_embed_type") == "text_time":
        pooled = _part(pipe, "text_encoder_2").config.projection_dim
        cls = class_of_xl(kind, pooled, found.config)
    text = text_of_parts(found.name, cls, network, pipe.components)
    _expand_words(pipe, text)
    geometry = found.geometry(network.config, vae.config)
    model: Components = cls(found.name, network, vae, text, pipe.scheduler, geometry, found.defaults())
    model.family = found.known.family if found.known else ""
    model.borrow_extras(pipe)
    return model, found


def _expand_words(pipe: Any, text: ClipText) -> None:
    """Let words of several vectors be read as the pipeline reads them, by each encoder that has some."""
    if not isinstance(pipe, TextualInversionLoaderMixin):  # reads them as any word
        return
    convert: Any = pipe.maybe_convert_prompt  # of a text it makes a text, of a list a list
    readers = (text, text.second) if isinstance(text, TextPair) else (text,)
    for part in readers:
        tokenizer: Any = part.tokenizer
        if any(f"{word}_1" in tokenizer.get_vocab() for word in tokenizer.get_added_vocab()):
            part.expand = partial(convert, tokenizer=tokenizer)


def _found(pipe: Any) -> tuple[Found, Any]:
    """What is known of the pipeline's model, and its network."""
    part = "transformer" if "transformer" in pipe.components else "unet"
    network: Any = _part(pipe, part)
    network = getattr(network, "_orig_mod", network)  # what torch.compile wraps
    kind = type(network).__name__
    if kind not in NETWORKS:
        raise AnimaticError(f"{type(pipe).__name__}: its {part} is {kind}; want one of {', '.join(NETWORKS)}")
    inputs, outputs = network.config.in_channels, network.config.out_channels
    if outputs and inputs != outputs and type(pipe).__name__ not in IMAGE_PIPELINES:
        reason = f"its {part} reads {inputs} channels and answers {outputs}"
        raise AnimaticError(f"{type(pipe).__name__}: {reason}; want a network of text alone")

    # Where it came from says which model it is, else its configuration.
    source = str(pipe.config.get("_name_or_path") or "")
    name = f"{type(pipe).__name__} {Path(source).name}".rstrip()
    card = read_card(Path(source)) if source else {}
    index = {key: value for key, value in pipe.config.items() if isinstance(value, (list, tuple))}
    config = {**network.config, "_class_name": kind, "_library": index[part][0]}
    preset = PRESETS.get(preset_of(source))
    alike: tuple[str, ...] = ()
    if preset is None and card.keys().isdisjoint(("model", "family")):
        alike = known_by_config(config)
    known = PRESETS[alike[0]] if alike else preset or known_by_card(Path(source), card)
    return Found(name, Path(name), dict(index), card, config, known, alike), network


def _part(pipe: Any, name: str) -> Any:
    part = pipe.components.get(name)
    if part is None:
        raise AnimaticError(f"{type(pipe).__name__}: it has no {name}; want it loaded")
    return part
