"""Whether stages can do their work, found out before it begins: shapes, models and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields

import torch

from ..backbones.load import is_known
from ..backbones.plugged import reader_of
from ..backbones.single_file import single_file
from ..errors import AnimaticError
from ..free_memory import free_memory as free_memory_of_machine
from ..media.frame_buffer import format_bytes
from .model_kind import ModelKind
from .stage import NetworkStage, Shape, Stage, StageContext


@contextmanager
def naming_stage(name: str) -> Iterator[None]:
    """Put the name of a stage before the messages of errors within."""
    try:
        yield
    except AnimaticError as error:
        raise AnimaticError(f"{name}: {error}") from None


def resolved(stages: Sequence[tuple[str, Stage]], source_model: str) -> list[tuple[str, Stage]]:
    """The stages with their models filled in, for a video made by `source_model` ("": unknown)."""
    # Networks of stages depend on what made the video.
    return [(name, stage.resolved(source_model)) for name, stage in stages]


def planned_shapes(shape: Shape, stages: Sequence[tuple[str, Stage]]) -> list[Shape]:
    """The shape after each stage. Raises `AnimaticError` before any work where one of them has no result."""
    shapes = []
    for name, stage in stages:
        # Each stage gets what the one before makes.
        with naming_stage(name):
            shape = stage.output_shape(shape)
        shapes.append(shape)
    return shapes


def check_stages(stages: Sequence[tuple[str, Stage]], shape: Shape, source_model: str) -> None:
    """Raise, before a video is made, where stages could not finish it: one of this shape, by `source_model`.

    Networks are located and not loaded, so that the memory they need is not checked.
    """
    # Shapes first: they cost nothing; then whether each model is there.
    named = resolved(stages, source_model)
    before = shape
    for (name, stage), after in zip(named, planned_shapes(shape, named), strict=True):
        if isinstance(stage, NetworkStage):
            with naming_stage(name):
                # what other models can do is known once they are loaded
                if not single_file(stage.model) and not reader_of(stage.model, is_known):
                    stage.check_model(ModelKind.named(stage.model))
        else:
            check_memory(name, stage, before, StageContext(), free_memory_of_machine())
        before = after


def check_plan(
    shape: Shape, stages: Sequence[tuple[str, Stage]], context: StageContext, memory: int = 0, loaded: bool = False
) -> None:
    """Raise before the work where any stage has no result, or needs more memory than there is.

    `shape` is that of the video, whose frames need not be decoded yet; `loaded`: they are, so that their memory is no
    longer free. `memory` is the limit in bytes; 0: what is free.
    """
    before = shape
    shapes = planned_shapes(shape, stages)
    for i, ((name, stage), after) in enumerate(zip(stages, shapes, strict=True)):
        # On a GPU the stage asks what is free there.
        limit = memory
        if not memory and not on_gpu(stage, context.device):
            # The input of the first stage is counted by the stage itself; later ones hold it in addition.
            already_held = shape.bytes if loaded else 0
            held_besides = shape.bytes if i else 0
            limit = max(1, free_memory_of_machine() + already_held - held_besides)
        check_memory(name, stage, before, context, limit)
        before = after


def check_memory(name: str, stage: Stage, shape: Shape, context: StageContext, memory: int = 0) -> None:
    """Raise before the work where a stage needs more than `memory` bytes, naming settings that would fit."""
    free = memory or free_memory(context.device)
    needed = stage.memory(shape, context)
    if needed <= free:
        return

    # The first setting that fits, if any does.
    other: Stage | None = stage
    while other is not None and other.memory(shape, context) > free:
        other = other.with_less_memory()
    hint = "no setting would fit: want a smaller target"
    if other is not None:
        options = []
        for field in fields(other):
            value = getattr(other, field.name)
            if value != getattr(stage, field.name):
                options.append(f"{field.name}={value}")
        hint = f"{name}:{':'.join(options)} would fit"

    # What was asked for, what it takes, and what would fit.
    out = stage.output_shape(shape)
    size = f"{out.frames} frames of {out.width} x {out.height}"
    raise AnimaticError(f"{name} to {size} needs about {format_bytes(needed)}, {format_bytes(free)} are free; {hint}")


def on_gpu(stage: Stage, device: str) -> bool:
    """Whether the stage computes in the memory of a graphics card."""
    return isinstance(stage, NetworkStage) and _is_gpu(device)


def free_memory(device: str = "") -> int:
    """Free bytes of the device; "" is a GPU if there is one."""
    if _is_gpu(device):
        return torch.cuda.mem_get_info()[0]
    return free_memory_of_machine()


def _is_gpu(device: str) -> bool:
    return device.startswith("cuda") or (not device and torch.cuda.is_available())
