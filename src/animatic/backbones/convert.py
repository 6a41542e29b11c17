"""Checkpoints of video-diffusion-pytorch's `Unet3D` converted to model folders.

https://github.com/lucidrains/video-diffusion-pytorch, version 0.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.backbone import Geometry, ModelDefaults
from ..core.process import Process
from ..errors import AnimaticError
from .bert import BertSentence, read_bert
from .folder import check_state, read_checkpoint
from .small import SpaceTimeUNet
from .small_model import Labels, SpaceTimeBackbone, pixels, save_model

_RESNET = {"mlp.1": "film", "block1.proj": "conv1", "block2.proj": "conv2", "res_conv": "shortcut"}
_RESNET |= {"block1.norm.gamma": "norm1.gain", "block2.norm.gamma": "norm2.gain"}
_TOP = {
    "null_cond_emb": "null", "time_rel_pos_bias.relative_attention_bias": "positions.table", "init_conv": "conv_in",
    "time_mlp.1": "time_embed.0", "time_mlp.3": "time_embed.2", "mid_block1": "mid1", "mid_block2": "mid2",
    "init_temporal_attn": "time_in", "mid_spatial_attn": "mid_space", "mid_temporal_attn": "mid_time",
    "final_conv.0": "last", "final_conv.1": "conv_out",
}  # fmt: skip
THEIRS = "a Unet3D of video-diffusion-pytorch 0.7"
_LEVEL = {"0": "resnets.0", "1": "resnets.1", "2": "space", "3": "time"}


def renamed(name: str) -> str:
    """The name in `SpaceTimeUNet` of a parameter of video-diffusion-pytorch's `Unet3D`."""
    # Levels are numbered lists there: ResNet, ResNet, attention in space, attention over time, resampling.
    level = re.match(r"(down|up)s\.(\d+)\.(\d)\.", name)
    if level:
        way, index, part = level.groups()
        rest = name[level.end() :]
        resampling = "shrink" if way == "down" else "grow"
        place = f"{way}.{index}.{_LEVEL[part]}" if part in _LEVEL else f"{resampling}.{index}"
        name = f"{place}.{rest}"

    # Whole words at the start, wrappers (`fn`) anywhere, then words after a dot.
    for old, new in _TOP.items():
        name = re.sub(rf"^{re.escape(old)}(?=\.|$)", new, name)
    name = re.sub(r"\.(fn\.)+", ".", name)
    inner = {**_RESNET, "norm.gamma": "norm.weight", "to_qkv": "qkv", "to_out": "out"}
    for old, new in inner.items():
        name = re.sub(rf"\.{re.escape(old)}(?=\.|$)", f".{new}", name)
    return name


