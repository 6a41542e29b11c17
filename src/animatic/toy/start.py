"""The model that a training of `mini` begins with: untrained, with what a trained model knows, or that model itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import CLIPTextModel

from ..backbones import load
from ..backbones.codec import PatchCodec
from ..backbones.components import Components
from .mini import build, disable_dropout

INSIDE = ("down_blocks", "mid_block", "up_blocks", "position_net")  # the parts of a network that have levels


def start(codec: PatchCodec, inner: str = "", seed: int = 0) -> Components:
    """A model ready to train, on the latents of `codec`; it reads boxes.

    `inner` is a trained model, "" is none. One with the same network is continued as it is, with its codec. Of another
    one the words and the inner levels are taken.
    """
    fresh = build(codec, seed)
    if not inner:
        return fresh

    trained = load(inner, "cpu")
    if same_shapes(trained.unet, fresh.unet):
        disable_dropout(trained.unet)
        trained.unet.requires_grad_(True)
        trained.text.requires_grad_(True)
        return trained
    copy_inner_levels(trained.unet, fresh.unet)
    copy_words(trained.text, fresh.text)
    return fresh


def same_shapes(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same weights by name and shape."""
    shapes = {name: weight.shape for name, weight in one.state_dict().items()}
    return shapes == {name: weight.shape for name, weight in other.state_dict().items()}


def copy_inner_levels(trained: nn.Module, network: nn.Module) -> None:
    """Copy the weights that fit of all levels of a network to the inner levels of another one.

    The embeddings of timesteps and cells stay as they are: to a new outermost level they mean something else.
    """
    fitting = network.state_dict()
    offset = len(network.down_blocks) - len(trained.down_blocks)  # pyright: ignore[reportArgumentType]
    for name, weight in trained.state_dict().items():
        part, *rest = name.split(".")
        if part not in INSIDE or "time_emb_proj" in name:
            continue
        if part == "down_blocks":
            # Blocks are counted from outside on the way down, from inside on the way up.
            rest[0] = str(int(rest[0]) + offset)
        target = ".".join((part, *rest))
        if target in fitting and fitting[target].shape == weight.shape:
            fitting[target] = weight
    network.load_state_dict(fitting)


def copy_words(trained: Any, fresh: Any) -> None:
    """Copy a text encoder to another one of its size, whose tokenizer knows other words; tokens of both are kept."""
    source: CLIPTextModel = trained.encoder
    target: CLIPTextModel = fresh.encoder
    weights = source.state_dict()
    copied = target.state_dict()
    for name, weight in weights.items():
        if copied[name].shape == weight.shape:
            copied[name] = weight

    # Rows of the embedding by token.
    (table,) = [name for name in weights if name.endswith("token_embedding.weight")]
    rows = source.state_dict()[table]
    embedding: torch.Tensor = target.state_dict()[table].clone()
    known = trained.tokenizer.get_vocab()
    for token, row in fresh.tokenizer.get_vocab().items():
        if token in known:
            embedding[row] = rows[known[token]]
    copied[table] = embedding
    target.load_state_dict(copied)
