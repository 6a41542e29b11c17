"""Stages by name, and a video through several of them: what stands already is taken up, what cannot fit is refused."""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from ..backbones.load import locate
from ..errors import AnimaticError
from ..video import Video
from .classical import Blend, Lanczos, Motion
from .extend import Extend
from .interpolate import Interpolate
from .refine import Refine
from .stage import Networked, Say, Shape, Stage
from .upscale import Upscale

STAGES: dict[str, type[Stage]] = {
    "interpolate": Interpolate,
    "upscale": Upscale,
    "refine": Refine,
    "extend": Extend,
    "blend": Blend,
    "motion": Motion,
    "lanczos": Lanczos,
}
FIRST = {"refine": "strength", "extend": "clips"}  # what the bare number after a name is, where it is not the factor
DRIFT = 2.0  # levels of a colour's mean that a stage may move it without a word


def stages_of(told: str) -> list[tuple[str, Stage]]:
    """ "interpolate:4,upscale:2:model=lavie-vsr" as names and stages."""
    return [_stage(part.strip()) for part in told.split(",")]


def _stage(told: str) -> tuple[str, Stage]:
    name, *options = told.split(":")
    if name not in STAGES:
        raise AnimaticError(f"unknown stage {name!r}; known: {', '.join(STAGES)}")
    known = typing.get_type_hints(STAGES[name])
    known = {f.name: known[f.name] for f in fields(STAGES[name])}
    values: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        key, value = (key, value) if equals else (FIRST.get(name, "factor"), key)
        if key not in known:
            raise AnimaticError(f"{told}: unknown option {key!r}; {name} takes {', '.join(known)}")
        values[key] = _value(told, key, value, known[key])
    return name, STAGES[name](**values)


def _value(told: str, key: str, value: str, kind: type) -> Any:
    if kind is bool:
        if value.lower() not in ("yes", "no", "true", "false"):
            raise AnimaticError(f"{told}: {key} is {value!r}; want yes or no")
        return value.lower() in ("yes", "true")
    try:
        return kind(value)
    except ValueError:
        raise AnimaticError(f"{told}: {key} is {value!r}; want a number") from None


def planned(shape: Shape, stages: Sequence[tuple[str, Stage]]) -> list[Shape]:
    """The shape after each stage. Raises before any work where one of them has nothing to do."""
    shapes = []
    for name, stage in stages:
        try:
            shape = stage.after(shape)
        except AnimaticError as error:
            raise AnimaticError(f"{name}: {error}") from None
        shapes.append(shape)
    return shapes


def ready(stages: Sequence[tuple[str, Stage]], shape: Shape, maker: str) -> None:
    """Raise before a video is made where stages could not go on from it: of this shape, by that model.

    Networks are looked for and not loaded, so that memory is not looked at.
    """
    planned(shape, stages)
    for name, stage in stages:
        if not isinstance(stage, Networked):
            continue
        try:
            locate(stage.chosen(Say(maker=maker)))
        except AnimaticError as error:
            raise AnimaticError(f"{name}: {error}") from None


def finish(
    video: Video,
    stages: Sequence[tuple[str, Stage]],
    say: Say,
    keep: Path | None = None,
    memory: int = 0,
    watch: Callable[[str], None] = lambda line: None,
) -> Video:
    """`video` through `stages`. With `keep` each result is kept as KEEP.1-NAME.mkv, nothing lost, and taken up again.

    `memory` is the most bytes a stage may need; 0: what is free. `watch` is told one line a stage.
    """
    shape = Shape.of(video)
    for (name, stage), out in zip(stages, planned(shape, stages), strict=True):
        check_memory(name, stage, shape, say, memory)
        shape = out
    key = _key(video, say)
    for i, (name, stage) in enumerate(stages, 1):
        key = hashlib.sha256(f"{key}/{stage!r}".encode()).hexdigest()
        file = keep and keep.with_name(f"{keep.name}.{i}-{name}.mkv")
        if file and (made := _kept(file, key)) is not None:
            watch(f"{name}: taken up from {file}")
            video = made
            continue
        made = stage(video, say)
        moved = drift(video, made)
        done = [*video.info.get("stages", []), repr(stage)]
        info = {**video.info, "prompt": say.prompt, "stages": done, "key": key, "drift": round(moved, 2)}
        size = f"{len(made)} frames, {made.frames.shape[2]} x {made.frames.shape[1]}, {made.fps:g} fps"
        watch(f"{name}: {size}" + (f"; colours moved by {moved:.1f} of 255 levels" if moved > DRIFT else ""))
        video = Video(made.frames, made.fps, info)
        if file:
            video.save(file, scale=1)
    return video


def check_memory(name: str, stage: Stage, shape: Shape, say: Say, memory: int = 0) -> None:
    """Raise before the work where a stage needs more than there is, naming settings that would fit."""
    free = memory or free_memory(say.device)
    needs = stage.memory(shape, say)
    if needs <= free:
        return
    other: Stage | None = stage
    while other is not None and other.memory(shape, say) > free:
        other = other.smaller()
    hint = "no setting would fit: want a smaller target"
    if other is not None:
        changed = [f.name for f in fields(other) if getattr(other, f.name) != getattr(stage, f.name)]
        hint = f"{name}:{':'.join(f'{c}={getattr(other, c)}' for c in changed)} would fit"
    out = stage.after(shape)
    size = f"{out.frames} frames of {out.width} x {out.height}"
    raise AnimaticError(f"{name} to {size} needs about {_told(needs)}, {_told(free)} are free; {hint}")


def free_memory(device: str = "") -> int:
    if device.startswith("cuda") or (not device and torch.cuda.is_available()):
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available


def _told(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**28 else f"{count / 2**20:.1f} MB"


def drift(before: Video, after: Video) -> float:
    """How far the mean of any colour moved, in levels, at the start, the middle or the end of the clip."""
    means = [[v.frames[int(at * (len(v) - 1) + 0.5)].mean((0, 1)) for at in (0.0, 0.5, 1.0)] for v in (before, after)]
    return float(np.abs(np.array(means[0]) - np.array(means[1])).max())


def _key(video: Video, say: Say) -> str:
    """What a result depends on besides its stages."""
    told = json.dumps([say.prompt, say.negative, say.seed, say.maker, video.fps, video.frames.shape])
    return hashlib.sha256(told.encode() + video.frames.tobytes()).hexdigest()


def _kept(file: Path, key: str) -> Video | None:
    """What was made before in the same way; None where it was another."""
    if not file.exists():
        return None
    try:
        video = Video.load(file)
    except AnimaticError:  # damaged: made again
        return None
    return video if video.info.get("key") == key else None


def said(video: Video, prompt: str, seed: int, **more: Any) -> Say:
    """What stages are told of a file: its own prompt and maker, its model's family first, unless something is said."""
    maker = str(video.info.get("family") or video.info.get("model", ""))
    return Say(prompt=prompt or str(video.info.get("prompt", "")), seed=seed, maker=maker, **more)
