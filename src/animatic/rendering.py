"""Scenes to videos: a model, a method, a seed."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from .backbones import load
from .backbones.base import Backbone, Geometry
from .controls.composition import Composition
from .controls.regions import Regions
from .controls.windows import Windows
from .errors import AnimaticError
from .methods import Recipe, recipe_named
from .sampling import Cond, Control, Row, check, sample
from .scene import Scene, Story, story_json
from .schedule import Schedule
from .stories import Reel, by_time, check_memory
from .text import told
from .video import Video


def render(
    scene: Scene,
    model: str | Backbone = "mini",
    method: str | Recipe = "lvd",
    seed: int = 0,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    scheduler: str = "",
    watch: Sequence[Control] = (),
) -> Video:
    """Render one scene. See `render_batch`, which this calls."""
    return render_batch(
        [scene],
        model,
        method,
        [seed],
        steps=steps,
        guidance=guidance,
        frames=frames,
        size=size,
        scheduler=scheduler,
        watch=watch,
    )[0]


def render_batch(
    scenes: Sequence[Scene],
    model: str | Backbone = "mini",
    method: str | Recipe = "lvd",
    seeds: Sequence[int] = (0,),
    *,
    steps: int | None = None,
    guidance: float | None = None,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    scheduler: str = "",
    watch: Sequence[Control] = (),
) -> list[Video]:
    """Render several scenes at once, one seed each; what is not said is the model's habit.

    `size` is (width, height) in pixels; `watch` are further controls, put outermost (progress, previews). A scene of 0
    seconds is a still. Raises `AnimaticError` before any work where something cannot be done.
    """
    backbone = load(model) if isinstance(model, str) else model
    if len(seeds) != len(scenes):
        raise AnimaticError(f"{len(seeds)} seeds for {len(scenes)} scenes; want one each")
    for scene in scenes:
        backbone.check_scene(scene)
    geometry, habits = backbone.geometry, backbone.habits
    still = all(scene.seconds == 0 for scene in scenes)
    frames = (1 if still else geometry.frames) if frames is None else frames
    width, height = size or (geometry.width, geometry.height)
    noise = backbone.noise(seeds, frames, height, width)
    negatives = [negative_of(scene, backbone) for scene in scenes]
    cond = backbone.encode([told(scene) for scene in scenes], negatives)
    schedule = backbone.schedule(habits.steps if steps is None else steps, scheduler or habits.scheduler)
    pixels, made = _filmed(scenes, backbone, method, noise, cond, schedule, guidance, watch)
    return [
        Video(
            frames=pixels[i, :frames],
            fps=frames / scene.seconds if scene.seconds else geometry.fps,
            info={"prompt": scene.prompt, "seed": seed, **made, "scene": json.loads(scene.to_json())},
        )
        for i, (scene, seed) in enumerate(zip(scenes, seeds, strict=True))
    ]


def render_story(
    story: Story,
    model: str | Backbone = "mini",
    method: str | Recipe = "ditctrl",
    seed: int = 0,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    size: tuple[int, int] | None = None,
    scheduler: str = "",
    overlap: float = 0.5,
    transitions: int = 1,
    watch: Sequence[Control] = (),
) -> Video:
    """Render scenes in a row as one video, of any length: the model sees it in windows of its own length.

    A scene lasts its `seconds`. Windows overlap by the share `overlap` (0..1, 0 too) of their length; about
    `transitions` windows between two scenes are told a mix of both. Any method will do; of those that share what they
    show between windows see `methods.ditctrl`. Raises `AnimaticError` before any work where it cannot be made.
    """
    backbone = load(model) if isinstance(model, str) else model
    geometry, habits = backbone.geometry, backbone.habits
    width, height = size or (geometry.width, geometry.height)
    reel = reel_of(story, geometry, overlap, transitions)
    frames = (reel.plan.frames - 1) * geometry.pace + 1
    shape = geometry.latent(frames, height, width, windowed=True)
    check_memory(frames, height, width, math.prod(shape))
    for scene in story:
        backbone.check_scene(scene)
    noise = backbone.noise([seed], frames, height, width, windowed=True)
    cond = encode_story(story, backbone)
    schedule = backbone.schedule(habits.steps if steps is None else steps, scheduler or habits.scheduler)
    pixels, made = _filmed([reel], backbone, method, noise, cond, schedule, guidance, watch)
    told_of = {"prompt": reel.prompt, "seed": seed, **made, "story": json.loads(story_json(story))}
    return Video(pixels[0], geometry.fps, told_of)


def reel_of(story: Story, geometry: Geometry, overlap: float = 0.5, transitions: int = 1) -> Reel:
    """A story laid out for a model: scenes last their seconds, to the nearest frame of its latents."""
    if not story:
        raise AnimaticError("the story has no scenes; want at least one")
    if not 0 <= overlap < 1:
        raise AnimaticError(f"overlap is {overlap}; want a share of the window, from 0 to less than 1")
    for i, scene in enumerate(story):
        if scene.seconds == 0:
            raise AnimaticError(f"scene {i + 1} of the story lasts 0 seconds; want more than 0")
    token = geometry.patch[0]  # frames of the latents that the model takes together
    size = geometry.latent(geometry.frames, geometry.height, geometry.width)[1] // token
    rate = geometry.fps / geometry.pace / token
    ends = [round(seconds * rate) for seconds in accumulate(scene.seconds for scene in story)]
    lengths = [max(1, b - a) for a, b in pairwise([0, *ends])]
    plan = by_time(lengths, size, round(overlap * size), transitions)
    for i, scene in enumerate(story):
        if max(dict(window.parts).get(i, 0.0) for window in plan.windows) <= 0.5:
            seen = f"{size / rate:.2g} s, each {(size - round(overlap * size)) / rate:.2g} s after the last"
            told_of = f"scene {i + 1} lasts {scene.seconds:g} s, too short to be told"
            raise AnimaticError(f"{told_of}: the model sees {seen}; want longer scenes")
    return Reel(story, plan.times(token))


def seen_at_once(scene: Scene, backbone: Backbone, frames: int | None = None) -> bool:
    """Whether a model shows a scene in one piece: a still, one of as many frames as it is asked for, or a short one."""
    native = backbone.geometry.frames
    return frames is not None or native == 1 or scene.seconds * backbone.geometry.fps <= native + 0.5


@torch.no_grad()
def encode_story(story: Story, backbone: Backbone) -> Cond:
    """The texts of all scenes in a row: `[row, part * token, channel]`, the negative row first."""
    cond = backbone.encode([told(scene) for scene in story], [negative_of(scene, backbone) for scene in story])
    if cond.extra:
        raise AnimaticError(f"{backbone.name} takes one prompt a video; want a model that reads sentences")
    negative, positive = cond.text.unflatten(0, (2, -1)).flatten(1, 2)
    return Cond(torch.stack([negative, positive]), (Row(True), Row()))


def _filmed(
    scenes: Sequence[Scene | Reel],
    backbone: Backbone,
    method: str | Recipe,
    noise: Tensor,
    cond: Cond,
    schedule: Schedule,
    guidance: float | None,
    watch: Sequence[Control],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Frames `[row, frame, height, width, 3]`, and what they were made with."""
    recipe = recipe_named(method) if isinstance(method, str) else method
    scale = backbone.habits.guidance if guidance is None else guidance
    controls = recipe(cast("Sequence[Scene]", scenes), backbone, scale)  # to controls a reel is a scene
    reels = [scene for scene in scenes if isinstance(scene, Reel)]
    for control in controls if reels else ():
        if isinstance(control, (Composition, Regions)):
            name = type(control).__name__
            raise AnimaticError(f"{name} lays out one scene; want another method for a story, such as ditctrl+lvd")
    if reels and not any(isinstance(control, Windows) for control in controls):
        controls.append(Windows(reels))
    check(backbone, controls)
    pixels = backbone.decode(sample(backbone, schedule, noise, cond, [*watch, *controls])).cpu().numpy()
    return pixels, {
        "model": backbone.name,
        "method": method if isinstance(method, str) else getattr(method, "__name__", repr(method)),
        "controls": repr(controls),
        "steps": len(schedule),
        "scheduler": schedule.name,
        "versions": versions(),
    }


def negative_of(scene: Scene, backbone: Backbone) -> str:
    """What a model is told not to show: the scene's words and the model's habit."""
    return backbone.habits.unwanted(scene.negative)


def versions() -> dict[str, str]:
    """What a result depends on."""
    packages = {name: version(name) for name in ("animatic", "torch", "diffusers", "transformers")}
    return {**packages, "python": platform.python_version()}
