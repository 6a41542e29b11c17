"""A list of prompts in, videos out: each rendered, then finished, as LaVie's programs do with theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Unpack

from ..backbones import load
from ..core.backbone import Backbone
from ..generation import How, check_scenes, render
from ..methods import Recipe
from ..scene import Scene
from ..video import Video
from .stage import Shape
from .stages import finish, ready, said, stages_of


def videos_of(
    prompts: Sequence[str],
    model: str | Backbone = "lavie",
    then: str = "",
    method: str | Recipe = "none",
    seed: int = 0,
    **how: Unpack[How],
) -> Iterator[Video]:
    """One video a prompt, in order, each given as soon as it is made; `then` are stages, or a recipe's name.

    Every prompt begins from the same `seed`, so that a video is the same in any list (LaVie's draw one after another
    from one generator: there the second hangs on the first). Clips have the model's own length and rate unless `how`
    says otherwise. Raises `AnimaticError`, before the first is made, where a prompt or a stage cannot be used.
    """
    backbone = load(model) if isinstance(model, str) else model
    geometry, stages = backbone.geometry, stages_of(then) if then else []
    frames = how.get("frames") or geometry.frames
    width, height = how.get("size") or (geometry.width, geometry.height)
    scenes = [Scene(prompt, (), seconds=frames / geometry.fps) for prompt in prompts]
    check_scenes(scenes)
    ready(stages, Shape(frames, height, width, geometry.fps), backbone.family or backbone.name)

    def made() -> Iterator[Video]:
        for scene in scenes:
            video = render(scene, backbone, method, seed, **how)
            yield finish(video, stages, said(video, scene.prompt, seed)) if stages else video

    return made()  # not a generator itself, which would check nothing before the first video is asked for
