"""Stages by name, and a video through several of them: what stands already is taken up, what cannot fit is refused."""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from ..backbones.locating import locate
from ..errors import AnimaticError
from ..files import fresh_path
from ..media.frame_buffer import Probe, format_bytes
from ..media.reading import probe
from ..video import Video
from .classical import Blend, Lanczos, Motion
from .extend import Extend
from .interpolate import Interpolate
from .recipes import RECIPES
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
    """ "interpolate:4,upscale:2:model=lavie-vsr" as names and stages; the name of a recipe stands for its stages."""
    parts = [part.strip() for part in told.split(",")]
    return [_stage(stage) for part in parts for stage in RECIPES.get(part, (part,))]


def _stage(told: str) -> tuple[str, Stage]:
    name, *options = told.split(":")
    if name not in STAGES:
        raise AnimaticError(f"unknown stage {name!r}; known: {', '.join([*STAGES, *RECIPES])}")
    known = typing.get_type_hints(STAGES[name])
    known = {f.name: known[f.name] for f in fields(STAGES[name])}
    values: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        key, value = (key, value) if equals else (FIRST.get(name, "factor"), key)
        if key not in known:
            raise AnimaticError(f"{told}: unknown option {key!r}; {name} takes {', '.join(known)}")
        if key in values:
            raise AnimaticError(f"{told}: {key} is given twice; want one of them")
        values[key] = _value(told, key, value, known[key])
    with _named(told):
        return name, STAGES[name](**values)


def _value(told: str, key: str, value: str, kind: Any) -> Any:
    kind = next((part for part in typing.get_args(kind) if part is not type(None)), kind)  # int of int | None
    if kind is bool:
        if value.lower() not in ("yes", "no", "true", "false"):
            raise AnimaticError(f"{told}: {key} is {value!r}; want yes or no")
        return value.lower() in ("yes", "true")
    try:
        number = kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise AnimaticError(f"{told}: {key} is {value!r}; want {wanted}") from None
    if kind is float and not isfinite(number):
        raise AnimaticError(f"{told}: {key} is {value!r}; want a finite number")
    return number


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What goes wrong within is said of this stage."""
    try:
        yield
    except AnimaticError as error:
        raise AnimaticError(f"{name}: {error}") from None


def planned(shape: Shape, stages: Sequence[tuple[str, Stage]]) -> list[Shape]:
    """The shape after each stage. Raises before any work where one of them has nothing to do."""
    shapes = []
    for name, stage in stages:
        with _named(name):
            shape = stage.after(shape)
        shapes.append(shape)
    return shapes


def ready(stages: Sequence[tuple[str, Stage]], shape: Shape, maker: str) -> None:
    """Raise before a video is made where stages could not go on from it: of this shape, by `maker` (see `maker_of`).

    Networks are looked for and not loaded, so that the memory they need is not looked at.
    """
    named = resolved(stages, maker)
    before = shape
    for (name, stage), after in zip(named, planned(shape, named), strict=True):
        if isinstance(stage, Networked):
            with _named(name):
                locate(stage.model)
        else:
            check_memory(name, stage, before, Say(), psutil.virtual_memory().available)
        before = after


def finish(
    video: Video,
    stages: Sequence[tuple[str, Stage]],
    say: Say,
    keep: Path | None = None,
    memory: int = 0,
    watch: Callable[[str], None] = lambda line: None,
) -> Video:
    """`video` through `stages`. With `keep` each result is kept as KEEP.1-NAME.mkv, nothing lost, and taken up again.

    `memory` is the most bytes a stage may need; 0: what is free. `watch` is told one line a stage. The sound goes along
    where the frames stay at their times.
    """
    stages = resolved(stages, say.maker)
    check_plan(Shape.of(video), stages, say, memory, loaded=True)
    key = _key(video, say)
    for i, (name, stage) in enumerate(stages, 1):
        if video.sound and not stage.keeps_time(Shape.of(video)):
            watch(f"{name}: the sound is left out, for the frames are no longer at their times")
            video = replace(video, sound=None)

        # What was made before in the same way.
        key = hashlib.sha256(f"{key}/{stage!r}".encode()).hexdigest()
        file = keep and fresh_path(keep.with_name(f"{keep.name}.{i}-{name}.mkv"), partial(same_result, key=key))
        if file and (made := _kept(file, watch)) is not None:
            watch(f"{name}: taken up from {file}")
            video = made
            continue

        with _named(name):
            made = stage(video, say)
        moved = drift(video, made)
        done = [*video.info.get("stages", []), repr(stage)]
        known = {name: value for name, value in video.info.items() if name != "damage"}
        info = {
            **known,
            "prompt": say.prompt,
            "stages": done,
            "key": key,
            "drift": round(moved, 2),
        }
        size = f"{len(made)} frames, {made.frames.shape[2]} x {made.frames.shape[1]}, {made.fps:g} fps"
        watch(f"{name}: {size}" + (f"; colours moved by {moved:.1f} of 255 levels" if moved > DRIFT else ""))
        video = Video(made.frames, made.fps, info, video.sound)
        if file:
            video.save(file, scale=1)
    return video


def resolved(stages: Sequence[tuple[str, Stage]], maker: str) -> list[tuple[str, Stage]]:
    """The stages with their models written in, for a video that the model `maker` made ("": nobody knows)."""
    return [(name, stage.resolved(maker)) for name, stage in stages]


def check_plan(
    shape: Shape, stages: Sequence[tuple[str, Stage]], say: Say, memory: int = 0, loaded: bool = False
) -> None:
    """Raise before the work where any stage has nothing to do, or needs more memory than there is.

    `shape` is the video's, of which nothing needs to be decoded yet; `loaded`: it is, so what it takes is not free.
    """
    before = shape
    for i, ((name, stage), after) in enumerate(zip(stages, planned(shape, stages), strict=True)):
        room = memory
        if not memory and not on_gpu(stage, say.device):
            held = (shape.bytes if loaded else 0) - (shape.bytes if i else 0)  # later stages hold the source, too
            room = max(1, psutil.virtual_memory().available + held)
        check_memory(name, stage, before, say, room)
        before = after


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
    raise AnimaticError(f"{name} to {size} needs about {format_bytes(needs)}, {format_bytes(free)} are free; {hint}")


def on_gpu(stage: Stage, device: str) -> bool:
    """Whether the stage works in a graphics card's memory."""
    return isinstance(stage, Networked) and (device.startswith("cuda") or (not device and torch.cuda.is_available()))


