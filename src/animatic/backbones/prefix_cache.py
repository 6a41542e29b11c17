"""A chain of layers begun in the middle: what rows had become there is kept, and taken up again by later calls.

Only for networks whose layers are a chain, each fed by the one before alone (diffusion transformers, not UNets).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]  # what a layer gives on, of one row


@contextmanager
def record(layer: nn.Module, keep: Callable[[int, State], None], count: int) -> Iterator[None]:
    """Hand over what `layer` gives on, row by row, of a batch of `count` rows."""

    def note(module: nn.Module, told: Any, out: Any) -> None:
        parts = out if isinstance(out, tuple) else (out,)
        assert all(len(part) == count for part in parts), "a layer's rows are not the batch's"
        for row in range(count):
            keep(row, tuple(part[row] for part in parts))

    handle = layer.register_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replay(layers: Sequence[nn.Module], states: Sequence[State]) -> Iterator[None]:
    """Pass `layers` over: each gives on what the rows had become after the last of them."""
    parts = tuple(torch.stack(rows) for rows in zip(*states, strict=True))
    out = parts if len(parts) > 1 else next(iter(parts))
    own = [layer.forward for layer in layers]
    try:
        for layer in layers:
            layer.forward = lambda *_, **__: out
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            layer.forward = forward
