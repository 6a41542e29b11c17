"""Requests from keywords: a scene, a model, a method and options become a video in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from .backbones.lora import LoraRequest
from .core.backbone import Backbone
from .errors import AnimaticError
from .generation import Watchers, generate, generate_batch
from .methods import MethodLike
from .request import FinishingOptions, GenerationRequest, SamplingOptions, WindowOptions
from .scene import Scene, Story
from .story_edit import Edit
from .video import Video


def render(
    shown: Scene | Story,
    model: str | os.PathLike[str] | Backbone = "mini",
    method: MethodLike = "",
    seed: int = 0,
    *,
    callbacks: Watchers = (),
    **options: Any,
) -> Video:
    """Render a scene, or scenes in a row as one video of any length.

    `method` "" is lvd, or ditctrl+lvd for what is longer than the model's clip. `options` are fields of
    `SamplingOptions`, `WindowOptions` and `GenerationRequest`, such as `steps=20, overlap=0.5, loras=...`. A scene of 0
    seconds is a still. Raises `AnimaticError` before any work where something cannot be done.
    """
    request = request_of(_story(shown), model, method, seed, **options)
    return generate(request, _loaded(model), callbacks, method=_own(method))


def render_batch(
    scenes: Sequence[Scene | Story],
    model: str | os.PathLike[str] | Backbone = "mini",
    method: MethodLike = "",
    seeds: Sequence[int] = (0,),
    *,
    callbacks: Watchers = (),
    **options: Any,
) -> list[Video]:
    """Render several scenes (or stories) at once, one seed each. See `render`."""
    if isinstance(scenes, (str, Scene)):
        raise AnimaticError(f"scenes is {repr(scenes)[:60]}; want a list of scenes")
    if len(seeds) != len(scenes):
        raise AnimaticError(f"{len(seeds)} seeds for {len(scenes)} scenes; want one each")
    requests = []
    for shown, seed in zip(scenes, seeds, strict=True):
        requests.append(request_of(_story(shown), model, method, seed, **options))
    return generate_batch(requests, _loaded(model), callbacks, method=_own(method))


def edit(
    video: Video | GenerationRequest,
    *,
    swap: dict[str, str] | None = None,
    weight: dict[str, float] | None = None,
    prompt: str = "",
    blend: bool = False,
    model: Backbone | None = None,
    callbacks: Watchers = (),
) -> Video:
    """A video made again with words exchanged, of more or less weight, or under a new prompt; the rest stays.

    See `story_edit.Edit`. Raises `AnimaticError` where the video carries no request, or a word is not in its prompt.
    """
    request = video.request if isinstance(video, Video) else video
    return generate(request.edited(Edit(swap or {}, weight or {}, prompt, blend)), model, callbacks)


def request_of(
    story: Story, model: str | os.PathLike[str] | Backbone, method: MethodLike, seed: int, **options: Any
) -> GenerationRequest:
    """A request from keywords. Raises `AnimaticError` for a keyword that is no field."""
    if not isinstance(model, (str, os.PathLike, Backbone)):
        raise AnimaticError(f"model is {repr(model)[:60]}; want a name, a folder or a loaded model")
    sampling = [f.name for f in fields(SamplingOptions) if f.name != "seed"]
    windows = [f.name for f in fields(WindowOptions) if f.name != "enabled"]
    known = [*sampling, *windows, "windowed", "loras", "settings", "stages"]
    for name in options:
        if name not in known:
            raise AnimaticError(f"unknown option {name!r}; known: {', '.join(known)}")

    # None stands for the default, as in the fields of a request
    given = {name: _plain(value) for name, value in options.items() if value is not None}
    loras = [LoraRequest.of(lora) if isinstance(lora, str) else LoraRequest(*lora) for lora in given.get("loras", ())]
    for_sampling = {name: given[name] for name in sampling if name in given}
    for_windows = {name: given[name] for name in windows if name in given}

    if isinstance(model, Backbone):
        model_name = model.reference or model.name
    else:
        model_name = os.fspath(model)
    return GenerationRequest(
        story=story,
        model=model_name,
        loras=tuple((str(lora.file), lora.scale, lora.network) for lora in loras),
        method=method if isinstance(method, str) else "",
        settings=given.get("settings", {}),
        sampling=SamplingOptions(seed=_plain(seed), **for_sampling),
        windows=WindowOptions(given.get("windowed"), **for_windows),
        finishing=FinishingOptions(given.get("stages", "")),
    )


def _plain(value: Any) -> Any:
    """Numbers of NumPy or torch, in a list too, as Python's own, which JSON holds."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(item) for item in value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _story(shown: Scene | Story) -> Story:
    return tuple(shown) if isinstance(shown, (tuple, list)) else (cast("Scene", shown),)


def _loaded(model: Any) -> Backbone | None:
    return model if isinstance(model, Backbone) else None


def _own(method: MethodLike) -> MethodLike | None:
    """A method of one's own; a name stands in the request."""
    return None if isinstance(method, str) else method
