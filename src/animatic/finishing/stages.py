"""Stages by name, and a video taken through several of them: results of an earlier run are used again."""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnimaticError
from ..files import fresh_path
from ..media.frame_buffer import Probe
from ..media.reading import probe
from ..video import Video
from .checks import check_plan, naming_stage, resolved
from .classical import Blend, Lanczos, Motion
from .extend import Extend
from .interpolate import Interpolate
from .recipes import RECIPES
from .refine import Refine
from .stage import Shape, Stage, StageContext
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
FIRST = {"refine": "strength", "extend": "clips"}  # the option of a bare number after the name, if not `factor`
DRIFT = 2.0  # levels by which a stage may move the mean of a colour before a note says so


def stages_of(text: str) -> list[tuple[str, Stage]]:
    """ "interpolate:4,upscale:2:model=lavie-vsr" as names and stages; the name of a recipe stands for its stages.

    Raises `AnimaticError` where a stage or option is unknown, or a value is not of its type.
    """
    # A recipe stands for its stages.
    stages = []
    for part in text.split(","):
        part = part.strip()
        stages += [_stage(stage) for stage in RECIPES.get(part, (part,))]
    return stages


def _stage(text: str) -> tuple[str, Stage]:
    name, *options = text.split(":")
    if name not in STAGES:
        raise AnimaticError(f"unknown stage {name!r}; known: {', '.join([*STAGES, *RECIPES])}")

    # Options are the fields of the stage.
    stage_class = STAGES[name]
    hints = typing.get_type_hints(stage_class)
    types = {field.name: hints[field.name] for field in fields(stage_class)}

    # A value without a name is that of the stage's main option.
    values: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            key, value = FIRST.get(name, "factor"), key
        if key not in types:
            raise AnimaticError(f"{text}: unknown option {key!r}; {name} takes {', '.join(types)}")
        if key in values:
            raise AnimaticError(f"{text}: {key} is given twice; want one of them")
        values[key] = _value(text, key, value, types[key])
    with naming_stage(text):
        return name, stage_class(**values)


def _value(stage: str, key: str, value: str, kind: Any) -> Any:
    """The value of an option as its type `kind`; of `int | None` as int."""
    types = [part for part in typing.get_args(kind) if part is not type(None)]
    if types:
        kind = types[0]

    # `None` among the types means that the option may be left out.
    if kind is bool:
        if value.lower() not in ("yes", "no", "true", "false"):
            raise AnimaticError(f"{stage}: {key} is {value!r}; want yes or no")
        return value.lower() in ("yes", "true")

    # int and float read their own text.
    try:
        number = kind(value)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise AnimaticError(f"{stage}: {key} is {value!r}; want {expected}") from None
    if kind is float and not isfinite(number):
        raise AnimaticError(f"{stage}: {key} is {value!r}; want a finite number")
    return number


def finish(
    video: Video,
    stages: Sequence[tuple[str, Stage]],
    context: StageContext,
    keep: Path | None = None,
    memory: int = 0,
    watch: Callable[[str], None] = lambda line: None,
) -> Video:
    """`video` taken through `stages`.

    With `keep` the result of each is written without loss as KEEP.1-NAME.mkv, and used again by a later run with the
    same input and settings. `memory` is the most bytes a stage may need; 0: what is free. `watch` receives one line a
    stage. Sound is kept where frames keep their times. Raises `AnimaticError` where a stage cannot do its work.
    """
    stages = resolved(stages, context.source_model)
    check_plan(Shape.of(video), stages, context, memory, loaded=True)
    key = _key(video, context)
    for i, (name, stage) in enumerate(stages, 1):
        if video.sound and not stage.preserves_timing(Shape.of(video)):
            watch(f"{name}: the sound is left out, for the frames are no longer at their times")
            video = replace(video, sound=None)

        # The result of an earlier run, whose key says by what settings it was made.
        text = f"{key}/{stage!r}"
        key = hashlib.sha256(text.encode()).hexdigest()
        file = None
        if keep:
            named = keep.with_name(f"{keep.name}.{i}-{name}.mkv")
            file = fresh_path(named, partial(same_result, key=key))
        kept = _kept_result(file, watch) if file else None
        if kept is not None:
            watch(f"{name}: taken up from {file}")
            video = kept
            continue

        # The stage itself, and how far it moved the colours.
        with naming_stage(name):
            made = stage(video, context)
        moved = drift(video, made)
        info = _info_after(video, stage, context, key, moved)

        height, width = made.frames.shape[1:3]
        note = f"; colours moved by {moved:.1f} of 255 levels" if moved > DRIFT else ""
        size = f"{len(made)} frames, {width} x {height}"
        watch(f"{name}: {size}, {made.fps:g} fps{note}")
        video = Video(made.frames, made.fps, info, video.sound)
        if file:
            video.save(file, scale=1)
    return video


def _info_after(video: Video, stage: Stage, context: StageContext, key: str, moved: float) -> dict[str, Any]:
    """The metadata of the result of a stage: that of its input, and how it was made."""
    # Damage of the input is mended: the result is whole.
    info = {name: value for name, value in video.info.items() if name != "damage"}
    info["prompt"] = context.prompt
    before = video.info.get("stages", [])
    info["stages"] = [*before, repr(stage)]
    info["key"] = key
    info["drift"] = round(moved, 2)
    return info


def drift(before: Video, after: Video) -> float:
    """The largest change of the mean of a colour, in levels of 255, of the first, middle and last frames."""

    # Single frames are enough to see a shift of colour.
    def means(video: Video) -> np.ndarray:
        last = len(video) - 1
        places = (0, int(last / 2 + 0.5), last)
        colours = [video.frames[place].mean((0, 1)) for place in places]
        return np.array(colours)

    change = np.abs(means(before) - means(after))
    return float(change.max())


def _key(video: Video, context: StageContext) -> str:
    """A hash of everything that a result depends on besides its stages."""
    settings = [
        context.prompt, context.negative, context.negative_override, context.seed, context.source_model,
        video.fps, video.frames.shape,
    ]  # fmt: skip

    # Frames, rate, sound and texts: anything else that changes them is in the stages' own fields.
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update(np.ascontiguousarray(video.frames).data)
    digest.update(video.sound.data if video.sound else b"")
    return digest.hexdigest()


def same_result(file: Path, key: str) -> bool:
    """Whether a file is the result of stages with this key: the same input and settings."""
    try:
        return probe(file).info.get("key") == key
    except AnimaticError:  # not a video: another program's file
        return False


def _kept_result(file: Path, watch: Callable[[str], None]) -> Video | None:
    """The result of an earlier run, if it is there and can be read whole; else `watch` receives the reason."""
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


def stage_context(video: Video | Probe, prompt: str, seed: int, **others: Any) -> StageContext:
    """The context of stages for a video: its own prompt unless another is given, and the model that made it."""
    own_prompt = str(video.info.get("prompt", ""))
    return StageContext(prompt=prompt or own_prompt, seed=seed, source_model=source_model_of(video), **others)


def source_model_of(video: Video | Probe) -> str:
    """The family of the model that made a video; in older files the model's name; "" where it is not known."""
    return str(video.info.get("family") or video.info.get("model", ""))
