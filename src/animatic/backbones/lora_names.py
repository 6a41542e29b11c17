"""Names of the tensors in LoRA files: those of other programs as diffusers and peft write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor, nn

from ..errors import AnimaticError, warn
from .ldm_names import ldm_layers

State = Mapping[str, Tensor]

# VideoX-Fun's scripts write two underscores after the part.
KOHYA = re.compile(r"lora_(unet|te1?)__?([^.]+)\.(.+)")

MUSUBI = re.compile(r"lora_unet__?blocks_(\d+)_(self_attn|cross_attn|ffn)_(\w+)\.(.+)")

COMFY_TEXT = re.compile(r"text_encoders\.clip_[lh]\.transformer\.")

LAYER = re.compile(r"(.+)\.(lora_(?:up|down|A|B)\b.*|alpha)")

ENDINGS = {".lora_down.": ".lora_A.", ".lora_up.": ".lora_B.", "lora_linear_layer.down": "lora_A"}

ENDINGS |= {"lora_linear_layer.up": "lora_B", ".default.weight": ".weight"}


def peft_names(file: Path, state: State, network: nn.Module, encoder: nn.Module | None) -> dict[str, Tensor]:
    """The tensors under diffusers' and peft's names: `unet.LAYER.lora_A.weight`."""
    # Prefixes and names of other programs, one after another.
    state = {name.removeprefix("base_model.model."): value for name, value in state.items()}
    if type(network).__name__ == "WanTransformer3DModel":
        state = _from_wan(file, state)
    state = {name.removeprefix("diffusion_model."): value for name, value in state.items()}
    first_names = ldm_layers(network)
    state = _from_comfy(state, first_names)
    state = _from_kohya(state, network, encoder, first_names)

    # Endings of kohya and of old training scripts.
    named = {}
    for name, value in state.items():
        for old, new in ENDINGS.items():
            name = name.replace(old, new)
        named[name] = value

    # diffusers' own conversions, one for the network and one for text encoders.
    texts = {name: value for name, value in named.items() if name.startswith("text_encoder.")}
    others = {name: value for name, value in named.items() if name not in texts}
    others = convert_unet_state_dict_to_peft(others)
    if any("to_out_lora" in name for name in texts):  # the training scripts' old names
        texts = convert_state_dict_to_peft(convert_state_dict_to_diffusers(texts))

    # CLIP has no inner `text_model` since transformers 5.
    is_flat = encoder is not None and not hasattr(encoder, "text_model")
    if is_flat:
        texts = {name.replace("text_encoder.text_model.", "text_encoder."): value for name, value in texts.items()}
    return {**others, **texts}


def _from_wan(file: Path, state: State) -> dict[str, Tensor]:
    """Wan's own names by diffusers' converter, musubi's with dots instead of underscores."""
    # The converter knows the network alone.
    texts = {name: value for name, value in state.items() if name.startswith("lora_te")}
    own = {}
    for name, value in state.items():
        if name in texts:
            continue
        if hit := MUSUBI.fullmatch(name):
            name = "diffusion_model.blocks.{}.{}.{}.{}".format(*hit.groups())
        own[name] = value
    if not any(name.startswith("diffusion_model.") for name in own):
        return {**own, **texts}

    # Wan's files may change norms and biases, which diffusers' converter drops without a word.
    left_out = [name for name, value in own.items() if _unread(name) and value.any()]
    if left_out:
        count = f"{len(left_out)} tensors that change norms or whole layers are left out, as by diffusers"
        warn(f"{file}: {count}; the first is {left_out[0]}")
    try:
        converted: Any = WanLoraLoaderMixin.lora_state_dict(own)
    except (KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise AnimaticError(f"{file}: its names are not those of a Wan LoRA ({reason})") from None
    return {**converted, **texts}


def _unread(name: str) -> bool:
    return name.endswith(".diff") or (name.endswith(".diff_b") and "norm" in name)


def _from_comfy(state: State, first_names: Mapping[str, str]) -> dict[str, Tensor]:
    """ComfyUI's names, those of Stable Diffusion's first code: `input_blocks.1.1.transformer_blocks.0.attn1.to_q`."""
    named = {}
    for name, value in state.items():
        name = COMFY_TEXT.sub("text_encoder.", name, count=1)
        match = LAYER.fullmatch(name)
        if match and match[1] in first_names:
            name = f"unet.{first_names[match[1]]}.{match[2]}"
        named[name] = value
    return named


def _from_kohya(
    state: State, network: nn.Module, encoder: nn.Module | None, first_names: Mapping[str, str]
) -> dict[str, Tensor]:
    """kohya's names with dots: `lora_unet_mid_block_resnets_0_conv1` is the network's mid_block.resnets.0.conv1."""
    modules = {"unet": network, "text_encoder": encoder}
    layers: dict[str, dict[str, str]] = {}
    for part, module in modules.items():
        names = [name for name, _ in module.named_modules()] if module else []
        layers[part] = {name.replace(".", "_"): name for name in names}
    layers["unet"] |= {first.replace(".", "_"): name for first, name in first_names.items()}

    # "_" stands for "." and for itself: the names of the network decide.
    named = {}
    for name, value in state.items():
        match = KOHYA.fullmatch(name)
        if match:
            prefix, underscored, role = match.groups()
            part = "unet" if prefix == "unet" else "text_encoder"
            flat = underscored.removeprefix("text_model_") if part == "text_encoder" else underscored
            layer = layers[part].get(flat) or layers[part].get(underscored) or underscored
            name = f"{part}.{layer}.{role}"
        named[name] = value
    return named
