"""One function answers every request: `generate`. A model, a method and a seed make a video of a story."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from .binding import BoundRequest, bind, check_story, load_model, needs_windows
from .callbacks import FINISHING, Callback, Callbacks, together
from .controls.finite import Finite
from .core.backbone import Backbone
from .core.control import Control
from .core.loop import sample
from .core.seeds import check_seed
from .core.types import Branch, Conditioning
from .editing import edit_controls, inverted_noise
from .errors import AnimaticError, warn
from .finishing.checks import check_stages
from .finishing.stage import Shape
from .finishing.stages import finish, stage_context, stages_of
from .methods import MethodLike
from .methods.settings import filled
from .request import GenerationRequest
from .scene import Scene, Story, story_json
from .timeline import Timeline
from .video import Video, check_rate

Watchers = Sequence[Callback | Control]


def generate(
    request: GenerationRequest,
    model: Backbone | None = None,
    callbacks: Watchers = (),
    *,
    method: MethodLike | None = None,
    video: Video | None = None,
    keep: Path | None = None,
) -> Video:
    """The video that a request describes. `generate(video.request)` makes the same frames again.

    Args:
        request: All that decides the video.
        model: The model that the request names, where it is loaded already.
        callbacks: Receive progress, notes and the render before its stages; controls among them observe the run.
        method: A `Method` or a list of controls in place of the method that the request names.
        video: The video whose frames are edited; needed where `request.inverted` is its digest.
        keep: Results of finishing stages are kept as KEEP.1-STAGE.mkv, and used again by a later run.

    Raises:
        AnimaticError: before any work, where something cannot be done.

    """
    return generate_versions(request, model, callbacks, method=method, video=video, keep=keep)[-1]


def generate_versions(
    request: GenerationRequest,
    model: Backbone | None = None,
    callbacks: Watchers = (),
    *,
    method: MethodLike | None = None,
    video: Video | None = None,
    keep: Path | None = None,
) -> list[Video]:
    """The video without edits, then that of each edit, all from the same noise; only the last is finished.

    On transformers edits follow DiTCtrl, through shared keys and values; on UNets prompt-to-prompt. See `generate`.
    """
    reports = together(callbacks)
    bound = bind(request, model or load_model(request), method)

    # the story after each edit, as one batch
    stories = [request.story]
    for edit in request.edits:
        stories.append(edit.of_story(stories[-1]))
    if request.inverted or video is not None:
        bound, noise = inverted_noise(bound, video)
    else:
        noise = None
    _check_stages(bound)

    videos = _sampled(bound, stories, [request.sampling.seed] * len(stories), reports, noise)
    if video is not None:  # frame by frame the given one: at its times, with its sound
        videos = [replace(made, fps=video.fps, sound=video.sound) for made in videos]
    if request.finishing.stages:
        reports.on_render(videos[-1])
        videos[-1] = finished(videos[-1], request, reports, keep)
    return videos


def generate_batch(
    requests: Sequence[GenerationRequest],
    model: Backbone | None = None,
    callbacks: Watchers = (),
    *,
    method: MethodLike | None = None,
) -> list[Video]:
    """Videos of several requests in one batch. These may differ in their stories and seeds, and hold no edits.

    Raises `AnimaticError` before any work where something cannot be done.
    """
    if not requests:
        return []
    reports = together(callbacks)
    first = requests[0]
    for request in requests:
        if replace(request.with_sampling(seed=first.sampling.seed), story=first.story) != first:
            raise AnimaticError("requests of one batch differ in more than story and seed; want one batch for each")
    if first.edits or first.inverted:
        raise AnimaticError("a request with edits is a batch of its own; want generate")

    for request in requests:
        check_story(request.story)
    bound = bind(first, model or load_model(first), method)
    for request in requests:
        if first.windows.enabled is None and bound.windowed != needs_windows(
            request.story, bound.backbone, first.sampling.frames
        ):
            raise AnimaticError(
                "some stories of the batch are made in windows and some are not; want one batch for each"
            )
    _check_stages(bound)
    videos = _sampled(bound, [r.story for r in requests], [r.sampling.seed for r in requests], reports)
    if not first.finishing.stages:
        return videos
    return [finished(made, request, reports) for made, request in zip(videos, requests, strict=True)]


def finished(video: Video, request: GenerationRequest, reports: Callbacks, keep: Path | None = None) -> Video:
    """A render taken through the finishing stages of its request, which its file then carries."""
    options = request.finishing
    negative = ", ".join(dict.fromkeys(scene.negative for scene in request.story if scene.negative))
    override = request.sampling.negative if options.negative is None else options.negative
    tick = partial(reports.on_progress, FINISHING)
    seed = request.sampling.seed if options.seed is None else options.seed
    context = stage_context(video, options.prompt, seed, negative=negative, negative_override=override, progress=tick)
    made = finish(video, stages_of(options.stages), context, keep, watch=reports.on_note)
    if "request" not in video.info:
        return made
    carried = replace(GenerationRequest.of(video.info, "the render"), finishing=options)
    return replace(made, info={**made.info, "request": carried.to_dict()})


def _check_stages(bound: BoundRequest) -> None:
    """Raise before the render where its stages could not finish it."""
    if stages := bound.request.finishing.stages:
        (shown,) = bound.shown([bound.request.story])
        width, height = bound.size
        shape = Shape(bound.frame_count([shown]), height, width, bound.frame_rate(shown))
        check_stages(stages_of(stages), shape, bound.backbone.family or bound.backbone.name)


def _sampled(
    bound: BoundRequest,
    stories: Sequence[Story],
    seeds: Sequence[int],
    reports: Callbacks,
    noise: Tensor | None = None,
) -> list[Video]:
    """A video of each story; `noise` (one row a story) is drawn from the seeds if not given."""
    backbone, (width, height) = bound.backbone, bound.size
    seeds = [check_seed(seed) for seed in seeds]
    shown = bound.shown(stories)
    for each in shown:
        check_rate(bound.frame_rate(each))

    # the method's controls, and around and inside them those of edits
    controls = bound.controls(shown)
    for each in shown:
        for note in bound.notes(each, controls):
            warn(note if note.startswith("scene ") else f"scene {each.prompt[:40]!r}: {note}")
    controls = edit_controls(bound, controls, stories, noise is not None)

    worded = bound.worded(shown)
    frames = bound.frame_count(shown)
    if noise is None:
        noise = backbone.noise(seeds, frames, height, width, windowed=bound.windowed)
    chain = [Finite(), *reports.controls(controls, worded)]
    latents = sample(
        backbone, bound.schedule, noise, encode(worded, backbone), chain, seeds, scenes=worded, guidance=bound.guidance
    )
    pixels = backbone.decode(latents).cpu().numpy()

    made = {
        "model": backbone.name,
        "family": backbone.family,
        "method": bound.method.name,
        "controls": repr(filled(controls, bound.guidance, backbone)),
        "steps": bound.schedule.steps,
        "scheduler": bound.schedule.name,
        "versions": versions(),
    }
    videos = []
    for i, (each, seed) in enumerate(zip(shown, seeds, strict=True)):
        edits = bound.request.edits
        story = bound.request.story if edits else stories[i]
        request = bound.complete(story, seed, each)
        request = replace(request, edits=edits[:i], finishing=type(request.finishing)())
        info = {
            "prompt": each.prompt,
            "prompt_text": worded[i].prompt,
            "seed": seed,
            **made,
            **_shown_info(each, backbone),
            "request": request.to_dict(),
        }
        videos.append(Video(pixels[i, :frames], bound.frame_rate(each), info))
    return videos


def _shown_info(shown: Scene | Timeline, backbone: Backbone) -> dict[str, Any]:
    """What a file says of its scene, or of its story."""
    if isinstance(shown, Timeline):
        return {"story": json.loads(story_json(shown.scenes))}
    return {
        "negative_text": backbone.defaults.negative_text(shown.negative),
        "scene": json.loads(shown.to_json()),
    }


def encode(shown: Sequence[Scene | Timeline], backbone: Backbone) -> Conditioning:
    """The conditioning of scenes, or of timelines, in the wording of a method.

    Negative prompts are the scenes' and the model's default.
    """
    if isinstance(shown[0], Timeline):
        return encode_stories([timeline.scenes for timeline in cast("Sequence[Timeline]", shown)], backbone)
    scenes = cast("Sequence[Scene]", shown)
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
