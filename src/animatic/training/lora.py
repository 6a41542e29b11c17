"""LoRA (Hu et al. 2022): a few low-rank matrices teach a frozen network a thing; kept in diffusers' file format.

Trained through peft, read without it: a file is added to the weights once, so sampling costs nothing more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..backbones import load
from ..backbones.base import Components
from ..backbones.economy import Economy
from ..backbones.load import NO_ECONOMY
from ..errors import AnimaticError
from ..files import write_atomically

DOWN = re.compile(r"((?:unet\.|transformer\.)?(.+))\.lora(_A|\.down)\.weight")
UP = {"_A": "_B", ".down": ".up"}
TIME = ("*temp_attentions*", "*transformer_in*", "*temp_convs*", "*.time.*", "mid_time.*", "time_in.*")


def wanted_layers(network: nn.Module, which: str) -> list[str]:
    """Names of the attention projections in space, in time or in both ("all"), or of all layers that match globs."""
    layers = [n for n, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    attention = [n for n in layers if n.rpartition(".")[2] in ("to_q", "to_k", "to_v", "qkv", "out") or "to_out" in n]
    in_time = [n for n in attention if any(fnmatchcase(n, glob) for glob in TIME)]
    chosen = {"space": [n for n in attention if n not in in_time], "time": in_time, "all": attention}.get(which)
    if chosen is None:
        chosen = [n for n in layers if any(fnmatchcase(n, glob.strip()) for glob in which.split(","))]
    if not chosen:
        raise AnimaticError(f"no layer matches {which!r}; want space, time, all, or globs such as *attn2.to_k")
    return chosen


def adapt(network: nn.Module, rank: int, which: str = "space") -> None:
    """Freeze `network` and put adapters of `rank` into the layers `which` names."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise AnimaticError("LoRA needs the package peft; pip install 'animatic[train]'") from None
    network.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=wanted_layers(network, which))
    inject_adapter_in_model(config, network)


def save_lora(network: nn.Module, path: Path, teach: Sequence[str] = ()) -> Path:
    """Write the adapters of `network` as diffusers names them; `teach` are the words they taught."""
    adapters = {name: value for name, value in network.state_dict().items() if ".lora_" in name}
    state = {f"unet.{name.replace('.default', '')}": v.detach().cpu().contiguous() for name, v in adapters.items()}
    told = {"format": "pt", "animatic": json.dumps({"words": list(teach)})}
    write_atomically(path, save(state, told))
    return path


def split_scale(told: str) -> tuple[Path, float]:
    """FILE or FILE:SCALE."""
    file, _, scale = told.rpartition(":")
    try:
        return (Path(file), float(scale)) if file and not Path(told).exists() else (Path(told), 1.0)
    except ValueError:
        return Path(told), 1.0


def with_loras(model: str, told: Sequence[str], economy: Economy = NO_ECONOMY) -> str | Components:
    """The model called `model` with every FILE[:SCALE] of `told` added, saving memory; else only its name."""
    if not told and economy == NO_ECONOMY:
        return model

    def add(loaded: Components) -> None:
        for file, scale in map(split_scale, told):
            apply_lora(loaded, file, scale)

    return load(model, economy=economy, adapt=add)


def apply_lora(model: Components, file: Path, scale: float = 1.0) -> Components:
    """Add `scale` times a LoRA to the weights of `model`, in place; it then also knows the words it was taught.

    Each pair adds scale * alpha / rank * B A. Raises `AnimaticError` where the file belongs to another network.
    """
    pairs, words = _read(file)
    layers = dict(model.unet.named_modules())
    found = {}
    for name, (down, up, alpha) in pairs.items():
        layer = layers.get(name)
        weight = getattr(layer, "weight", None)
        change = (up.flatten(1) @ down.flatten(1)) * (scale * alpha / len(down))
        if weight is None or weight.numel() != change.numel():
            raise AnimaticError(f"{file}: its layer {name} does not fit {model.name}; want a LoRA of this network")
        found[name] = (weight, change)
    with torch.no_grad():  # nothing is changed unless everything fits
        for weight, change in found.values():
            weight += change.view_as(weight).to(weight)
    model.name = f"{model.name} + {file.stem}:{scale:g}"
    model.loras = (*model.loras, (str(file.resolve()), scale))
    model.words = (*model.words, *(w for w in words if w not in model.words)) if model.words else ()
    return model


def _read(file: Path) -> tuple[dict[str, tuple[Tensor, Tensor, float]], list[str]]:
    try:
        with safe_open(file, "pt") as data:
            state: dict[str, Tensor] = {key: data.get_tensor(key) for key in data.keys()}  # noqa: SIM118 - not a dict
            told = json.loads((data.metadata() or {}).get("animatic", "{}"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise AnimaticError(f"{file}: cannot be read ({error}); want a LoRA in safetensors") from None
    pairs = {}
    for key, down in state.items():
        if (hit := DOWN.fullmatch(key)) is None:
            continue
        stem, name, half = hit.groups()
        up = state.get(f"{stem}.lora{UP[half]}.weight")
        if up is None:
            raise AnimaticError(f"{file}: {key} has no partner; want a whole LoRA")
        pairs[name] = (down.float(), up.float(), float(state.get(f"{stem}.alpha", len(down))))
    if not pairs:
        raise AnimaticError(f"{file}: no LoRA in it; want layers named lora_A and lora_B")
    return pairs, list(told.get("words", ()))
