"""Checkpoints of others made ours: video-diffusion-pytorch's `Unet3D`."""

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
from .small_model import Labels, Small, pixels, save_model

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
    if level := re.match(r"(down|up)s\.(\d+)\.(\d)\.", name):
        way, index, part = level.groups()
        rest = name[level.end() :]
        name = f"{'shrink' if way == 'down' else 'grow'}.{index}.{rest}" if part == "4" else ""
        name = name or f"{way}.{index}.{_LEVEL[part]}.{rest}"
    for old, new in _TOP.items():
        name = re.sub(rf"^{re.escape(old)}(?=\.|$)", new, name)
    name = re.sub(r"\.(fn\.)+", ".", name)
    for old, new in {**_RESNET, "norm.gamma": "norm.weight", "to_qkv": "qkv", "to_out": "out"}.items():
        name = re.sub(rf"\.{re.escape(old)}(?=\.|$)", f".{new}", name)
    return name


def from_vdp(state: Mapping[str, Tensor]) -> SpaceTimeUNet:
    """The network of a `Unet3D`, its sizes read from the shapes of its weights.

    Raises `AnimaticError` where a tensor is missing, unknown or of another shape (before 0.7.0 it was another network).
    """
    weights = {renamed(k): v for k, v in state.items() if not k.endswith("rotary_emb.freqs")}
    network = SpaceTimeUNet(**_sizes(weights))
    wanted = network.state_dict()
    for name in wanted.keys() & weights.keys():
        if weights[name].numel() == wanted[name].numel():
            weights[name] = weights[name].reshape(wanted[name].shape)
    check_state(weights, wanted, f"the weights of {THEIRS}")
    network.load_state_dict(weights)
    return network.eval()


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    try:
        dim, channels, kernel = (weights["conv_in.weight"].shape[axis] for axis in (0, 1, -1))
        widths = [weights[f"down.{i}.resnets.0.conv1.weight"].shape[0] for i in range(_count(weights))]
        heads = weights["positions.table.weight"].shape[1]
        return {
            "dim": dim,
            "first_kernel": kernel,
            "multiples": [w // dim for w in widths],
            "in_channels": channels,
            "out_channels": weights["conv_out.weight"].shape[0],
            "cond_dim": weights["null"].shape[1] if "null" in weights else 0,
            "design": "original",
            "heads": heads,
            "head_dim": weights["time_in.out.weight"].shape[1] // heads,
            "linear_attention": "down.0.space.qkv.weight" in weights,
        }
    except (KeyError, ValueError, IndexError) as error:
        raise AnimaticError(f"not the shapes of a network ({error}); want {THEIRS}") from None


def _count(weights: Mapping[str, Tensor]) -> int:
    return 1 + max((int(m[1]) for k in weights if (m := re.match(r"down\.(\d+)\.", k))), default=-1)


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
    """Write the model folder of a checkpoint: of the Trainer (its averaged weights), the diffusion or the network.

    `size` in pixels and `frames` are what GaussianDiffusion was told. What it is conditioned on: `classes` names
    vectors (JSON: name -> list of numbers), or `bert` is the folder or hub id of the BERT whose `pool`ed states they
    were (see `read_bert`). `threshold` 1 clips each clean estimate to -1..1, as the original samples; below 1 it is the
    percentile of its dynamic thresholding (see `Process.scheduler`).
    """
    if not 0 < threshold <= 1:
        raise AnimaticError(f"threshold is {threshold:g}; want 1 to clip, or a percentile above 0 and below 1")
    state = read_checkpoint(checkpoint)
    state = state.get("ema", state.get("model", state))  # averaged weights, which its Trainer samples with
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise AnimaticError(f"{checkpoint}: holds no names with tensors; want {THEIRS}")
    inner = {k.removeprefix("denoise_fn."): v for k, v in state.items() if k.startswith("denoise_fn.")}
    network = from_vdp(inner or state)
    channels = network.config["in_channels"]
    if channels not in (1, 3) or network.config["out_channels"] != channels:
        raise AnimaticError(f"{checkpoint}: {channels} channels in, {network.config['out_channels']} out; want 3, or 1")
    if size % network.stride:
        raise AnimaticError(f"size is {size}; this network takes multiples of {network.stride}")

    width = network.config["cond_dim"]
    words: Any = _words(width, classes, bert, pool)  # stands where a text encoder stands
    geometry = Geometry(frames, size, size, channels=channels, vae_spatial_ratio=1)
    process = Process("eps", levels=len(state["betas"]) if "betas" in state else 1000)  # its `timesteps`
    habits = ModelDefaults(process.levels, 2.0 if width else 1.0)
    scheduler = process.scheduler(ancestral=True, threshold=threshold)
    save_model(out, Small(out.name, network, pixels(channels), words, scheduler, geometry, habits))
    return out


def _words(width: int, classes: Path | None, bert: str, pool: str) -> Labels | BertSentence:
    """What tells a network conditions of `width` numbers. Raises `AnimaticError` where they have another width."""
    if classes is not None and bert:
        raise AnimaticError(f"classes {classes} and bert {bert!r} are given; a network has one kind of condition")
    if bert:
        words, whose = read_bert(bert, pool), f"bert {bert!r}"
        own = words.width
    elif classes is not None:
        words, whose = Labels.of_file(classes), str(classes)
        own = words.width
    else:
        return Labels((), max(1, width))
    if own != width:
        raise AnimaticError(f"{whose}: vectors of {own} numbers; this network takes {width or 'no condition'}")
    return words
