"""Names of the tensors in LoRA files: those of other programs as diffusers and peft write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor, nn

from ..errors import AnimaticError, warn

State = Mapping[str, Tensor]

KOHYA = re.compile(r"lora_(unet|te1?)_([^.]+)\.(.+)")

MUSUBI = re.compile(r"lora_unet_blocks_(\d+)_(self_attn|cross_attn|ffn)_(\w+)\.(.+)")

ENDINGS = {".lora_down.": ".lora_A.", ".lora_up.": ".lora_B.", "lora_linear_layer.down": "lora_A"}

ENDINGS |= {"lora_linear_layer.up": "lora_B", ".default.weight": ".weight"}


def peft_names(file: Path, state: State, network: nn.Module, encoder: nn.Module | None) -> dict[str, Tensor]:
    """The tensors under diffusers' and peft's names: `unet.LAYER.lora_A.weight`."""
    # Prefixes and names of other programs, one after another.
    state = {name.removeprefix("base_model.model."): value for name, value in state.items()}
    if type(network).__name__ == "WanTransformer3DModel":
        state = _from_wan(file, state)
    state = {name.removeprefix("diffusion_model."): value for name, value in state.items()}
    state = _from_kohya(state, network, encoder)

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
    own = {}
    for name, value in state.items():
        if hit := MUSUBI.fullmatch(name):
            name = "diffusion_model.blocks.{}.{}.{}.{}".format(*hit.groups())
        own[name] = value
    if not any(name.startswith("diffusion_model.") for name in own):
        return own

    # Wan's files may change norms and biases, which diffusers' converter drops without a word.
    left_out = [name for name, value in own.items() if _unread(name) and value.any()]
    if left_out:
        count = f"{len(left_out)} tensors that change norms or whole layers are left out, as by diffusers"
        warn(f"{file}: {count}; the first is {left_out[0]}")
    try:
        return WanLoraLoaderMixin.lora_state_dict(own)  # type: ignore[return-value]
    except (KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise AnimaticError(f"{file}: its names are not those of a Wan LoRA ({reason})") from None


def _unread(name: str) -> bool:
    return name.endswith(".diff") or (name.endswith(".diff_b") and "norm" in name)


def _from_kohya(state: State, network: nn.Module, encoder: nn.Module | None) -> dict[str, Tensor]:
    """kohya's names with dots: `lora_unet_mid_block_resnets_0_conv1` is the network's mid_block.resnets.0.conv1."""
    modules = {"unet": network, "text_encoder": encoder}
    layers: dict[str, dict[str, str]] = {}
    for part, module in modules.items():
        names = [name for name, _ in module.named_modules()] if module else []
        layers[part] = {name.replace(".", "_"): name for name in names}

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
