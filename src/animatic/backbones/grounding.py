"""GLIGEN's layers in a UNet: between self- and cross-attention, visual tokens attend to boxes with phrases.

Li et al. 2023, https://arxiv.org/abs/2301.07093, https://github.com/gligen/GLIGEN.

`UNet2DConditionModel` has them in diffusers (`attention_type="gated"`). `UNet3DConditionModel` gets them here: a fuser
in every spatial block, none in temporal blocks, under the names that the published adapters use (IGLIGEN).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock, GatedSelfAttentionDense
from diffusers.models.embeddings import GLIGENTextBoundingboxProjection
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

from ..core.types import Conditioning
from ..errors import AnimaticError
from .folder import is_grounding, read_json, read_state


class IdentityFuser(nn.Module):
    """The fuser of a temporal block, which gets the boxes as all blocks do and ignores them."""

    def forward(self, x: Tensor, objs: Tensor) -> Tensor:
        return x


def add_grounding(unet: Any) -> None:
    """Give a `UNet3DConditionModel` its `position_net` and fusers, which are identities until trained or loaded."""
    # Transformers over time get no boxes: those belong to a frame.
    in_time: set[Any] = set()
    for module in unet.modules():
        if isinstance(module, TransformerTemporalModel):
            in_time.update(module.modules())

    # One fuser for each transformer block, as wide as its self-attention.
    width = unet.config.cross_attention_dim
    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock)]
    for block in blocks:
        attn: Any = block.attn1
        fuser = GatedSelfAttentionDense(block.dim, width, attn.heads, block.dim // attn.heads)
        block.fuser = IdentityFuser() if block in in_time else fuser
    unet.position_net = GLIGENTextBoundingboxProjection(positive_len=width, out_dim=width)


def has_grounding(unet: nn.Module) -> bool:
    """Whether a loaded network has grounding layers."""
    return hasattr(unet, "position_net")


def is_gated(folder: Path) -> bool:
    """Whether the network in a folder has grounding layers, by its configuration."""
    config = read_json(folder / "config.json")
    return config.get("attention_type") == "gated" or config.get("use_gated_attention", False)


def load_grounding(unet: Any, folder: Path) -> None:
    """Add grounding layers with the weights in `folder`, which may hold others too. Raises where they do not fit."""
    add_grounding(unet)

    # All of the grounding, and nothing that belongs to it is left over.
    state = read_state(folder)
    expected = {name for name, _ in unet.named_parameters() if is_grounding(name)}
    found = {name for name in state if is_grounding(name)}
    if expected != found:
        odd = sorted(expected ^ found)
        raise AnimaticError(f"{folder}: its grounding does not fit; {len(odd)} weights differ, first {odd[0]}")
    unet.load_state_dict({name: state[name] for name in expected}, strict=False)


def position_net_inputs(cond: Conditioning, frames: int) -> dict[str, Tensor] | None:
    """The inputs of `position_net` for a batch of branches x frames, or None where no boxes are given.

    From `cond.extra`: "boxes" `[branch, frame, object, 4]` xyxy in 0..1, "present" `[branch, frame, object]`, "phrases"
    `[branch, object, channel]`. Frames are those of each branch, from its `first_frame` on.
    """
    if "boxes" not in cond.extra:
        return None
    dtype = cond.text.dtype
    device = cond.text.device

    # Index arrays [branch, frame], and [branch, 1] to go with them.
    numbers = [[branch.first_frame + i for i in range(frames)] for branch in cond.branches]
    frame = torch.tensor(numbers, device=device)
    branch = torch.arange(len(cond.branches), device=device)[:, None]

    # Frames are entries of the network's batch; phrases are the same in all frames of a branch.
    boxes = cond.extra["boxes"][branch, frame].flatten(0, 1)
    present = cond.extra["present"][branch, frame].flatten(0, 1)
    phrases = cond.extra["phrases"][:, None]
    phrases = phrases.expand(-1, frames, -1, -1)
    return {
        "boxes": boxes.to(dtype),
        "masks": present.to(dtype),
        "positive_embeddings": phrases.flatten(0, 1),
    }


@contextmanager
def fusers_on(network: nn.Module) -> Iterator[None]:
    """The fusers of a network switched on meanwhile: GLIGEN's pipeline leaves them off after a part of its steps."""
    fusers: list[Any] = [module for module in network.modules() if isinstance(module, GatedSelfAttentionDense)]
    off = [fuser for fuser in fusers if not fuser.enabled]
    for fuser in off:
        fuser.enabled = True
    try:
        yield
    finally:
        for fuser in off:
            fuser.enabled = False
