"""Requests from keywords: a scene, a model, a method and options become a video in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

import torch
from torch import Tensor

from .backbones import load
from .backbones.lora import LoraRequest
from .backbones.textual_inversion import EmbeddingRequest
from .callbacks import Watchers
from .core.backbone import Backbone
from .core.model_options import DEFAULT_MODEL
from .errors import AnimaticError
from .first_image import ImageLike
from .generation import generate, generate_batch, generate_latents
from .methods import MethodLike
from .request import FinishingOptions, GenerationRequest, SamplingOptions, WindowOptions
from .scene import Scene, Story
from .start_noise import FirstLatents, seed_of
from .story_edit import Edit
from .video import Video

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

ModelLike: TypeAlias = "str | os.PathLike[str] | Backbone | DiffusionPipeline"
OUTPUTS = ("video", "latent")
LOADING = (
    "loras",
    "embeddings",
    "dtype",
    "quantize",
    "offload",
    "save_memory",
)  # options of a model that is yet to be loaded

# Options by the names that pipelines of diffusers have for them.
DIFFUSERS_NAMES = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "num_frames": "frames",
    "negative_prompt": "negative",
    "width": "size=(width, height)",
    "height": "size=(width, height)",
    "generator": "seed, which may be a generator",
    "callback_on_step_end": "callbacks",
    "callback": "callbacks",
}


@overload
def render(
    shown: Scene | Story,
    model: ModelLike = DEFAULT_MODEL,
    method: MethodLike = "",
    seed: int | torch.Generator = 0,
    *,
    latents: Tensor | None = None,
    image: ImageLike | None = None,
    output_type: Literal["video"] = "video",
    callbacks: Watchers = (),
    **options: Any,
) -> Video: ...


@overload
def render(
    shown: Scene | Story,
    model: ModelLike = DEFAULT_MODEL,
    method: MethodLike = "",
    seed: int | torch.Generator = 0,
    *,
    latents: Tensor | None = None,
    image: ImageLike | None = None,
    output_type: Literal["latent"],
    callbacks: Watchers = (),
    **options: Any,
) -> Tensor: ...


def render(
    shown: Scene | Story,
    model: ModelLike = DEFAULT_MODEL,
    method: MethodLike = "",
    seed: int | torch.Generator = 0,
    *,
    latents: Tensor | None = None,
    image: ImageLike | None = None,
    output_type: str = "video",
    callbacks: Watchers = (),
    **options: Any,
) -> Video | Tensor:
    """Render a scene, or scenes in a row as one video of any length.

    Args:
        shown: A scene, or a story; a scene of 0 seconds is a still.
        model: A name, a folder, a hub id, a model that is loaded, or a loaded pipeline of diffusers (see `load`).
        method: A name of `METHODS`, a `Method` or a list of controls; "" is the model's usual one, lvd for most,
            or the same in windows (ditctrl+lvd) for what is longer than the model's clip.
        seed: Seed of the noise, or a generator that draws it; one of the CPU that drew nothing yet draws its seed's.
        latents: The first latents in place of a seed: unit noise `[1, channel, frame, height, width]`.
        image: The image that the video begins with: a file, an image of Pillow, or uint8 `[height, width, 3]`; it is
            scaled and cut to fill the video. For models that animate one, such as wan2.2-5b.
        output_type: "video", or "latent" for clean latents `[1, channel, frame, height, width]`, not decoded.
        callbacks: Functions `callback(step, total, latents)`, callbacks and controls that observe; one or several.
        **options: Fields of `SamplingOptions`, `WindowOptions` and `GenerationRequest`, such as `steps=20,
            overlap=0.5, loras=...`.

    Raises:
        AnimaticError: before any work, where something cannot be done.

    """
    if output_type not in OUTPUTS:
        hint = "a video has .frames, .to_pil() and .to_tensor()"
        raise AnimaticError(f"output_type is {output_type!r}; want {' or '.join(OUTPUTS)}: {hint}")

    # A generator is a seed that may have drawn before.
    first: FirstLatents | None = latents
    if isinstance(seed, torch.Generator):
        if latents is not None:
            raise AnimaticError("latents are given, and a generator to draw them; want one of both")
        first = seed
        seed = seed_of(seed)

    loaded = _loaded(model, options)
    if isinstance(image, (str, os.PathLike)):  # a file stands in the request
        options["image"] = os.fspath(image)
        image = None
    request = request_of(_story(shown), loaded or model, method, seed, **options)
    if output_type == "latent":
        return generate_latents(request, loaded, callbacks, method=_own(method), latents=first, image=image)
    return generate(request, loaded, callbacks, method=_own(method), latents=first, image=image)


def render_batch(
    scenes: Sequence[Scene | Story],
    model: ModelLike = DEFAULT_MODEL,
    method: MethodLike = "",
    seeds: Sequence[int] = (0,),
    *,
    image: ImageLike | None = None,
    callbacks: Watchers = (),
    **options: Any,
) -> list[Video]:
    """Render several scenes (or stories) at once, one seed each, all from `image` if it is given. See `render`."""
    if isinstance(scenes, (str, Scene)):
        raise AnimaticError(f"scenes is {repr(scenes)[:60]}; want a list of scenes")
    if len(seeds) != len(scenes):
        raise AnimaticError(f"{len(seeds)} seeds for {len(scenes)} scenes; want one each")
    loaded = _loaded(model, options)
    if isinstance(image, (str, os.PathLike)):
        options["image"] = os.fspath(image)
        image = None
    requests = []
    for shown, seed in zip(scenes, seeds, strict=True):
        requests.append(request_of(_story(shown), loaded or model, method, seed, **options))
    return generate_batch(requests, loaded, callbacks, method=_own(method), image=image)


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


def request_of(story: Story, model: ModelLike, method: MethodLike, seed: int, **options: Any) -> GenerationRequest:
    """A request from keywords. Raises `AnimaticError` for a keyword that is no field."""
    if not isinstance(model, (str, os.PathLike, Backbone)):
        raise AnimaticError(f"model is {repr(model)[:60]}; want a name, a folder or a loaded model, or a pipeline")
    sampling = [f.name for f in fields(SamplingOptions) if f.name != "seed"]
    windows = [f.name for f in fields(WindowOptions) if f.name != "enabled"]
    known = [*sampling, *windows, "windowed", "loras", "embeddings", "settings", "stages", "image"]
    for name in options:
        if name not in known:
            meant = DIFFUSERS_NAMES.get(name)
            wanted = f"want {meant}" if meant else f"known: {', '.join(known)}"
            raise AnimaticError(f"unknown option {name!r}; {wanted}")

    # None stands for the default, as in the fields of a request
    given = {name: _plain(value) for name, value in options.items() if value is not None}
    loras = [LoraRequest.of(lora) if isinstance(lora, str) else LoraRequest(*lora) for lora in given.get("loras", ())]
    asked = given.get("embeddings", ())
    embeddings = [EmbeddingRequest.of(each) if isinstance(each, str) else EmbeddingRequest(*each) for each in asked]
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
        embeddings=tuple((str(embedding.file), embedding.word) for embedding in embeddings),
        method=method if isinstance(method, str) else "",
        settings=given.get("settings", {}),
        sampling=SamplingOptions(seed=_plain(seed), **for_sampling),
        windows=WindowOptions(given.get("windowed"), **for_windows),
        finishing=FinishingOptions(given.get("stages", "")),
        image=given.get("image", ""),
    )


def _plain(value: Any) -> Any:
    """Numbers of NumPy or torch, in a list too, as Python's own, which JSON holds."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(item) for item in value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _story(shown: Scene | Story) -> Story:
    return tuple(shown) if isinstance(shown, (tuple, list)) else (cast("Scene", shown),)


def _loaded(model: ModelLike, options: Mapping[str, Any]) -> Backbone | None:
    """The model if it is one, or a pipeline's. Raises `AnimaticError` for options that are those of loading."""
    if isinstance(model, (str, os.PathLike)):
        return None
    given = [name for name in LOADING if options.get(name)]
    if given:
        raise AnimaticError(f"{given[0]} is given, and a model that is loaded already; want it where that is loaded")
    return model if isinstance(model, Backbone) else load(model)


def _own(method: MethodLike) -> MethodLike | None:
    """A method of one's own; a name stands in the request."""
    return None if isinstance(method, str) else method
