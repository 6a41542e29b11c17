"""The layers of Stable Diffusion's UNet by the names of its first code, as ComfyUI and some trainers of LoRAs use them.

Rombach et al. 2022, https://github.com/CompVis/stable-diffusion: levels are counted through, `input_blocks.1.1` is the
attention after the first residual block.
"""

from __future__ import annotations

from typing import Any

STEM = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0",  # of SDXL
    "add_embedding.linear_2": "label_emb.0.2",
}
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
RESIDUAL = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def ldm_layers(network: Any) -> dict[str, str]:
    """The network's own name of each layer by its name in the first code; {} for another class of network."""
    if type(network).__name__ != "UNet2DConditionModel" or not isinstance(network.config.layers_per_block, int):
        return {}
    names = {name for name, _ in network.named_modules()}
    found = {}
    for name in names:
        first = _ldm_name(name, names, network.config.layers_per_block)
        if first:
            found[first] = name
    return found


def _ldm_name(name: str, names: set[str], layers: int) -> str:
    """The first code's name of a layer; "" where it has none."""
    if name in STEM:
        return STEM[name]
    side, _, rest = name.partition(".")
    if side == "mid_block":
        part = ".".join(rest.split(".")[:2])
        inner = rest.removeprefix(f"{part}.")
        return f"middle_block.{MIDDLE[part]}.{_inner(inner, part)}" if part in MIDDLE else ""

    # Level, kind of module, its number, and what is in it.
    fields = rest.split(".", 3)
    if side not in ("down_blocks", "up_blocks") or len(fields) < 4:
        return ""
    level, part, number, inner = fields

    # On the way down a level ends with its downsampling; on the way up it has a residual block more.
    first = int(level) * (layers + 1)
    if part == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op"
    if part == "upsamplers":
        has_attention = f"up_blocks.{level}.attentions" in names
        return f"output_blocks.{first + layers}.{2 if has_attention else 1}.{inner}"
    within = 1 if part == "attentions" else 0
    if side == "down_blocks":
        return f"input_blocks.{first + int(number) + 1}.{within}.{_inner(inner, part)}"
    return f"output_blocks.{first + int(number)}.{within}.{_inner(inner, part)}"


def _inner(name: str, part: str) -> str:
    return RESIDUAL.get(name, name) if part.startswith("resnets") else name