def from_vdp(state: Mapping[str, Tensor]) -> SpaceTimeUNet:
    """The network of a `Unet3D`, its sizes read from the shapes of its weights.

    Raises `AnimaticError` where a tensor is missing, unknown or of another shape (before 0.7.0 it was another network).
    """
    weights = {}
    for name, tensor in state.items():
        if not name.endswith("rotary_emb.freqs"):  # a table, computed anew
            weights[renamed(name)] = tensor
    network = SpaceTimeUNet(**_sizes(weights))

    # Some tensors have axes of length 1 more or fewer.
    expected = network.state_dict()
    for name in expected.keys() & weights.keys():
        tensor = weights[name]
        if tensor.numel() == expected[name].numel():
            weights[name] = tensor.reshape(expected[name].shape)

    # Anything else that differs is an error.
    check_state(weights, expected, f"the weights of {THEIRS}")
    network.load_state_dict(weights)
    return network.eval()


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `SpaceTimeUNet` by the shapes of its weights."""
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    try:
        first = shapes["conv_in.weight"]  # [dim, in_channels, 1, kernel, kernel]
        dim = first[0]
        levels = range(_count(weights))
        widths = [shapes[f"down.{i}.resnets.0.conv1.weight"][0] for i in levels]
        heads = shapes["positions.table.weight"][1]
        time_width = shapes["time_in.out.weight"][1]
        out_channels = shapes["conv_out.weight"][0]
        cond_dim = shapes["null"][1] if "null" in shapes else 0
    except (KeyError, ValueError, IndexError) as error:
        raise AnimaticError(f"not the shapes of a network ({error}); want {THEIRS}") from None

    # Its heads have one width; each level multiplies the first width.
    return {
        "dim": dim,
        "first_kernel": first[-1],
        "multiples": [width // dim for width in widths],
        "in_channels": first[1],
        "out_channels": out_channels,
        "cond_dim": cond_dim,
        "design": "original",
        "heads": heads,
        "head_dim": time_width // heads,
        "linear_attention": "down.0.space.qkv.weight" in shapes,
    }


def _count(weights: Mapping[str, Tensor]) -> int:
    """The number of levels."""
    indices = [-1]
    for name in weights:
        match = re.match(r"down\.(\d+)\.", name)
        if match:
            indices.append(int(match[1]))
    return max(indices) + 1


def convert_vdp(
    checkpoint: Path,
    out: Path,
    size: int,
    frames: int,
    classes: Path | None = None,
    bert: str = "",
    pool: str = "mean",
    threshold: float = 1.0,
) -> Path:
    """Write the model folder of a checkpoint of the Trainer (its averaged weights), the diffusion or the network.

    `size` in pixels and `frames` are the arguments of its `GaussianDiffusion`. A conditional network needs one of two
    encoders: `classes` is a file of named vectors (JSON: name -> list of numbers), `bert` the folder or hub id of the
    BERT whose states it was trained with, pooled by `pool` (see `read_bert`). `threshold` 1 clips each clean estimate
    to -1..1, as the original samples; below 1 it is the percentile of its dynamic thresholding (`Process.scheduler`).

    Returns `out`. Raises `AnimaticError` where the file is no such checkpoint, or an argument does not fit it.
    """
    if not 0 < threshold <= 1:
        raise AnimaticError(f"threshold is {threshold:g}; want 1 to clip, or a percentile above 0 and below 1")

    # The averaged weights, which its Trainer samples with; of the diffusion, the part that is the network.
    state = read_checkpoint(checkpoint)
    state = state.get("ema", state.get("model", state))
    is_state = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not is_state:
        raise AnimaticError(f"{checkpoint}: holds no names with tensors; want {THEIRS}")
    prefix = "denoise_fn."
    inner = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    network = from_vdp(inner or state)

    # It generates pixels, which need no autoencoder.
    channels = network.config["in_channels"]
    if channels not in (1, 3) or network.config["out_channels"] != channels:
        raise AnimaticError(f"{checkpoint}: {channels} channels in, {network.config['out_channels']} out; want 3, or 1")
    if size % network.size_multiple:
        raise AnimaticError(f"size is {size}; this network takes multiples of {network.size_multiple}")

    # What a model folder has besides the network.
    width = network.config["cond_dim"]
    encoder: Any = _encoder(width, classes, bert, pool)
    geometry = Geometry(frames, size, size, channels=channels, vae_spatial_ratio=1)
    levels = len(state["betas"]) if "betas" in state else 1000  # its `timesteps`
    process = Process("eps", levels=levels)
    defaults = ModelDefaults(process.levels, 2.0 if width else 1.0)
    scheduler = process.scheduler(ancestral=True, threshold=threshold)
    model = SpaceTimeBackbone(out.name, network, pixels(channels), encoder, scheduler, geometry, defaults)
    save_model(out, model)
    return out


def _encoder(width: int, classes: Path | None, bert: str, pool: str) -> Labels | BertSentence:
    """The text encoder of a network with conditions of `width` numbers. Raises where its vectors have another width."""
    if classes is not None and bert:
        raise AnimaticError(f"classes {classes} and bert {bert!r} are given; a network has one kind of condition")
    if bert:
        encoder, source = read_bert(bert, pool), f"bert {bert!r}"
    elif classes is not None:
        encoder, source = Labels.of_file(classes), str(classes)
    else:
        return Labels((), max(1, width))

    # A BERT or vectors of another width would fail in the first layer that reads them.
    if encoder.width != width:
        expected = width or "no condition"
        raise AnimaticError(f"{source}: vectors of {encoder.width} numbers; this network takes {expected}")
    return encoder
