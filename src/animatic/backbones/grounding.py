"""GLIGEN's layers in a UNet (Li et al. 2023): between self- and cross-attention, pixels look at boxes with names.

`UNet2DConditionModel` has them in stock (`attention_type="gated"`). `UNet3DConditionModel` gets them here: a fuser in
every space block, none in the time blocks, under the names that the published adapters use (IGLIGEN).
"""

from __future__ import annotations

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
    """The fuser of a time block: it is handed the boxes as all blocks are, and lets them pass."""

    def forward(self, x: Tensor, objs: Tensor) -> Tensor:
        return x


def add_grounding(unet: Any) -> None:
    """Give a `UNet3DConditionModel` its `position_net` and fusers, which are identities until trained or loaded."""
    width = unet.config.cross_attention_dim
    in_time = {m for t in unet.modules() if isinstance(t, TransformerTemporalModel) for m in t.modules()}
    for block in [m for m in unet.modules() if isinstance(m, BasicTransformerBlock)]:
        attn: Any = block.attn1
        fuser = GatedSelfAttentionDense(block.dim, width, attn.heads, block.dim // attn.heads)
        block.fuser = IdentityFuser() if block in in_time else fuser
    unet.position_net = GLIGENTextBoundingboxProjection(positive_len=width, out_dim=width)


def has_grounding(unet: nn.Module) -> bool:
    return hasattr(unet, "position_net")


def is_gated(folder: Path) -> bool:
    """Whether the network in a folder has grounding of its own, as its config says."""
    config = read_json(folder / "config.json")
    return config.get("attention_type") == "gated" or config.get("use_gated_attention", False)


def load_grounding(unet: Any, folder: Path) -> None:
    """Add grounding with the weights in `folder`, which may hold others too."""
    add_grounding(unet)
    state = read_state(folder)
    wanted, found = ({n for n in names if is_grounding(n)} for names in (dict(unet.named_parameters()), state))
    if wanted != found:
        odd = sorted(wanted ^ found)
        raise AnimaticError(f"{folder}: its grounding does not fit; {len(odd)} weights differ, first {odd[0]}")
    unet.load_state_dict({name: state[name] for name in wanted}, strict=False)


def position_net_inputs(cond: Conditioning, frames: int) -> dict[str, Tensor] | None:
    """What `position_net` is given for a batch of rows x frames, or None where the model is told of no boxes.

    From `cond.extra`: "boxes" `[row, frame, object, 4]` xyxy in 0..1, "present" `[row, frame, object]`, "phrases"
    `[row, object, channel]`.
    """
    if "boxes" not in cond.extra:
        return None
    at = torch.tensor([[row.first_frame + i for i in range(frames)] for row in cond.branches], device=cond.text.device)
    each = torch.arange(len(cond.branches), device=at.device)[:, None]
    boxes, present = cond.extra["boxes"][each, at], cond.extra["present"][each, at]
    phrases = cond.extra["phrases"][:, None].expand(-1, frames, -1, -1)
    return {
        "boxes": boxes.flatten(0, 1).to(cond.text.dtype),
        "masks": present.flatten(0, 1).to(cond.text.dtype),
        "positive_embeddings": phrases.flatten(0, 1),
    }
