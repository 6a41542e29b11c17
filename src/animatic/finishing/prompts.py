"""Videos for a list of prompts: each rendered, then finished, as LaVie's programs do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..backbones import load
from ..core.backbone import Backbone
from ..methods import MethodLike
from ..rendering import render
from ..scene import Scene
from ..video import Video
from .checks import check_stages
from .stage import Shape
from .stages import stages_of


def videos_of(
    prompts: Sequence[str],
    model: str | Backbone = "lavie",
    then: str = "",
    method: MethodLike = "none",
    seed: int = 0,
    **options: Any,
) -> Iterator[Video]:
    """One video a prompt, in order, each yielded as soon as it is made; `then` are stages, or a recipe's name.

    Every prompt starts from the same `seed`, so that a video is the same in any list. (LaVie's programs draw one after
    another from one generator: there a video depends on those before it.) Clips have the model's own length and rate
    unless `options` (those of `render`) say otherwise. Raises `AnimaticError`, before the first is made, where a prompt
    or a stage cannot be used.
    """
    backbone = load(model) if isinstance(model, str) else model
    geometry = backbone.geometry
    frames = options.get("frames") or geometry.frames
    width, height = options.get("size") or (geometry.width, geometry.height)

    # Everything is checked before the first video is made: a list may take days.
    seconds = frames / geometry.fps
    scenes = [Scene(prompt, (), seconds=seconds) for prompt in prompts]
    stages = stages_of(then) if then else []
    shape = Shape(frames, height, width, geometry.fps)
    check_stages(stages, shape, backbone.family or backbone.name)

    # a generator expression, so that the checks above run before the first video is requested
    return (render(scene, backbone, method, seed, stages=then, **options) for scene in scenes)
