"""Stable Diffusion's weights under the names of its first authors: one file with everything, as it is passed around."""

import re
from typing import Any

from torch import Tensor

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
STEM = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
MID = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def whole(pipe: Any) -> dict[str, Tensor]:
    """All weights of a `StableDiffusionPipeline` as one state dict."""
    state = {f"model.diffusion_model.{name}": value for name, value in unet(pipe.unet).items()}
    state |= {f"first_stage_model.{name}": value for name, value in vae(pipe.vae).items()}
    for name, value in pipe.text_encoder.state_dict().items():
        inner = name.removeprefix("text_model.")
        state[f"cond_stage_model.transformer.text_model.{inner}"] = value
    return {name: value.contiguous() for name, value in state.items()}


def unet(network: Any) -> dict[str, Tensor]:
    layers = network.config.layers_per_block
    named = {}
    for name, value in network.state_dict().items():
        module, _, kind = name.rpartition(".")
        if module in STEM:
            named[f"{STEM[module]}.{kind}"] = value
            continue
        side, rest = name.split(".", 1)
        if side == "mid_block":
            part = next(part for part in MID if rest.startswith(part))
            named[f"middle_block.{MID[part]}.{_resnet(rest.removeprefix(part + '.'), part)}"] = value
            continue
        block, part, i, inner = rest.split(".", 3)
        where = {"down_blocks": "input_blocks", "up_blocks": "output_blocks"}[side]
        count = layers + 1  # a level down has a downsampler more, a level up a resnet more
        if part == "downsamplers":
            named[f"{where}.{(int(block) + 1) * count}.0.op.{inner.removeprefix('conv.')}"] = value
        elif part == "upsamplers":
            last = int(block) * count + layers
            attended = any(key.startswith(f"up_blocks.{block}.attentions") for key in network.state_dict())
            named[f"{where}.{last}.{2 if attended else 1}.{inner}"] = value
        else:
            index = int(block) * count + int(i) + (side == "down_blocks")
            named[f"{where}.{index}.{int(part == 'attentions')}.{_resnet(inner, part)}"] = value
    return named


def _resnet(name: str, part: str) -> str:
    if not part.startswith("resnets"):
        return name
    module, _, kind = name.rpartition(".")
    return f"{RESNET[module]}.{kind}"


def vae(codec: Any) -> dict[str, Tensor]:
    levels = len(codec.config.block_out_channels)
    named = {}
    for name, value in codec.state_dict().items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", name)
        name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        if "mid_block.attentions.0" in name:
            for theirs, first in ATTENTION.items():
                name = name.replace(f"mid_block.attentions.0.{theirs}.", f"mid.attn_1.{first}.")
            if value.dim() == 2:  # convolutions of one pixel
                value = value[:, :, None, None]
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        named[name] = value
    return named
