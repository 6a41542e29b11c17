"""Single frames through a video network, without its temporal layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn


def _identity(x: Tensor, **_: object) -> Tensor:
    return x


def _identity_in_tuple(x: Tensor, **_: object) -> tuple[Tensor]:
    return (x,)


@contextmanager
def without_temporal_layers(network: nn.Module) -> Iterator[None]:
    """Within this context the temporal layers of a `UNet3DConditionModel` are identities: all of them are residual.

    Other networks are left unchanged: those with joint attention over space and time need no change for a single frame.
    """
    layers = [m for m in network.modules() if isinstance(m, (TemporalConvLayer, TransformerTemporalModel))]
    for layer in layers:
        is_transformer = isinstance(layer, TransformerTemporalModel)
        identity = _identity_in_tuple if is_transformer else _identity
        setattr(layer, "forward", identity)  # noqa: B010 - type checkers forbid to replace a method
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
