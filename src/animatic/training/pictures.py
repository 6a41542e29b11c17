"""Pictures through a video network: every layer over time left out, so that no frame can see another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn


def time_layers(network: nn.Module) -> list[nn.Module]:
    """The layers of a `UNet3DConditionModel` that mix frames; all are residual: leaving one out is the identity.

    Empty for networks that attend to space and time at once: there one frame alone has nothing else to look at.
    """
    return [m for m in network.modules() if isinstance(m, (TemporalConvLayer, TransformerTemporalModel))]


def _same(x: Tensor, **_: object) -> Tensor:
    return x


def _tuple(x: Tensor, **_: object) -> tuple[Tensor]:
    return (x,)


@contextmanager
def without_time(network: nn.Module) -> Iterator[None]:
    layers = time_layers(network)
    for layer in layers:
        alone = _tuple if isinstance(layer, TransformerTemporalModel) else _same
        setattr(layer, "forward", alone)  # noqa: B010 - a method is replaced, which types forbid
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
