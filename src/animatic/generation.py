"""Scenes to videos: a model, a method, a seed."""

from __future__ import annotations

import json
import math
import numbers
import os
import platform
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import torch
from torch import Tensor

from .backbones import load
from .controls.composition import Composition
from .controls.finite import Finite
from .controls.regions import Regions
from .controls.windows import Windows
from .core.backbone import Backbone
from .core.control import Control
from .core.loop import check_needs, sample
from .core.schedule import Schedule
from .core.seeds import check_seed
from .core.setting_values import Value
from .core.text import truncating
from .core.types import Branch, Conditioning
from .durations import at_rate, clip_frames, frame_rates
from .errors import AnimaticError, warn
from .methods import Method, MethodLike, as_method
from .methods.effect import check_settings, without_effect
from .methods.settings import GUIDANCE, checked_settings, filled, tuned
from .prompting.styles import styled
from .request import GenerationRequest
from .scene import Scene, Story, story_json
from .timeline import BY_TIME, Timeline, WindowLayout, check_memory, check_no_frames, timeline_of
from .video import Video


class How(TypedDict, total=False):
    """How to sample; what is not said, or None, is the model's default.

    `fps` are the frames per second it is shown at; `frames` without it fill the scene's seconds, and without both a
    clip is as long as the model makes it. `size` is (width, height) in pixels; `negative` stands for the model's own
    unwanted words ("": none), those of a scene stay; `settings` are the method's by name (see
    `methods.settings`), such as {"energy.scale": 30}; `watch` are further controls, put outermost (progress, previews).
    """

    steps: int | None
    guidance: float | None
    frames: int | None
    fps: float | None
    size: tuple[int, int] | None
    scheduler: str
    negative: str | None
    settings: Mapping[str, Value]
    watch: Sequence[Control]


def render(
    scene: Scene, model: str | Backbone = "mini", method: MethodLike = "lvd", seed: int = 0, **how: Unpack[How]
) -> Video:
    """Render one scene. See `render_batch`, which this calls."""
    return render_batch([scene], model, method, [seed], **how)[0]


def render_batch(
    scenes: Sequence[Scene],
    model: str | Backbone = "mini",
    method: MethodLike = "lvd",
    seeds: Sequence[int] = (0,),
    **how: Unpack[How],
) -> list[Video]:
    """Render several scenes at once, one seed each; see `How` for the rest. A scene of 0 seconds is a still.

    Raises `AnimaticError` before any work where something cannot be done.
    """
    check_scenes(scenes)
    if len(seeds) != len(scenes):
        raise AnimaticError(f"{len(seeds)} seeds for {len(scenes)} scenes; want one each")
    take = Take.of(model, method, **how)
    return take.videos(scenes, seeds, take.controls(scenes))


def render_story(
    story: Story,
    model: str | Backbone = "mini",
    method: MethodLike = "ditctrl",
    seed: int = 0,
    *,
    overlap: float | None = None,
    transitions: int | None = None,
    longer_middle: int | None = None,
    **how: Unpack[How],
) -> Video:
    """Render scenes in a row as one video, of any length: the model sees it in windows of its own length.

    `overlap`, `transitions` and `longer_middle` lay the windows (see `timeline.WindowLayout`); what is None is the
    method's own. A scene lasts its `seconds`, but under methods that count scenes (`ditctrl:published`). Any method
    will do; of those that share what they show between windows see `methods.ditctrl`. Raises `AnimaticError` before any
    work where it cannot be made.
    """
    check_scenes(story)
    take = Take.of(model, method, **how)
    layout = take.method.layout_with(overlap, transitions, longer_middle)
    timelines = take.timelines([story], layout)
    return take.films(timelines, [seed], take.windowed(timelines), layout)[0]


