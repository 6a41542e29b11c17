"""Gradient checkpointing of any network: layers store only their inputs and are computed again during backward.

Chen et al. 2016, https://arxiv.org/abs/1604.06174.

`UNet3DConditionModel` has none of its own. Non-reentrant, so that a forward pass may be cut short inside a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers.models.attention import JointTransformerBlock
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_hunyuan_video15 import HunyuanVideo15TransformerBlock
from diffusers.models.transformers.transformer_ltx import LTXVideoTransformerBlock
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import nn
from torch.utils.checkpoint import checkpoint

UNETS = (ResnetBlock2D, TemporalConvLayer, Transformer2DModel, TransformerTemporalModel)
TRANSFORMERS = (
    CogVideoXBlock,
    WanTransformerBlock,
    LTXVideoTransformerBlock,
    HunyuanVideo15TransformerBlock,
    JointTransformerBlock,  # of Stable Diffusion 3
)
LAYERS = (*UNETS, *TRANSFORMERS)


def add_checkpointing(network: nn.Module) -> int:
    """Wrap every layer of `network`, once; returns how many layers it has. Without gradients nothing changes."""
    layers = [layer for layer in network.modules() if isinstance(layer, LAYERS)]

    # A layer whose forward is replaced already is left alone, so that a second call changes nothing.
    for layer in layers:
        if "forward" not in vars(layer):
            setattr(layer, "forward", partial(_checkpointed, layer.forward))  # noqa: B010 - a method is wrapped
    return len(layers)


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
