"""Models of other packages: entry points in the group `animatic.backbones`.

The name of an entry point is that of a model (`--model NAME`), or of the class of network that `model_index.json` names
in the folders that it reads (`--model FOLDER`). It names a function of the name or folder and `MemoryOptions` that
returns a `Backbone`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from ..core.backbone import Backbone, MemoryOptions
from ..errors import AnimaticError
from ..plugins import called, installed
from .components import Components
from .folder import class_in, read_json
from .memory import apply_memory_options

GROUP = "animatic.backbones"  # of entry points


def reader_of(name: str, known: Callable[[str], bool]) -> str:
    """The entry point that loads the model or folder `name`; "" where it is `known` here, or none does."""
    points = installed(GROUP)
    if not points or known(name):
        return ""
    if name in points:
        return name

    # a folder, by the class of its network
    index = Path(name) / "model_index.json"
    if not os.path.isfile(index):
        return ""
    read = read_json(index)
    kind = class_in(read, "transformer" if "transformer" in read else "unet") or ""
    return "" if known(kind) or kind not in points else kind


def load_plugged(
    point: str, name: str, device: str, memory: MemoryOptions, adapt: Callable[[Components], object] | None
) -> Backbone:
    """The model of an entry point, frozen, on `device`, with memory options. `adapt` may change its weights.

    Raises `AnimaticError` where it is no model, or no model of components and weights were to be changed.
    """
    model = called(GROUP, point, name, memory)
    if not isinstance(model, Backbone):
        raise AnimaticError(f"model {name!r}: entry point {point!r} made a {type(model).__name__}; want a Backbone")
    model.reference = str(Path(name).resolve()) if os.path.isdir(name) else name
    model.memory = memory
    if isinstance(model, Components):
        model.freeze()
        if adapt is not None:
            adapt(model)
        return apply_memory_options(model, memory, torch.device(device))

    # what is done to the parts of other models is theirs to do
    if adapt is not None or memory != MemoryOptions():
        what = "LoRAs and embeddings" if adapt is not None else "options to save memory"
        raise AnimaticError(f"model {name!r} has no components of diffusers, and takes no {what}; want it without")
    return model
