"""Binding a request to a model: open values are filled in, and what cannot be done is refused before any work."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from typing import Any

from .backbones import load
from .backbones.components import Components
from .backbones.lora import with_loras
from .bound_request import BoundRequest as BoundRequest
from .controls.guidance import Guidance
from .core.backbone import Backbone, MemoryOptions
from .core.feature_reuse import FeatureCache
from .core.text import truncating
from .durations import at_rate, frame_rate
from .errors import AnimaticError
from .first_image import ImageLike, check_image, first_image_of
from .methods import MethodLike, as_method
from .methods.settings import GUIDANCE, checked_settings, tuned
from .request import GenerationRequest
from .request_checks import check_numbers, check_story, sides_of
from .scene import Story

# a model's usual method, and the same with windows over time
IN_WINDOWS = {
    "none": "ditctrl",
    "lvd": "ditctrl+lvd",
    "lvd-gligen": "ditctrl+gligen",
    "layout-attention": "ditctrl+layout-attention",
}


def load_model(request: GenerationRequest) -> Components:
    """The model of a request, its LoRAs and embeddings added, with its memory options."""
    options = request.sampling
    memory = MemoryOptions(options.dtype, options.quantize, options.offload, options.save_memory)

    # as they are typed, FILE:SCALE[:NETWORK]; repr keeps every digit of the scale
    files = [f"{file}:{scale!r}:{network}".rstrip(":") for file, scale, network in request.loras]
    chosen = with_loras(request.model, files, memory, request.embeddings)
    return load(chosen) if isinstance(chosen, str) else chosen


def bind(
    request: GenerationRequest,
    backbone: Backbone,
    method: MethodLike | None = None,
    image: ImageLike | None = None,
) -> BoundRequest:
    """A request on a model, or with `method` in place of the one that it names, `image` where it names none.

    Raises `AnimaticError` where the model does not make so many frames of that size, or in so many steps, and where a
    setting of the method is unknown or out of range.
    """
    sampling = request.sampling
    check_story(request.story)
    check_numbers(request)
    backbone = at_rate(backbone, _rate_of_clip(request, backbone))
    backbone = _with_own_negative(backbone, sampling.negative)
    geometry = backbone.geometry
    defaults = backbone.defaults
    if sampling.guidance is not None and not math.isfinite(sampling.guidance):
        raise AnimaticError(f"guidance is {sampling.guidance}; want a finite number, such as {defaults.guidance:g}")
    size = sampling.size or (geometry.width, geometry.height)
    width, height = sides_of(size)
    frames = geometry.frames if sampling.frames is None else sampling.frames
    backbone.check_size(frames, height, width)

    # windows, and the method where none is requested
    windowed = request.windows.enabled
    if windowed is None:
        windowed = needs_windows(request.story, backbone, sampling.frames)
    chosen = request.method or usual_method(backbone, windowed) if method is None else method
    plain = as_method(chosen)

    first_image = first_image_of(request, image)
    check_image(first_image, backbone, request, windowed)
    feature_cache_of(request, backbone)  # raises where there is none to be had

    if plain.truncates_prompts:
        backbone = truncating(backbone)

    # among the settings, the guidance scale is the option by another name
    values = checked_settings(plain, request.settings, backbone)
    guidance = sampling.guidance
    scales = [value for path, value in values.items() if path in GUIDANCE and isinstance(value, float)]
    if guidance is not None and any(scale != guidance for scale in scales):
        raise AnimaticError(f"guidance is {guidance:g}, and {scales[0]:g} in the settings; want one of them")
    changed = tuned(plain, values, backbone)
    if guidance is None:
        guidance = changed.guidance_on(backbone)

    # the scheduler of the request, of the method, or of the model
    scheduler = sampling.scheduler or plain.scheduler or defaults.scheduler
    steps = defaults.steps if sampling.steps is None else sampling.steps
    try:
        schedule = backbone.schedule(steps, scheduler)
    except AnimaticError as error:
        if sampling.scheduler or not plain.scheduler:
            raise
        raise AnimaticError(f"method {plain.name!r} comes with a scheduler of its own: {error}") from None
    for control in changed.on(backbone):
        if isinstance(control, Guidance):
            control.check(guidance if control.scale is None else control.scale, schedule)
    windows = request.windows
    layout = plain.layout_with(windows.overlap, windows.transitions, windows.longer_middle)
    settings = {path: value for path, value in values.items() if path not in GUIDANCE}
    return BoundRequest(
        request,
        backbone,
        changed,
        settings,
        schedule,
        scheduler,
        float(guidance),
        (width, height),
        layout,
        windowed,
        first_image,
    )


def _rate_of_clip(request: GenerationRequest, backbone: Backbone) -> float | None:
    """The requested frame rate; where a number of frames fills a scene's seconds, theirs, if the model reads it."""
    sampling = request.sampling
    (scene, *others) = request.story
    if not backbone.rate_matters or sampling.fps is not None or others:
        return sampling.fps
    return frame_rate(scene, backbone.geometry, sampling.frames, None)


def feature_cache_of(request: GenerationRequest, backbone: Backbone) -> FeatureCache | None:
    """What reuses features where the request is `fast`. Raises `AnimaticError` where the model has nothing to reuse."""
    if not request.sampling.fast:
        return None
    cache = backbone.feature_cache()
    if cache is None:
        hint = "want it without, or a U-Net or transformer of several levels or blocks"
        raise AnimaticError(f"fast is on, and nothing in {backbone.name} can be reused between steps; {hint}")
    return cache


def usual_method(backbone: Backbone, windowed: bool) -> str:
    """A model's method where none is requested, for a video in windows or for one clip."""
    usual = backbone.defaults.method
    return IN_WINDOWS[usual] if windowed else usual


def needs_windows(story: Story, backbone: Backbone, frames: int | None) -> bool:
    """Whether a story is made in windows: not if it is one scene that is a still, short, or of `frames` at once."""
    geometry = backbone.geometry
    (scene, *others) = story
    if others:
        return True
    if geometry.frames == 1 or frames is not None:
        return False

    # half a frame more is rounded away
    wanted = scene.seconds * geometry.fps
    return wanted > geometry.frames + 0.5


def _with_own_negative(backbone: Backbone, negative: Any) -> Backbone:
    """`backbone` with `negative` in place of its own negative prompt, where controls with runs of their own read it."""
    if negative is None:
        return backbone
    if not isinstance(negative, str):
        raise AnimaticError(f"negative is {negative!r}; want words, or '' for none")

    # a shallow copy: the caller's model keeps its own, and shares its weights
    backbone = copy(backbone)
    backbone.defaults = replace(backbone.defaults, negative=negative)
    return backbone