@dataclass(frozen=True)
class Take:
    """All that decides a video but the scene and the noise: what `How` leaves open is the model's default here.

    `frames` None are as many as the model makes by itself; `scheduler` "" is the one that the model comes with.
    """

    backbone: Backbone
    method: Method
    settings: Mapping[str, Value]
    schedule: Schedule
    scheduler: str
    guidance: float
    frames: int | None
    fps: float | None
    size: tuple[int, int]
    watch: Sequence[Control]

    @staticmethod
    def of(model: str | Backbone, method: MethodLike, **how: Unpack[How]) -> Take:
        """Raises where the model does not make that many frames of that size, or in so many steps."""
        for name in how:
            if name not in How.__annotations__:
                raise AnimaticError(f"unknown option {name!r}; known: {', '.join(How.__annotations__)}")
        if not isinstance(model, (str, os.PathLike, Backbone)):
            raise AnimaticError(f"model is {repr(model)[:60]}; want a name, a folder or a loaded model")
        backbone = at_rate(model if isinstance(model, Backbone) else load(os.fspath(model)), how.get("fps"))
        geometry, defaults = backbone.geometry, backbone.defaults

        steps, guidance, frames = how.get("steps"), how.get("guidance"), how.get("frames")
        for name, value in (("steps", steps), ("frames", frames)):
            if value is not None and not isinstance(value, numbers.Integral):
                raise AnimaticError(f"{name} is {value!r}; want a whole number")
        if guidance is not None and not math.isfinite(guidance):
            raise AnimaticError(f"guidance is {guidance}; want a finite number, such as {defaults.guidance:g}")
        width, height = _sides(how.get("size") or (geometry.width, geometry.height))
        geometry.latent(geometry.frames if frames is None else frames, height, width)  # raises where it cannot be

        # kept in the model's defaults, where controls with runs of their own read it too
        if (negative := how.get("negative")) is not None:
            if not isinstance(negative, str):
                raise AnimaticError(f"negative is {negative!r}; want words, or '' for none")
            backbone = copy(backbone)
            backbone.defaults = replace(defaults, negative=negative)
        plain = as_method(method)
        if plain.name.endswith(":published"):
            backbone = truncating(backbone)

        # among the settings, the guidance scale is the option by another name
        values = checked_settings(plain, how.get("settings") or {}, backbone)
        scales = [value for path, value in values.items() if path in GUIDANCE and isinstance(value, float)]
        if guidance is not None and any(scale != guidance for scale in scales):
            raise AnimaticError(f"guidance is {guidance:g}, and {scales[0]:g} in the settings; want one of them")
        changed = tuned(plain, values, backbone)
        scheduler = how.get("scheduler") or plain.scheduler or defaults.scheduler
        return Take(
            backbone,
            changed,
            {path: value for path, value in values.items() if path not in GUIDANCE},
            backbone.schedule(defaults.steps if steps is None else steps, scheduler),
            scheduler,
            changed.guidance_on(backbone) if guidance is None else float(guidance),
            frames,
            how.get("fps"),
            (width, height),
            how.get("watch", ()),
        )

    def told(self, scenes: Sequence[Scene]) -> list[Scene]:
        """Scenes (or timelines) as the method tells them: their prompts are the texts that are encoded."""
        return styled(scenes, self.method.prompt_style)

    def controls(self, scenes: Sequence[Scene]) -> list[Control]:
        """The method's controls. Raises where the model cannot show a scene, or cannot do what a control needs."""
        for scene in scenes:
            self.backbone.check_scene(scene)
        check_settings(self.method.name, self.settings, scenes)
        controls = self.method.on(self.backbone)
        try:
            check_needs(self.backbone, controls)
        except AnimaticError as error:
            raise AnimaticError(
                f"method {self.method.name!r}: {error}; want --method none, which any model can do"
            ) from None
        return controls

    def videos(
        self, scenes: Sequence[Scene], seeds: Sequence[int], controls: Sequence[Control], noise: Tensor | None = None
    ) -> list[Video]:
        """A video of each scene; `noise` (one row a scene) is that of the seeds if not given."""
        geometry, (width, height) = self.backbone.geometry, self.size
        seeds = [check_seed(seed) for seed in seeds]
        frames = clip_frames(scenes, geometry, self.frames)

        # what cannot be shown or held is refused before the work
        rates = frame_rates(scenes, self.backbone, self.frames, self.fps)
        latents = math.prod(geometry.latent(frames, height, width))
        check_memory(frames * len(scenes), height, width, latents * len(scenes))

        if noise is None:
            noise = self.backbone.noise(seeds, frames, height, width)
        self._warn_of_no_effect(scenes, controls)
        as_told = self.told(scenes)
        pixels, made = self.shoot(noise, encode(as_told, self.backbone), controls, seeds, as_told)
        return [
            Video(
                frames=pixels[i, :frames],
                fps=rates[i],
                info={
                    "prompt": scene.prompt, "prompt_text": as_told[i].prompt,
                    "negative_text": self.backbone.defaults.negative_text(scene.negative), "seed": seed, **made,
                    "scene": json.loads(scene.to_json()),
                    "request": self.request((scene,), seed, frames=frames, fps=rates[i]).to_dict(),
                },
            )
            for i, (scene, seed) in enumerate(zip(scenes, seeds, strict=True))
        ]  # fmt: skip

    def timelines(self, stories: Sequence[Story], layout: WindowLayout) -> list[Timeline]:
        """Stories laid out in windows. Raises where they do not fit into memory, or frames were asked for."""
        check_no_frames(self.frames)
        geometry, (width, height) = self.backbone.geometry, self.size
        timelines = [timeline_of(story, geometry, layout) for story in stories]
        frames = geometry.pixel_frames(timelines[0].plan.frames)
        latents = math.prod(geometry.latent(frames, height, width, windowed=True))
        check_memory(frames * len(timelines), height, width, latents * len(timelines))
        return timelines

    def windowed(self, timelines: Sequence[Timeline]) -> list[Control]:
        """The method's controls for stories, with windows among them."""
        controls = self.controls(cast("Sequence[Scene]", timelines))  # to controls a timeline is a scene
        for control in controls:
            if isinstance(control, (Composition, Regions)):
                raise AnimaticError(
                    f"method {self.method.name!r} lays out one scene; want another for a story, such as ditctrl+lvd"
                )
        if not any(isinstance(control, Windows) for control in controls):
            controls.append(Windows())
        return controls

    def films(
        self, timelines: Sequence[Timeline], seeds: Sequence[int], controls: Sequence[Control], layout: WindowLayout
    ) -> list[Video]:
        """A video of each timeline; all have the same windows."""
        geometry, (width, height) = self.backbone.geometry, self.size
        seeds = [check_seed(seed) for seed in seeds]
        noise = self.backbone.noise(
            seeds, geometry.pixel_frames(timelines[0].plan.frames), height, width, windowed=True
        )
        self._warn_of_no_effect(timelines, controls)
        as_told = cast("list[Timeline]", self.told(cast("Sequence[Scene]", timelines)))
        pixels, made = self.shoot(
            noise, encode_stories([timeline.scenes for timeline in as_told], self.backbone), controls, scenes=as_told
        )
        laid = {name: value for name, value in asdict(layout).items() if name != "by_count"}  # the method says that
        return [
            Video(
                pixels[i],
                geometry.fps,
                {
                    "prompt": timeline.prompt, "prompt_text": as_told[i].prompt, "seed": seed, **made,
                    "story": json.loads(story_json(timeline.scenes)),
                    "request": self.request(timeline.scenes, seed, windowed=True, **laid).to_dict(),
                },
            )
            for i, (timeline, seed) in enumerate(zip(timelines, seeds, strict=True))
        ]  # fmt: skip

    def _warn_of_no_effect(self, shown: Sequence[Scene | Timeline], controls: Sequence[Control]) -> None:
        for each in shown:
            if why := without_effect(self.method.name, controls, each):
                warn(f"scene {each.prompt[:40]!r}: {why}")

    def shoot(
        self,
        noise: Tensor,
        cond: Conditioning,
        controls: Sequence[Control],
        seeds: Sequence[int] = (),
        scenes: Sequence[Scene | Timeline] = (),
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Frames `[row, frame, height, width, 3]`, and what they were made with; `scenes` as the method words them."""
        chain = [Finite(), *self.watch, *controls]
        latents = sample(self.backbone, self.schedule, noise, cond, chain, seeds, scenes=scenes, guidance=self.guidance)
        return self.backbone.decode(latents).cpu().numpy(), {
            "model": self.backbone.name,
            "family": self.backbone.family,
            "method": self.method.name,
            "controls": repr(filled(controls, self.guidance, self.backbone)),
            "steps": self.schedule.steps,
            "scheduler": self.schedule.name,
            "versions": versions(),
        }

    def request(self, story: Story, seed: int, **more: Any) -> GenerationRequest:
        """What makes this video again; `more` are other fields."""
        backbone, economy = self.backbone, self.backbone.memory
        memory: dict[str, Any] = {}
        if economy is not None:
            memory = {"dtype": economy.dtype, "quantize": economy.quantize, "offload": economy.offload}
            memory["save_memory"] = economy.save_memory
        return GenerationRequest(
            story, backbone.reference or backbone.name, backbone.loras, self.method.name, dict(self.settings), seed,
            steps=self.schedule.steps, guidance=self.guidance, size=self.size, scheduler=self.scheduler,
            negative=backbone.defaults.negative, **{"fps": backbone.geometry.fps, **memory, **more},
        )  # fmt: skip


def _sides(size: Any) -> tuple[int, int]:
    """(width, height) as they were given. Raises where these are no two whole numbers."""
    sides = tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, numbers.Integral) for side in sides):
        raise AnimaticError(f"size is {size!r}; want (width, height) in pixels, such as (64, 64)")
    return sides


def check_scenes(scenes: Sequence[Scene]) -> None:
    """Raise where what is to be rendered are no scenes."""
    if isinstance(scenes, (str, Scene)):
        raise AnimaticError(f"scenes is {repr(scenes)[:60]}; want a list of scenes")
    for scene in scenes:
        if not isinstance(scene, Scene):
            raise AnimaticError(f"scene is {repr(scene)[:60]}; want a Scene, such as animatic.plan makes of a prompt")


def laid_out(
    story: Story, backbone: Backbone, frames: int | None = None, layout: WindowLayout = BY_TIME
) -> Scene | Timeline:
    """A story as a model shows it: one scene that is a still, short or of `frames` at once; all else in windows."""
    scene, native = story[0], backbone.geometry.frames
    short = native == 1 or scene.seconds * backbone.geometry.fps <= native + 0.5
    return scene if len(story) == 1 and (short or frames is not None) else timeline_of(story, backbone.geometry, layout)


def encode(scenes: Sequence[Scene], backbone: Backbone) -> Conditioning:
    """The conditioning of scenes as a style words them; negative prompts are the scenes' and the model's default."""
    negatives = [backbone.defaults.negative_text(scene.negative) for scene in scenes]
    return backbone.encode([scene.prompt for scene in scenes], negatives)


@torch.no_grad()
def encode_stories(stories: Sequence[Story], backbone: Backbone) -> Conditioning:
    """The texts of each story's scenes in a row: `[row, part * token, channel]`, all negative rows first."""
    count, parts = len(stories), len(stories[0])
    cond = encode([scene for story in stories for scene in story], backbone)
    if cond.extra and parts > 1:
        raise AnimaticError(f"{backbone.name} takes one prompt a video; want a single scene, or a model for stories")
    text = cond.text.unflatten(0, (2, count, parts)).flatten(2, 3).flatten(0, 1)
    rows = [Branch(negative, i) for negative in (True, False) for i in range(count)]
    return Conditioning(text, tuple(rows), cond.extra)


def versions() -> dict[str, str]:
    """What a result depends on."""
    packages = {name: version(name) for name in ("animatic", "torch", "diffusers", "transformers")}
    return {**packages, "python": platform.python_version()}
