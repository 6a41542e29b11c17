"""Scenes to videos: a model, a method, a seed."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version

from .backbones import load
from .backbones.base import Backbone
from .errors import AnimaticError
from .methods import Recipe, recipe_named
from .sampling import Control, check, sample
from .scene import Scene
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
    recipe = recipe_named(method) if isinstance(method, str) else method
    if len(seeds) != len(scenes):
        raise AnimaticError(f"{len(seeds)} seeds for {len(scenes)} scenes; want one each")
    for scene in scenes:
        backbone.check_scene(scene)
    geometry, habits = backbone.geometry, backbone.habits
    steps = habits.steps if steps is None else steps
    guidance = habits.guidance if guidance is None else guidance
    still = all(scene.seconds == 0 for scene in scenes)
    frames = (1 if still else geometry.frames) if frames is None else frames
    width, height = size or (geometry.width, geometry.height)
    schedule = backbone.schedule(steps, scheduler or habits.scheduler)
    noise = backbone.noise(seeds, frames, height, width)
    controls = recipe(scenes, backbone, guidance)
    check(backbone, controls)
    negatives = [", ".join(n for n in (scene.negative, habits.negative) if n) for scene in scenes]
    cond = backbone.encode([told(scene) for scene in scenes], negatives)
    latents = sample(backbone, schedule, noise, cond, [*watch, *controls])
    pixels = backbone.decode(latents)[:, :frames].cpu().numpy()
    made = {
        "model": backbone.name,
        "method": method if isinstance(method, str) else getattr(method, "__name__", repr(method)),
        "controls": repr(controls),
        "steps": steps,
        "scheduler": schedule.name,
        "versions": versions(),
    }
    return [
        Video(
            frames=pixels[i],
            fps=frames / scene.seconds if scene.seconds else geometry.fps,
            info={"prompt": scene.prompt, "seed": seed, **made, "scene": json.loads(scene.to_json())},
        )
        for i, (scene, seed) in enumerate(zip(scenes, seeds, strict=True))
    ]


def versions() -> dict[str, str]:
    """What a result depends on."""
    packages = {name: version(name) for name in ("animatic", "torch", "diffusers", "transformers")}
    return {**packages, "python": platform.python_version()}
