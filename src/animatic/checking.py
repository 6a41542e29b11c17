"""What a method can never do on a model, found before any work: a queue or a run of many jobs asks once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .backbones.components import Components
from .core.control import Control
from .core.types import AttentionMapRequest
from .errors import AnimaticError
from .generation import Take
from .scene import Scene
from .timeline import Timeline


def checked(take: Take, shown: Scene | Timeline) -> list[Control]:
    """The controls of a take for a scene, or for a story in windows.

    Raises `AnimaticError` where the method lays out single scenes and a story is given, where the model lacks what a
    control needs, or where it has none of the attention layers that a control reads.
    """
    controls = take.windowed([shown]) if isinstance(shown, Timeline) else take.controls([shown])
    _check_layers(take, controls)
    return controls


def _check_layers(take: Take, controls: Sequence[Control]) -> None:
    """Raise where a control reads text attention by names of layers that the network does not have."""
    backbone: Any = take.backbone
    if not isinstance(backbone, Components):
        return
    reading = [control for control in controls if "text maps" in control.needs]
    for owner in (part for control in reading for part in (control, getattr(control, "energy", None))):
        sites: tuple[str, ...] = getattr(owner, "layers", ())
        if not sites:
            continue
        try:
            backbone.hooks.requested_layers(AttentionMapRequest(torch.zeros(1, 1, dtype=torch.long), sites))
        except AnimaticError:
            layers = sites[0] if len(sites) == 1 else f"{sites[0]} and {len(sites) - 1} more"
            reason = f"method {take.method.name!r} reads attention layers that {backbone.name} does not have ({layers})"
            raise AnimaticError(f"{reason}; want a method that reads all layers, such as lvd") from None
