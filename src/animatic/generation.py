"""One function answers every request: `generate`. A model, a method and a seed make a video of a story."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from .binding import BoundRequest, bind, load_model, needs_windows
from .callbacks import FINISHING, Callbacks, Watchers, together
from .core.backbone import Backbone
from .denoising import Encoder, denoised_stories
from .denoising import encode as encode  # read from here, too
from .denoising import encode_stories as encode_stories
from .editing import inverted_noise
from .errors import AnimaticError
from .finishing.checks import check_stages
from .finishing.stage import Shape
from .finishing.stages import finish, stage_context, stages_of
from .first_image import ImageLike
from .methods import MethodLike
from .methods.settings import filled
from .request import GenerationRequest
from .request_checks import check_story
from .scene import Scene, Story, story_json
from .start_noise import FirstLatents
from .timeline import Timeline
from .transitions import crossfaded
from .video import Video


def generate(
    request: GenerationRequest,
    model: Backbone | None = None,
    callbacks: Watchers = (),
    *,
    method: MethodLike | None = None,
    video: Video | None = None,
    keep: Path | None = None,
    latents: FirstLatents | None = None,
    image: ImageLike | None = None,
) -> Video:
    """The video that a request describes. `generate(video.request)` makes the same frames again.

    Args:
        request: All that decides the video.
        model: The model that the request names, where it is loaded already.
        callbacks: Receive progress, notes and the render before its stages; controls among them observe the run.
        method: A `Method` or a list of controls in place of the method that the request names.
        video: The video whose frames are edited; needed where `request.inverted` is its digest.
        keep: Results of finishing stages are kept as KEEP.1-STAGE.mkv, and used again by a later run.
        latents: The first latents, or what draws them, in place of the seed; needed where `request.noise` is their
            digest. See `start_noise.first_latents`.
        image: The image that the video begins with, in place of a file that the request names: a file, an image of
            Pillow, or uint8 `[height, width, 3]`. It is scaled and cut to fill the video.

    Raises:
        AnimaticError: before any work, where something cannot be done.

    """
    versions = generate_versions(
        request, model, callbacks, method=method, video=video, keep=keep, latents=latents, image=image
    )
    return versions[-1]


def generate_latents(
    request: GenerationRequest,
    model: Backbone | None = None,
    callbacks: Watchers = (),
    *,
    method: MethodLike | None = None,
    latents: FirstLatents | None = None,
    image: ImageLike | None = None,
) -> Tensor:
    """The clean latents `[1, channel, frame, height, width]` of a request without edits and finishing stages.

    `model.decode` makes pixels of them. See `generate`.
    """
    if request.edits or request.inverted or request.finishing.stages:
        raise AnimaticError("latents are of one render; want a request without edits and finishing stages")
    bound = bind(request, model or load_model(request), method, image)
    denoised = denoised_stories(bound, [request.story], [request.sampling.seed], together(callbacks), first=latents)
    return denoised.latents


def generate_versions(
    request: GenerationRequest,
    model: Backbone | None = None,
    callbacks: Watchers = (),
    *,
    method: MethodLike | None = None,
    video: Video | None = None,
    keep: Path | None = None,
    latents: FirstLatents | None = None,
    image: ImageLike | None = None,
) -> list[Video]:
    """The video without edits, then that of each edit, all from the same noise; only the last is finished.

    On transformers edits follow DiTCtrl, through shared keys and values; on UNets prompt-to-prompt. See `generate`.
    """
    reports = together(callbacks)
    bound = bind(request, model or load_model(request), method, image)

    # the story after each edit, as one batch
    stories = [request.story]
    for edit in request.edits:
        stories.append(edit.of_story(stories[-1]))
    noise = None
    if request.inverted or video is not None:
        bound, noise = inverted_noise(bound, video)
    check_bound_stages(bound)

    seeds = [request.sampling.seed] * len(stories)  # edits have the noise of the source
    videos = sampled(bound, stories, seeds, reports, noise, latents)
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
    image: ImageLike | None = None,
) -> list[Video]:
    """Videos of several requests in one batch. These may differ in their stories and seeds, and hold no edits.

    `image` is the one that all begin with, see `generate`.

    Raises `AnimaticError` before any work where something cannot be done.
    """
    if not requests:
        return []
    reports = together(callbacks)
    first = requests[0]

    # one model, one schedule and one conditioning serve the whole batch
    for request in requests:
        same_seed = request.with_sampling(seed=first.sampling.seed)
        if replace(same_seed, story=first.story) != first:
            raise AnimaticError("requests of one batch differ in more than story and seed; want one batch for each")
    if first.edits or first.inverted or first.noise:
        raise AnimaticError("a request with edits or given latents is a batch of its own; want generate")

    for request in requests:
        check_story(request.story)
    bound = bind(first, model or load_model(first), method, image)
    for request in requests:
        if first.windows.enabled is not None:
            break  # the same for all, as requested
        windowed = needs_windows(request.story, bound.backbone, first.sampling.frames)
        if windowed != bound.windowed:
            raise AnimaticError(
                "some stories of the batch are made in windows and some are not; want one batch for each"
            )
    stories = [request.story for request in requests]
    _check_one_rate(bound, stories)
    check_bound_stages(bound)
    seeds = [request.sampling.seed for request in requests]
    videos = sampled(bound, stories, seeds, reports)
    if not first.finishing.stages:
        return videos
    return [finished(made, request, reports) for made, request in zip(videos, requests, strict=True)]


def _check_one_rate(bound: BoundRequest, stories: Sequence[Story]) -> None:
    """Raise where clips of a batch differ in their frame rates, and the model's predictions depend on them."""
    backbone = bound.backbone
    if not backbone.rate_matters or bound.windowed:
        return
    rates = sorted({bound.frame_rate(story[0]) for story in stories})
    if len(rates) > 1:
        reason = f"clips of one batch have {rates[0]:g} to {rates[-1]:g} frames a second, which {backbone.name} reads"
        raise AnimaticError(f"{reason}; want fps, or one batch for each")


