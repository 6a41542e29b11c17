"""Scenes to videos: a model, a method, a seed."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import torch
from torch import Tensor

from .backbones import load
from .backbones.base import Backbone
from .controls.composition import Composition
from .controls.regions import Regions
from .controls.windows import Windows
from .errors import AnimaticError
from .methods import Recipe, recipe_named
from .sampling import Cond, Control, Row, check, sample
from .scene import Scene, Story, story_json
from .schedule import Schedule
from .stories import Reel, check_memory, reel_of
from .text import told
from .video import Video


class How(TypedDict, total=False):
    """How to sample; what is not said, or None, is the model's habit.

    `size` is (width, height) in pixels; `watch` are further controls, put outermost (progress, previews).
    """

    steps: int | None
    guidance: float | None
    frames: int | None
    size: tuple[int, int] | None
    scheduler: str
    watch: Sequence[Control]


def render(
    scene: Scene, model: str | Backbone = "mini", method: str | Recipe = "lvd", seed: int = 0, **how: Unpack[How]
) -> Video:
    """Render one scene. See `render_batch`, which this calls."""
    return render_batch([scene], model, method, [seed], **how)[0]


def render_batch(
    scenes: Sequence[Scene],
    model: str | Backbone = "mini",
    method: str | Recipe = "lvd",
    seeds: Sequence[int] = (0,),
    **how: Unpack[How],
) -> list[Video]:
    """Render several scenes at once, one seed each; see `How` for the rest. A scene of 0 seconds is a still.

    Raises `AnimaticError` before any work where something cannot be done.
    """
    take = Take.of(model, method, **how)
    if len(seeds) != len(scenes):
        raise AnimaticError(f"{len(seeds)} seeds for {len(scenes)} scenes; want one each")
    return take.videos(scenes, seeds, take.controls(scenes))


def render_story(
    story: Story,
    model: str | Backbone = "mini",
    method: str | Recipe = "ditctrl",
    seed: int = 0,
    *,
    overlap: float = 0.5,
    transitions: int = 1,
    **how: Unpack[How],
) -> Video:
    """Render scenes in a row as one video, of any length: the model sees it in windows of its own length.

    A scene lasts its `seconds`. Windows overlap by the share `overlap` (0..1, 0 too) of their length; about
    `transitions` windows between two scenes are told a mix of both. Any method will do; of those that share what they
    show between windows see `methods.ditctrl`. Raises `AnimaticError` before any work where it cannot be made.
    """
    take = Take.of(model, method, **how)
    if take.frames is not None:
        raise AnimaticError(f"frames is {take.frames}; a story is told how long it lasts by its seconds")
    backbone, geometry, (width, height) = take.backbone, take.backbone.geometry, take.size
    reel = reel_of(story, geometry, overlap, transitions)
    frames = (reel.plan.frames - 1) * geometry.pace + 1
    check_memory(frames, height, width, math.prod(geometry.latent(frames, height, width, windowed=True)))
    controls = take.controls(cast("Sequence[Scene]", [reel]))  # to controls a reel is a scene
    for control in controls:
        if isinstance(control, (Composition, Regions)):
            name = type(control).__name__
            raise AnimaticError(f"{name} lays out one scene; want another method for a story, such as ditctrl+lvd")
    if not any(isinstance(control, Windows) for control in controls):
        controls.append(Windows([reel]))
    noise = backbone.noise([seed], frames, height, width, windowed=True)
    pixels, made = take.shoot(noise, encode_story(story, backbone), controls)
    info = {"prompt": reel.prompt, "seed": seed, **made, "story": json.loads(story_json(story))}
    return Video(pixels[0], geometry.fps, info)


@dataclass(frozen=True)
class Take:
    """All that decides a video but the scene and the noise: what `How` leaves open is the model's habit here.

    `frames` None are as many as the model makes by itself.
    """

    backbone: Backbone
    method: str
    recipe: Recipe
    schedule: Schedule
    guidance: float
    frames: int | None
    size: tuple[int, int]
    watch: Sequence[Control]

    @staticmethod
    def of(
        model: str | Backbone,
        method: str | Recipe,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        scheduler: str = "",
        watch: Sequence[Control] = (),
    ) -> Take:
        """Raises where the model does not make that many frames of that size, or in so many steps."""
        backbone = load(model) if isinstance(model, str) else model
        geometry, habits = backbone.geometry, backbone.habits
        width, height = size or (geometry.width, geometry.height)
        geometry.latent(geometry.frames if frames is None else frames, height, width)  # raises where it cannot be
        return Take(
            backbone,
            method if isinstance(method, str) else getattr(method, "__name__", repr(method)),
            recipe_named(method) if isinstance(method, str) else method,
            backbone.schedule(habits.steps if steps is None else steps, scheduler or habits.scheduler),
            habits.guidance if guidance is None else guidance,
            frames,
            (width, height),
            watch,
        )

    def controls(self, scenes: Sequence[Scene]) -> list[Control]:
        """The method's controls. Raises where the model cannot show a scene, or cannot do what a control needs."""
        for scene in scenes:
            self.backbone.check_scene(scene)
        controls = self.recipe(scenes, self.backbone, self.guidance)
        check(self.backbone, controls)
        return controls

    def videos(
        self, scenes: Sequence[Scene], seeds: Sequence[int], controls: Sequence[Control], noise: Tensor | None = None
    ) -> list[Video]:
        """A video of each scene; `noise` (one row a scene) is that of the seeds if not given."""
        geometry, frames, (width, height) = self.backbone.geometry, self.frames, self.size
        if frames is None:
            frames = geometry.frames if any(scene.seconds for scene in scenes) else 1
        if noise is None:
            noise = self.backbone.noise(seeds, frames, height, width)
        pixels, made = self.shoot(noise, encode(scenes, self.backbone), controls)
        return [
            Video(
                frames=pixels[i, :frames],
                fps=frames / scene.seconds if scene.seconds else geometry.fps,
                info={"prompt": scene.prompt, "seed": seed, **made, "scene": json.loads(scene.to_json())},
            )
            for i, (scene, seed) in enumerate(zip(scenes, seeds, strict=True))
        ]

    def shoot(self, noise: Tensor, cond: Cond, controls: Sequence[Control]) -> tuple[np.ndarray, dict[str, Any]]:
        """Frames `[row, frame, height, width, 3]`, and what they were made with."""
        latents = sample(self.backbone, self.schedule, noise, cond, [*self.watch, *controls])
        return self.backbone.decode(latents).cpu().numpy(), {
            "model": self.backbone.name,
            "family": self.backbone.family,
            "method": self.method,
            "controls": repr(controls),
            "steps": len(self.schedule),
            "scheduler": self.schedule.name,
            "versions": versions(),
        }