def free_memory(device: str = "") -> int:
    if device.startswith("cuda") or (not device and torch.cuda.is_available()):
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available


def drift(before: Video, after: Video) -> float:
    """How far the mean of any colour moved, in levels, at the start, the middle or the end of the clip."""
    means = [[v.frames[int(at * (len(v) - 1) + 0.5)].mean((0, 1)) for at in (0.0, 0.5, 1.0)] for v in (before, after)]
    return float(np.abs(np.array(means[0]) - np.array(means[1])).max())


def _key(video: Video, say: Say) -> str:
    """What a result depends on besides its stages."""
    settings = json.dumps([say.prompt, say.negative, say.instead, say.seed, say.maker, video.fps, video.frames.shape])
    digest = hashlib.sha256(settings.encode())
    digest.update(np.ascontiguousarray(video.frames).data)
    digest.update(video.sound.data if video.sound else b"")
    return digest.hexdigest()


def same_result(file: Path, key: str) -> bool:
    """Whether a file is what stages of this key made: the same input, the same settings."""
    try:
        return probe(file).info.get("key") == key
    except AnimaticError:  # not a video: somebody else's
        return False


def _kept(file: Path, watch: Callable[[str], None]) -> Video | None:
    """What was made before, if it is there and can be read whole; else `watch` is told why it is made again."""
    if not file.exists():
        return None
    try:
        video = Video.load(file)
    except AnimaticError as error:
        watch(f"{error}: made again")
        return None
    if damage := video.info.get("damage"):
        watch(f"{damage}: made again")
        return None
    return video


def said(video: Video | Probe, prompt: str, seed: int, **more: Any) -> Say:
    """What stages are told of a file: its own prompt and maker, its model's family first, unless something is said."""
    return Say(prompt=prompt or str(video.info.get("prompt", "")), seed=seed, maker=maker_of(video), **more)


def maker_of(video: Video | Probe) -> str:
    """What made a video: the family of its model, or in files of before its model's name; "" where it does not say."""
    return str(video.info.get("family") or video.info.get("model", ""))
