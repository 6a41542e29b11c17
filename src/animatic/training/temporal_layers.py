"""Pictures through a video network: every layer over time left out, so that no frame can see another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn


def _same(x: Tensor, **_: object) -> Tensor:
    return x


def _tuple(x: Tensor, **_: object) -> tuple[Tensor]:
    return (x,)


@contextmanager
def without_temporal_layers(network: nn.Module) -> Iterator[None]:
    """The layers of a `UNet3DConditionModel` that mix frames left out: all are residual, so that is the identity.

    Other networks stay as they are: those that attend to space and time at once see one frame alone anyway.
    """
    layers = [m for m in network.modules() if isinstance(m, (TemporalConvLayer, TransformerTemporalModel))]
    for layer in layers:
        alone = _tuple if isinstance(layer, TransformerTemporalModel) else _same
        setattr(layer, "forward", alone)  # noqa: B010 - a method is replaced, which types forbid
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