def laid_out(story: Story, backbone: Backbone, frames: int | None = None) -> Scene | Reel:
    """A story as a model shows it: in one piece if it is one scene, of `frames`, a still or short; else as a reel."""
    scene, native = story[0], backbone.geometry.frames
    short = native == 1 or scene.seconds * backbone.geometry.fps <= native + 0.5
    return scene if len(story) == 1 and (short or frames is not None) else reel_of(story, backbone.geometry)


def encode(scenes: Sequence[Scene], backbone: Backbone) -> Cond:
    """What a model is told of scenes, and not to show: their words and its habit."""
    negatives = [backbone.habits.unwanted(scene.negative) for scene in scenes]
    return backbone.encode([told(scene) for scene in scenes], negatives)


@torch.no_grad()
def encode_story(story: Story, backbone: Backbone) -> Cond:
    """The texts of all scenes in a row: `[row, part * token, channel]`, the negative row first."""
    cond = encode(story, backbone)
    if cond.extra:
        raise AnimaticError(f"{backbone.name} takes one prompt a video; want a model that reads sentences")
    negative, positive = cond.text.unflatten(0, (2, -1)).flatten(1, 2)
    return Cond(torch.stack([negative, positive]), (Row(True), Row()))


def versions() -> dict[str, str]:
    """What a result depends on."""
    packages = {name: version(name) for name in ("animatic", "torch", "diffusers", "transformers")}
    return {**packages, "python": platform.python_version()}
