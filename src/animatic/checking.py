"""What can never be done, found before any work: a queue or a run of many jobs asks once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .backbones.components import Components
from .binding import BoundRequest, bind
from .core.backbone import Backbone
from .core.control import Control
from .core.types import AttentionMapRequest
from .errors import AnimaticError
from .methods import MethodLike
from .request import GenerationRequest


def check(request: GenerationRequest, backbone: Backbone, method: MethodLike | None = None) -> list[str]:
    """What will be without effect, a line each. Raises `AnimaticError` where a request can never be answered.

    For queues and runs of many jobs, which ask once before the first: found are also methods that read attention layers
    which the model does not have, and settings that only fail in a run.
    """
    bound = bind(request, backbone, method)
    (shown,) = bound.shown([request.story])
    controls = bound.controls([shown])
    _check_layers(bound, controls)
    return bound.notes(shown, controls)


def _check_layers(bound: BoundRequest, controls: Sequence[Control]) -> None:
    """Raise where a control reads text attention by names of layers that the network does not have."""
    backbone: Any = bound.backbone
    if not isinstance(backbone, Components):
        return
    reading = [control for control in controls if "text maps" in control.needs]
    for owner in (part for control in reading for part in (control, getattr(control, "energy", None))):
        layers: tuple[str, ...] = getattr(owner, "layers", ())
        if not layers:
            continue
        try:
            backbone.hooks.requested_layers(AttentionMapRequest(torch.zeros(1, 1, dtype=torch.long), layers))
        except AnimaticError:
            names = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
            reason = f"method {bound.method.name!r} reads attention layers that {backbone.name} does not have ({names})"
            raise AnimaticError(f"{reason}; want a method that reads all layers, such as lvd") from None
