"""Prefix activation cache: outputs of an inner layer are recorded, and later calls skip the layers up to it.

Only for networks whose layers form a chain, each reading the output of the one before and nothing else (diffusion
transformers, not UNets).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]  # the outputs of a layer for one branch


@contextmanager
def record(layer: nn.Module, keep: Callable[[int, State], None], count: int) -> Iterator[None]:
    """Call `keep(i, outputs)` with the outputs of `layer` for each branch i of a batch of `count`."""

    def hook(module: nn.Module, inputs: Any, out: Any) -> None:
        outputs = out if isinstance(out, tuple) else (out,)
        assert all(len(output) == count for output in outputs), "the batch of a layer is not that of the network"
        for i in range(count):
            keep(i, tuple(output[i] for output in outputs))

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replay(layers: Sequence[nn.Module], states: Sequence[State]) -> Iterator[None]:
    """Skip `layers`: each returns what was recorded of the last of them, `states` by branch."""
    # Every skipped layer returns the output of the last: the others' outputs are read by none.
    outputs = [torch.stack(branches) for branches in zip(*states, strict=True)]
    out: Any = tuple(outputs) if len(outputs) > 1 else outputs[0]
    forwards = [layer.forward for layer in layers]
    try:
        for layer in layers:
            layer.forward = lambda *_, **__: out
        yield
    finally:
        for layer, forward in zip(layers, forwards, strict=True):
            layer.forward = forward
