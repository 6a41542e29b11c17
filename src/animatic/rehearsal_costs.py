"""What a run evaluates, and what each evaluation costs: counted on torch's meta device, where nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .backbones.concat_conditioning import CONCAT, LEVEL
from .backbones.image_input import ImageInput
from .backbones.sdxl import POOLED
from .backbones.skeleton import Skeleton
from .controls.composition import Composition
from .controls.energy import Energy
from .controls.grounding import Gligen
from .controls.regions import Regions
from .controls.windows import Windows
from .core.backbone import Geometry
from .core.control import Control
from .core.counting import Cost, counted
from .core.types import Attend, AttentionMapRequest, Branch, Conditioning, Step
from .scene import Scene
from .timeline import timeline_of
from .window_plan import WindowPlan

TOKENS = 4  # of a prompt that name objects: what a guided pass asks the maps of
IMAGE_TOKENS = 257  # of CLIP's ViT-H, which Wan 2.1 reads: 16 x 16 patches, and one of its own
COORDINATES = 3  # channels of x, y and time
GROUNDED_OBJECTS = 30  # rows of GLIGEN's boxes, present or not


@dataclass(frozen=True)
class Passes:
    """Evaluations of the network in a run: `predictions` of both branches, `guided` ones with a backward pass.

    `branches` are the entries of the largest batch of predictions, `samples` those of guided passes; `evaluated` and
    `differentiated` are the entries of all batches together.
    """

    predictions: int
    guided: int
    branches: int
    samples: int
    evaluated: int
    differentiated: int


def passes_of(controls: Sequence[Control], steps: int, objects: int) -> Passes:
    """How often a method evaluates the network at most: no energy falls below its threshold."""
    predictions, guided, branches, samples = steps, 0, 2, 1
    others, of_objects = 0, 0
    for control in controls:
        if isinstance(control, Energy):
            guided += _iterations(control, steps)
        elif isinstance(control, Regions):
            branches *= objects + 1
        elif isinstance(control, Composition):
            # The objects are one batch, before the scene.
            own = passes_of(control.object_controls, steps, objects)
            guided += _iterations(control.energy, steps) + own.guided
            predictions += own.predictions
            others += own.evaluated * objects
            of_objects += own.guided * (objects - 1)
            samples = max(samples, objects)
    evaluated = steps * branches + others
    largest = max(branches, 2 * objects if others else 0)
    return Passes(predictions, guided, largest, samples, evaluated, guided + of_objects)


def windows_of(geometry: Geometry, seconds: float | None) -> WindowPlan | None:
    """The windows of a video that lasts so long; None where it is one clip. Windows overlap by half."""
    if seconds is None or geometry.frames == 1 or seconds * geometry.fps <= geometry.frames + 0.5:
        return None
    return timeline_of((Scene("a video", seconds=seconds),), geometry).plan


def in_windows(passes: Passes, count: int) -> Passes:
    """The passes of a video in so many windows, each evaluated once; gradients of guided passes need all of them."""
    together = min(count, Windows.batch)
    return replace(
        passes,
        branches=passes.branches * together,
        samples=passes.samples * count,
        evaluated=passes.evaluated * count,
        differentiated=passes.differentiated * count,
    )


def _iterations(energy: Energy, steps: int) -> int:
    total = 0
    for index in range(steps):
        if index / steps < energy.until:
            of_level = energy.iterations
            total += of_level if isinstance(of_level, int) else of_level[min(index, len(of_level) - 1)]
    return total


def energy_of(controls: Sequence[Control]) -> Energy | None:
    for control in controls:
        if isinstance(control, Energy):
            return control
        if isinstance(control, Composition):
            return control.energy
    return None


def cast(bones: Skeleton, dtype: torch.dtype) -> None:
    """Give all weights their type, as `load` does."""
    model = bones.model
    for part in filter(None, (*model.networks, bones.second, model.text)):
        part.to(dtype)
    model.vae.to(getattr(torch, bones.vae_dtype) if bones.vae_dtype else dtype)


def _conditioning(bones: Skeleton, branches: int, shape: Sequence[int], controls: Sequence[Control]) -> Conditioning:
    model: Any = bones.model
    dtype = model.unet.dtype
    channels = model.text.width + model.text_flags
    text = torch.empty(branches, model.text.length, channels, dtype=dtype, device="meta")
    extra = {}
    if model.text.pooled:
        extra[POOLED] = torch.empty(branches, model.text.pooled, dtype=dtype, device="meta")

    # GLIGEN's boxes are inputs of the layers that read them.
    if any(isinstance(control, Gligen) for control in controls):
        boxes = (branches, shape[1], GROUNDED_OBJECTS)
        extra["boxes"] = torch.empty(*boxes, 4, device="meta")
        extra["present"] = torch.empty(*boxes, device="meta")
        extra["phrases"] = torch.empty(branches, GROUNDED_OBJECTS, model.text.width, dtype=dtype, device="meta")

    # Finishers read further channels, and some a noise level.
    geometry = model.geometry
    further = model.unet.config.get("in_channels", geometry.channels)
    further -= geometry.channels + (COORDINATES if model.coordinates else 0)
    if model.network_folder == "unet" and further > 0:
        extra[CONCAT] = torch.empty(branches, further, *shape[1:], dtype=dtype, device="meta")
    if model.unet.config.get("num_class_embeds"):
        extra[LEVEL] = torch.zeros(branches, dtype=torch.long, device="meta")
    own = tuple(Branch(negative=False, sample=i) for i in range(branches))
    return Conditioning(text, own, extra)


def _latents(bones: Skeleton, shape: Sequence[int], branches: int) -> Tensor:
    x = torch.empty(branches, *shape, dtype=bones.model.unet.dtype, device="meta")
    return x.float() if bones.model.network_folder == "transformer" else x


def give_image(model: Any, shape: Sequence[int]) -> None:
    """Let a model that animates an image read one, for latents of `shape` (channel, frame, height, width)."""
    if model.image_input != "required":
        return
    config = model.unet.config
    channels, *size = shape
    states = None
    if config.get("image_dim"):
        states = torch.empty(1, IMAGE_TOKENS, config.image_dim, device="meta")
    concatenated = torch.empty(1, config.in_channels - channels, *size, device="meta")
    model.image = ImageInput(concatenated, states)


def text_cost(bones: Skeleton, cpu: bool) -> Cost:
    model: Any = bones.model

    # Both branches of a prompt, by one encoder after the other.
    @torch.no_grad()
    def run(attend: Attend) -> object:
        states = []
        for encoder, limit in zip(model.text.encoders, model.text.limits, strict=True):
            ids = torch.zeros(2, limit, dtype=torch.long, device="meta")
            states.append(encoder(input_ids=ids).last_hidden_state)
        return states

    return counted(run, [model.text], cpu)


def prediction_cost(
    bones: Skeleton, shape: Sequence[int], branches: int, controls: Sequence[Control], cpu: bool
) -> Cost:
    x = _latents(bones, shape, branches)
    cond = _conditioning(bones, branches, shape, controls)

    @torch.no_grad()
    def run(attend: Attend) -> object:
        return bones.model(x, Step(0, 2, 500.0, 0.5), cond, attend)

    return counted(run, bones.model.networks, cpu)


def guided_cost(bones: Skeleton, shape: Sequence[int], samples: int, controls: Sequence[Control], cpu: bool) -> Cost:
    """One pass of an energy and its backward pass; nothing where the method has no energy."""
    energy = energy_of(controls)
    if energy is None:
        return Cost()
    x = _latents(bones, shape, samples)
    cond = _conditioning(bones, samples, shape, controls)
    tokens = torch.zeros(samples, TOKENS, dtype=torch.long, device="meta")

    def run(attend: Attend) -> object:
        start = x.detach().requires_grad_()
        request = AttentionMapRequest(tokens, energy.layers, maps_only=True)
        with torch.enable_grad():
            bones.model(start, Step(0, 2, 500.0, 0.5), replace(cond, map_request=request), attend)
            total = torch.stack([maps.float().mean() for maps in request.found.values()]).sum()
            return torch.autograd.grad(total, start)

    return counted(run, bones.model.networks, cpu)


def decoding_cost(bones: Skeleton, shape: Sequence[int], cpu: bool) -> Cost:
    x = _latents(bones, shape, 1)

    @torch.no_grad()
    def run(attend: Attend) -> object:
        return bones.model.decode(x)

    return counted(run, [bones.model.vae], cpu)
