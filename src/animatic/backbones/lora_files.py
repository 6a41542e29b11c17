"""LoRA files of several programs: which layers they change, and by how much.

Hu et al. 2022, https://arxiv.org/abs/2106.09685.

Read are files of diffusers (`unet.`, `transformer.`, `text_encoder.`, `text_encoder_2.`) and of its training scripts
(`processor.to_q_lora.down`), of peft (`base_model.model.`), of kohya and A1111 (`lora_unet_`, `lora_te_`, `lora_te2_`,
with LoCon's convolutions), of ComfyUI (`diffusion_model.input_blocks.1.1`, `text_encoders.clip_l.transformer.`), of
VideoX-Fun (`lora_unet__`), and of Wan's own names (`diffusion_model.blocks.0.self_attn.q`, musubi's too); those of
UNets also with the blocks of their original code. Renaming is diffusers' where it has one; kohya's names are those of
the network's layers with "_" for ".", which are looked up in the network.

Whatever cannot be added exactly is refused: a layer the network lacks, LoHa, LoKr, A1111's `dora_scale`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import AnimaticError, warn
from .folder import read_json
from .lora_names import State, peft_names

PREFIX = re.compile(r"(?:(unet|transformer|transformer_2|text_encoder|text_encoder_2)\.)?(.+)")
ROLE = re.compile(r"(.+)\.(lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_magnitude_vector|alpha)(?:\.weight)?")
PATTERN_SECONDS = 1.0  # most for a pattern of layers in peft's config
MOST_ALPHA = 1e9
NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")  # in a folder: diffusers', peft's


@dataclass(frozen=True)
class Update:
    """The update of one layer: W -> W + scaling B A, and with DoRA each row of it is made `magnitude` long.

    `down` (A) is `[rank, ...]`, `up` (B) `[channel, rank, ...]`, `bias` and `magnitude` `[channel]`; all float32.
    """

    down: Tensor
    up: Tensor
    scaling: float
    bias: Tensor | None = None
    magnitude: Tensor | None = None

    def fits(self, layer: nn.Module | None) -> bool:
        # Rows of B are output channels; A has as many numbers a row as the weight, kernel included.
        weight = getattr(layer, "weight", None)
        if weight is None:
            return False
        rank = len(self.down)
        if len(weight) != len(self.up) or self.up.shape[1] != rank:
            return False
        numbers_per_row = self.down[0].numel()
        if weight.numel() != len(self.up) * numbers_per_row:
            return False

        # One number for each output channel.
        vectors = [vector for vector in (self.bias, self.magnitude) if vector is not None]
        if any(len(vector) != len(weight) for vector in vectors):
            return False
        has_bias = getattr(layer, "bias", None) is not None
        return self.bias is None or has_bias

    def weight(self, old: Tensor, scale: float) -> Tensor:
        """The weight of the layer with `scale` times the update, float32, in the shape of `old`."""
        product = self.up.flatten(1) @ self.down.flatten(1)
        change = product * (scale * self.scaling)
        new = old.float() + change.view_as(old).to(old.device)
        if self.magnitude is None:
            return new

        # Liu et al. 2024 (arXiv 2402.09353), equation 5: direction from the sum, length from the magnitude vector.
        length = new.flatten(1).norm(dim=1)
        factor = self.magnitude.to(new.device) / length
        other_axes = [1] * (new.dim() - 1)
        by_channel = factor.view(-1, *other_axes)
        return by_channel * new


@dataclass(frozen=True)
class LoraFile:
    """The updates in a file by part of the model ("unet", "transformer_2", "text_encoder", ...; "": its network) and
    layer, and the words that files written here were trained for."""

    parts: dict[str, dict[str, Update]]
    words: tuple[str, ...]


def read_lora(file: Path, network: nn.Module, encoders: Mapping[str, nn.Module]) -> LoraFile:
    """A LoRA file for a model of this network and these text encoders by part, or the one in the folder `file`.

    Raises `AnimaticError` where it is none, is incomplete, has numbers that are not finite, or tensors that are no
    LoRA; warns where Wan's names come with changes of norms, which diffusers does not read either.
    """
    # A folder holds one file, by diffusers' or peft's name.
    if os.path.isdir(file):
        present = [file / name for name in NAMES if (file / name).exists()]
        file = present[0] if present else file / NAMES[0]
    state, header = _open(file)
    is_lora = any("lora" in name or "hada_" in name or "lokr_" in name for name in state)
    if not is_lora:
        raise AnimaticError(f"{file}: no LoRA in it; want layers named lora_A and lora_B, or lora_down and lora_up")
    _check(file, state)

    # The tensors by part ("", "unet", "text_encoder"), layer and role ("lora_A.weight").
    named = peft_names(file, state, network, encoders)
    grouped: dict[str, dict[str, dict[str, Tensor]]] = {}
    unknown = []
    for key, value in named.items():
        role = ROLE.fullmatch(key)
        if role is None:
            unknown.append(key)
            continue
        part, layer = PREFIX.fullmatch(role[1]).groups()  # type: ignore[union-attr]
        layers = grouped.setdefault(part or "", {})
        layers.setdefault(layer, {})[role[2]] = value
    if unknown:
        count = f"{len(unknown)} of {len(named)} tensors are no plain LoRA or DoRA of peft"
        raise AnimaticError(f"{file}: {count}, the first is {unknown[0]}; want lora_A and lora_B pairs alone")

    # peft stores alpha in a file of its own.
    configs = _configs(file, header, named)
    is_of_peft = any(name.startswith("base_model.model.") for name in state)
    if not configs and is_of_peft:
        warn(f"{file}: no adapter_config.json in its folder; its alpha is taken to be its rank")
    parts = {}
    for part, layers in grouped.items():
        config = configs.get(part, {})
        parts[part] = {layer: _update(file, layer, roles, config) for layer, roles in layers.items()}
    return LoraFile(parts, _words(file, header))


def _open(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, "pt") as data:
            tensors = {key: data.get_tensor(key) for key in data.keys()}  # noqa: SIM118 - no dict
            return tensors, data.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise AnimaticError(f"{file}: cannot be read ({error}); want a LoRA in safetensors") from None


def _check(file: Path, state: State) -> None:
    bad = []
    for name, value in state.items():
        # Conversions of names compute with alphas already.
        is_alpha = name.endswith("alpha")
        if is_alpha and value.numel() != 1:
            raise AnimaticError(f"{file}: {name} has shape {list(value.shape)}; want one number")
        if not is_alpha and not value.is_floating_point():
            raise AnimaticError(f"{file}: {name} holds {value.dtype}; want floating-point numbers")
        if not torch.isfinite(value.float()).all():
            bad.append(name)
    if bad:
        raise AnimaticError(f"{file}: {len(bad)} tensors hold numbers that are not finite, the first is {bad[0]}")


def _configs(file: Path, header: Mapping[str, str], named: State) -> dict[str, dict[str, Any]]:
    """peft's LoraConfig of each part: from diffusers' header, or from the file that peft writes with its own."""
    peft_config = file.with_name("adapter_config.json")
    if "lora_adapter_metadata" in header:
        config = _json(file, header["lora_adapter_metadata"])
    elif file.name == NAMES[1] and peft_config.exists():
        config = read_json(peft_config)
    else:
        return {}

    # Keys of one part begin with its name; others are for every part that has none of its own.
    common = {key: value for key, value in config.items() if "." not in key}
    matches = [PREFIX.fullmatch(name) for name in named]
    parts = {match[1] or "" for match in matches if match}
    configs: dict[str, dict[str, Any]] = {}
    for part in parts:
        prefix = f"{part}."
        own = {}
        for key, value in config.items():
            if part and key.startswith(prefix):
                own[key.removeprefix(prefix)] = value
        configs[part] = own or common
    return configs


def _json(file: Path, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnimaticError(f"{file}: its header is damaged ({str(error)[:80]}); want JSON") from None
    if not isinstance(data, dict):
        raise AnimaticError(f"{file}: its header holds a {type(data).__name__}; want a JSON object")
    return data


def _words(file: Path, header: Mapping[str, str]) -> tuple[str, ...]:
    words = _json(file, header.get("animatic", "{}")).get("words", [])
    if not isinstance(words, list):
        raise AnimaticError(f"{file}: words in its header is a {type(words).__name__}; want a list")
    return tuple(str(word) for word in words)


def _update(file: Path, layer: str, roles: Mapping[str, Tensor], config: Mapping[str, Any]) -> Update:
    down = roles.get("lora_A.weight")
    up = roles.get("lora_B.weight")
    if down is None or up is None:
        raise AnimaticError(f"{file}: {layer} has {', '.join(sorted(roles))}, which has no partner; want a whole LoRA")
    if down.dim() < 2 or up.dim() < 2 or not down.numel():
        shapes = f"{list(down.shape)} and {list(up.shape)}"
        raise AnimaticError(f"{file}: {layer} has shapes {shapes}; want two matrices")
    if config.get("use_dora") and "lora_magnitude_vector" not in roles:
        raise AnimaticError(f"{file}: a DoRA, but {layer} has no lora_magnitude_vector; want a whole one")

    # alpha / rank, or of rsLoRA alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732).
    rank = len(down)
    if "alpha" in roles:
        alpha = float(roles["alpha"])
    else:
        alpha = _alpha(file, layer, config, rank)
    scaling = alpha / (rank**0.5 if config.get("use_rslora") else rank)

    # Everything is computed in float32.
    bias = roles.get("lora_B.bias")
    if bias is not None:
        bias = bias.float()
    magnitude = roles.get("lora_magnitude_vector")
    if magnitude is not None:
        magnitude = magnitude.float().flatten()
    return Update(down.float(), up.float(), scaling, bias, magnitude)


def _alpha(file: Path, layer: str, config: Mapping[str, Any], rank: int) -> float:
    """Of peft's config, whose patterns are matched at the end of a layer's name; the rank where it has none.

    A pattern is a regular expression; of strangers' ones some take for ever, so time is limited.
    """
    alpha = config.get("lora_alpha") or rank
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise AnimaticError(f"{file}: alpha_pattern is a {type(patterns).__name__}; want layers with their alpha")
    for pattern, own in patterns.items():
        try:
            is_match = regex.match(rf"(.*\.)?({pattern})$", layer, timeout=PATTERN_SECONDS)
        except (regex.error, TimeoutError) as error:
            reason = f"{file}: alpha_pattern has {pattern[:80]!r} ({str(error)[:80]})"
            raise AnimaticError(f"{reason}; want names of layers, or a regular expression for them") from None
        if is_match:
            alpha = own
            break

    # JSON's numbers alone: true is none.
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not abs(alpha) < MOST_ALPHA:
        raise AnimaticError(f"{file}: alpha of {layer} is {str(alpha)[:80]!r}; want a number")
    return float(alpha)
