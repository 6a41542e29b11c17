"""Names of the tensors in LoRA files: those of other programs as diffusers and peft write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers as sgm_blocks_to_diffusers
from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor, nn

from ..errors import AnimaticError, warn

State = Mapping[str, Tensor]

KOHYA = re.compile(r"lora_(unet|te[12]?)_([^.]+)\.(.+)")

KOHYA_PARTS = {"unet": "unet", "te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2"}

SGM_BLOCKS = re.compile(r"lora_unet_(input_blocks|middle_block|output_blocks)_.+")

# Names in SDXL's original code, and what they are in diffusers once the blocks are counted as there
SGM = {
    "lora_unet_input_blocks_0_0.": "lora_unet_conv_in.",
    "lora_unet_out_2.": "lora_unet_conv_out.",
    "lora_unet_input_": "lora_unet_down_",
    "lora_unet_middle_": "lora_unet_mid_",
    "lora_unet_output_": "lora_unet_up_",
    "_in_layers_2.": "_conv1.",
    "_out_layers_3.": "_conv2.",
    "_emb_layers_1.": "_time_emb_proj.",
    "_skip_connection.": "_conv_shortcut.",
    "_op.": "_conv.",
    "_time_embed_0.": "_time_embedding_linear_1.",
    "_time_embed_2.": "_time_embedding_linear_2.",
    "_label_emb_0_0.": "_add_embedding_linear_1.",
    "_label_emb_0_2.": "_add_embedding_linear_2.",
}

MUSUBI = re.compile(r"lora_unet_blocks_(\d+)_(self_attn|cross_attn|ffn)_(\w+)\.(.+)")

ENDINGS = {".lora_down.": ".lora_A.", ".lora_up.": ".lora_B.", "lora_linear_layer.down": "lora_A"}

ENDINGS |= {"lora_linear_layer.up": "lora_B", ".default.weight": ".weight"}


def peft_names(file: Path, state: State, network: nn.Module, encoders: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors under diffusers' and peft's names: `unet.LAYER.lora_A.weight`; text encoders are given by part."""
    # Prefixes and names of other programs, one after another.
    state = {name.removeprefix("base_model.model."): value for name, value in state.items()}
    if type(network).__name__ == "WanTransformer3DModel":
        state = _from_wan(file, state)
    state = {name.removeprefix("diffusion_model."): value for name, value in state.items()}
    state = _from_sgm(file, state, network)
    state = _from_kohya(state, network, encoders)

    # Endings of kohya and of old training scripts.
    named = {}
    for name, value in state.items():
        for old, new in ENDINGS.items():
            name = name.replace(old, new)
        named[name] = value

    # diffusers' own conversions, one for the network and one for text encoders.
    texts = {name: value for name, value in named.items() if name.startswith(("text_encoder.", "text_encoder_2."))}
    others = {name: value for name, value in named.items() if name not in texts}
    others = convert_unet_state_dict_to_peft(others)
    if any("to_out_lora" in name for name in texts):  # the training scripts' old names
        texts = convert_state_dict_to_peft(convert_state_dict_to_diffusers(texts))

    # CLIP has no inner `text_model` since transformers 5.
    for part, encoder in encoders.items():
        if not hasattr(encoder, "text_model"):
            texts = {name.replace(f"{part}.text_model.", f"{part}."): value for name, value in texts.items()}
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


def _from_sgm(file: Path, state: State, network: nn.Module) -> State:
    """kohya's names of SDXL, which are those of its original code, with diffusers' blocks.

    `input_blocks_4_1` of the original is `down_blocks_1_attentions_0`; diffusers counts the blocks.
    """
    in_blocks = {name: value for name, value in state.items() if SGM_BLOCKS.fullmatch(name)}
    config: Any = network.config
    if not in_blocks or "layers_per_block" not in config:
        return state
    try:
        counted = sgm_blocks_to_diffusers(dict(in_blocks), config)
    except (KeyError, IndexError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise AnimaticError(f"{file}: its names are not those of an SDXL LoRA ({reason})") from None

    # What is left are the names of single layers.
    others = {name: value for name, value in state.items() if name not in in_blocks}
    renamed = {}
    for name, value in {**others, **counted}.items():
        if name.startswith("lora_unet_"):
            for old, new in SGM.items():
                name = name.replace(old, new)
        renamed[name] = value
    return renamed


def _from_kohya(state: State, network: nn.Module, encoders: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """kohya's names with dots: `lora_unet_mid_block_resnets_0_conv1` is the network's mid_block.resnets.0.conv1."""
    layers: dict[str, dict[str, str]] = {}
    for part, module in {"unet": network, **encoders}.items():
        names = [name for name, _ in module.named_modules()]
        layers[part] = {name.replace(".", "_"): name for name in names}

    # "_" stands for "." and for itself: the names of the network decide.
    named = {}
    for name, value in state.items():
        match = KOHYA.fullmatch(name)
        if match:
            prefix, underscored, role = match.groups()
            part = KOHYA_PARTS[prefix]
            known = layers.get(part, {})
            flat = underscored if part == "unet" else underscored.removeprefix("text_model_")
            layer = known.get(flat) or known.get(underscored) or underscored
            name = f"{part}.{layer}.{role}"
        named[name] = value
    return named