def finished(video: Video, request: GenerationRequest, reports: Callbacks, keep: Path | None = None) -> Video:
    """A render taken through the finishing stages of its request, which its file then carries."""
    options = request.finishing
    sampling = request.sampling

    # what the stages are conditioned on, where the request has none for them: as the render was
    negatives = [scene.negative for scene in request.story if scene.negative]
    negative = ", ".join(dict.fromkeys(negatives))
    override = sampling.negative if options.negative is None else options.negative
    seed = sampling.seed if options.seed is None else options.seed
    tick = partial(reports.on_progress, FINISHING)
    context = stage_context(video, options.prompt, seed, negative=negative, negative_override=override, progress=tick)
    stages = stages_of(options.stages)
    made = finish(video, stages, context, keep, watch=reports.on_note)
    if "request" not in video.info:
        return made

    # the file's request is the render's, complete, with these stages
    rendered = GenerationRequest.of(video.info, "the render")
    carried = rendered.finished_by(options)
    info = {**made.info, "request": carried.to_dict()}
    return replace(made, info=info)


def check_bound_stages(bound: BoundRequest) -> None:
    """Raise before the render where its stages could not finish it."""
    backbone = bound.backbone
    if stages := bound.request.finishing.stages:
        check_stages(stages_of(stages), render_shape(bound), backbone.family or backbone.name)


def render_shape(bound: BoundRequest) -> Shape:
    """The shape of the video before any finishing."""
    (shown,) = bound.shown([bound.request.story])
    width, height = bound.size
    return Shape(bound.video_frames(shown), height, width, bound.frame_rate(shown))


def sampled(
    bound: BoundRequest,
    stories: Sequence[Story],
    seeds: Sequence[int],
    reports: Callbacks,
    noise: Tensor | None = None,
    first: FirstLatents | None = None,
    encoder: Encoder | None = None,
) -> list[Video]:
    """A video of each story, before its finishing stages. See `denoising.denoised_stories`."""
    backbone = bound.backbone
    denoised = denoised_stories(bound, stories, seeds, reports, noise, first, encoder)
    pixels = backbone.decode(denoised.latents).cpu().numpy()

    # what all of the batch's files say
    settled = filled(denoised.controls, bound.guidance, backbone)
    made = {
        "model": backbone.name,
        "family": backbone.family,
        "method": bound.method.name,
        "controls": repr(settled),
        "steps": bound.schedule.steps,
        "scheduler": bound.schedule.name,
        "versions": versions(),
    }
    if denoised.reuse:
        made["fast"] = denoised.reuse

    # and each its own: video i of an edited story is that after i edits
    videos = []
    edits = bound.request.edits
    frames = bound.frame_count(denoised.shown)
    for i, (each, seed) in enumerate(zip(denoised.shown, seeds, strict=True)):
        story = bound.request.story if edits else stories[i]
        complete = bound.complete(story, seed, each)
        unfinished = type(complete.finishing)()
        request = replace(complete, edits=edits[:i], finishing=unfinished, noise=denoised.noise_digest)
        info = {
            "prompt": each.prompt,
            "prompt_text": denoised.worded[i].prompt,
            "seed": seed,
            **made,
            **_shown_info(each, backbone),
            "request": request.to_dict(),
        }
        clip = pixels[i, :frames]  # latent frames may hold more than were requested
        if isinstance(each, Timeline) and any(each.crossfades):
            clip = crossfaded(clip, each.cuts(backbone.geometry), each.crossfades)
        videos.append(Video(clip, bound.frame_rate(each), info))
    return videos


def _shown_info(shown: Scene | Timeline, backbone: Backbone) -> dict[str, Any]:
    """What a file says of its scene, or of its story."""
    # by way of JSON: a file's information holds plain values
    if isinstance(shown, Timeline):
        return {"story": json.loads(story_json(shown.scenes))}
    return {
        "negative_text": backbone.defaults.negative_text(shown.negative),
        "scene": json.loads(shown.to_json()),
    }


def versions() -> dict[str, str]:
    """What a result depends on."""
    names = ("animatic", "torch", "diffusers", "transformers")
    packages = {name: version(name) for name in names}
    return {**packages, "python": platform.python_version()}
