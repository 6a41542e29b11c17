"""LoRA: low-rank updates of the weights of a frozen network, in diffusers' file format.

Hu et al. 2022, https://arxiv.org/abs/2106.09685. Trained with peft, read without it (`lora_files`) and added to the
weights once, so that sampling costs the same.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from ..core.backbone import MemoryOptions
from ..errors import AnimaticError, warn
from ..files import write_atomically
from . import load
from .components import Components
from .load import NO_MEMORY_OPTIONS
from .lora_files import LoraFile, Update, read_lora
from .textual_inversion import add_embedding

NETWORKS = ("transformer", "transformer_2")  # of Wan 2.2 A14B: for high noise and for low
ENCODERS = ("text_encoder", "text_encoder_2")  # of SDXL and Stable Diffusion 3: CLIP-L and OpenCLIP bigG
TIME = ("*temp_attentions*", "*transformer_in*", "*temp_convs*", "*.time.*", "mid_time.*", "time_in.*")

PROJECTIONS = ("to_q", "to_k", "to_v", "qkv", "out")  # diffusers' layers of attention, and those of SpaceTimeUNet


def target_layers(network: nn.Module, which: str) -> list[str]:
    """Names of the attention projections in space, in time or in both ("all"), or of all layers that match globs."""
    # Attention layers have the names of diffusers, or those of SpaceTimeUNet.
    layers = [name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    if which in ("space", "time", "all"):
        attention = [name for name in layers if name.rpartition(".")[2] in PROJECTIONS or "to_out" in name]
        in_time = [name for name in attention if any(fnmatchcase(name, glob) for glob in TIME)]
        in_space = [name for name in attention if name not in in_time]
        chosen = {"space": in_space, "time": in_time, "all": attention}[which]
    else:
        globs = [glob.strip() for glob in which.split(",")]
        chosen = [name for name in layers if any(fnmatchcase(name, glob) for glob in globs)]

    if not chosen:
        raise AnimaticError(f"no layer matches {which!r}; want space, time, all, or globs such as *attn2.to_k")
    return chosen


def add_adapters(network: nn.Module, rank: int, which: str = "space") -> None:
    """Freeze `network` and add adapters of `rank` to its layers that `which` names (see `target_layers`)."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise AnimaticError("LoRA needs the package peft; pip install 'animatic[train]'") from None
    network.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=target_layers(network, which))
    inject_adapter_in_model(config, network)


def save_lora(network: nn.Module, path: Path, words: Sequence[str] = ()) -> Path:
    """Write the adapters of `network` as diffusers names them; `words` are those they were trained for."""
    state = {}
    for name, value in network.state_dict().items():
        if ".lora_" in name:
            plain = name.replace(".default", "")  # peft's name of the only adapter
            state[f"unet.{plain}"] = value.detach().cpu().contiguous()

    header = {"format": "pt", "animatic": json.dumps({"words": list(words)})}
    write_atomically(path, save(state, header))
    return path


@dataclass(frozen=True)
class LoraRequest:
    """A requested LoRA: FILE, FILE:SCALE or FILE:SCALE:NETWORK.

    `network` is "transformer" or "transformer_2", one of the two of Wan 2.2 A14B; "": all that the model has.
    """

    file: Path
    scale: float = 1.0
    network: str = ""

    @staticmethod
    def of(text: str) -> LoraRequest:
        """The request in `text`. Raises `AnimaticError` where SCALE is no finite number."""
        if os.path.exists(text):  # of a Path a name that is too long would raise
            return LoraRequest(Path(text))

        # From the end: the network, then the scale; a path may hold colons, too.
        rest, _, last = text.rpartition(":")
        network = last if last in NETWORKS else ""
        rest, _, number = (rest if network else text).rpartition(":")
        if not rest:
            return LoraRequest(Path(number), network=network)

        # Where the last part is no number it belongs to the path.
        try:
            scale = float(number)
        except ValueError:
            if os.path.exists(rest):
                raise AnimaticError(f"{rest}: scale is {number!r}; want a number such as 0.8") from None
            return LoraRequest(Path(f"{rest}:{number}"), network=network)
        if not math.isfinite(scale):
            raise AnimaticError(f"{rest}: scale is {number}; want a number such as 0.8")
        return LoraRequest(Path(rest), scale, network)


def with_loras(
    model: str,
    requests: Sequence[str],
    memory: MemoryOptions = NO_MEMORY_OPTIONS,
    embeddings: Sequence[tuple[str, str]] = (),
) -> str | Components:
    """The model called `model` with every FILE[:SCALE[:NETWORK]] of `requests` added, with memory options.

    `embeddings`: (file, word) of each word that is added to its text encoder, see `textual_inversion`.

    Without any of these only its name is returned.
    """
    if not requests and not embeddings and memory == NO_MEMORY_OPTIONS:
        return model

    def add(loaded: Components) -> None:
        for file, word in embeddings:
            add_embedding(loaded, Path(file), word)
        for request in map(LoraRequest.of, requests):
            apply_lora(loaded, request.file, request.scale, request.network)

    return load(model, memory=memory, adapt=add if requests or embeddings else None)


def apply_lora(model: Components, file: Path, scale: float = 1.0, network: str = "") -> Components:
    """Add `scale` times a LoRA to the weights of `model`, in place; it can then show the words of the file.

    Updates of text encoders are applied to them. A model of two networks (Wan 2.2 A14B) gets it in both,
    which a warning says, unless `network` is "transformer" (high noise) or "transformer_2" (low noise). Raises
    `AnimaticError`, and changes nothing, where anything in the file belongs to another network.
    """
    lora = _read(model, file)
    if len(_targets(model, network)) > 1 and "transformer_2" not in lora.parts:
        hint = f"{file}:{scale:g}:transformer for one of them, {file}:{scale:g}:transformer_2 for the other"
        warn(f"{file}: added to both networks of {model.name}; say {hint}")
    changes = _changes(model, lora, file, network)

    with torch.no_grad():
        for layer, update in changes:
            weight: Any = layer.weight
            weight.copy_(update.weight(weight, scale))
            if update.bias is not None:
                bias: Any = layer.bias
                change = scale * update.scaling * update.bias
                bias += change.to(bias)

    # What files say about the model; one without a list of words takes any.
    where = f":{network}" if network else ""
    model.name = f"{model.name} + {file.stem}:{scale:g}{where}"
    model.loras = (*model.loras, (str(file.resolve()), scale, network))
    if model.words:
        added = [word for word in lora.words if word not in model.words]
        model.words = (*model.words, *added)
    else:
        model.words = ()
    return model


def changes_of(model: Components, file: Path, network: str = "") -> list[tuple[nn.Module, Update]]:
    """The layers of `model` that a LoRA changes, each with its update; nothing is changed. See `apply_lora`."""
    return _changes(model, _read(model, file), file, network)


def _read(model: Components, file: Path) -> LoraFile:
    return read_lora(file, model.unet, _encoders(model))


def _encoders(model: Components) -> dict[str, nn.Module]:
    return dict(zip(ENCODERS, getattr(model.text, "encoders", ()), strict=False))


def _changes(model: Components, lora: LoraFile, file: Path, network: str) -> list[tuple[nn.Module, Update]]:
    """The layer of each update. Raises `AnimaticError` unless everything fits."""
    # Which layers of which networks the file is for.
    encoders = _encoders(model)
    targets = _targets(model, network)
    changes: list[tuple[nn.Module, Update]] = []
    misfits = []
    for part, updates in lora.parts.items():
        modules = [encoders.get(part)] if part in ENCODERS else _networks(part, targets)
        for module in modules or [None]:
            layers = dict(module.named_modules()) if module is not None else {}
            for name, update in updates.items():
                layer = layers.get(name)
                if layer is not None and update.fits(layer):
                    changes.append((layer, update))
                else:
                    misfits.append(f"{part}.{name}" if part.startswith("text") else name)

    # One layer that does not fit means another network: nothing was changed yet.
    if misfits:
        others = ""
        if len(misfits) > 1:
            others = f" (and {len(misfits) - 1} others of {len(misfits) + len(changes)})"
        whose = f"does not fit {model.name}; want a LoRA of this network"
        raise AnimaticError(f"{file}: its layer {misfits[0]}{others} {whose}")
    return changes


def _targets(model: Components, network: str) -> dict[str, Any]:
    """The networks that are to be changed, by their part in a model folder."""
    # Two names, of which the second is there where the model has a second network.
    found = dict(zip((model.network_folder, "transformer_2"), model.networks, strict=False))
    if not network:
        return found
    if network not in found:
        raise AnimaticError(f"{model.name} has no {network}; its networks are {', '.join(found)}")
    return {network: found[network]}


def _networks(part: str, targets: dict[str, Any]) -> list[Any]:
    """Those that a part of a file is for: one that the file names of two, else all that are to be changed."""
    if part == "transformer_2":
        return [targets[part]] if part in targets else []
    return list(targets.values())
