"""Rehearsal: whether a render fits this machine, and how long it takes, before any weight is fetched or read.

The network, the text encoder and the autoencoder run once on torch's meta device (`backbones.skeleton`), where
operations and memory are counted and nothing is computed (`core.counting`). Seconds follow from the operations and a
measurement of this device. Memory is that of tensors: the process itself takes some hundred megabytes more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones.concat_conditioning import CONCAT, LEVEL
from .backbones.sdxl import POOLED, Refiner
from .backbones.skeleton import Skeleton, skeleton
from .controls.composition import Composition
from .controls.energy import Energy
from .controls.grounding import Gligen
from .controls.regions import Regions
from .core.backbone import MemoryOptions
from .core.control import Control
from .core.counting import Cost, counted
from .core.loop import check_needs
from .core.types import Attend, AttentionMapRequest, Branch, Conditioning, Step
from .errors import AnimaticError
from .methods import MethodLike, as_method
from .quiet import quiet
from .request_checks import sides_of

TOKENS = 4  # of a prompt that name objects: what a guided pass asks the maps of
COORDINATES = 3  # channels of x, y and time
GROUNDED_OBJECTS = 30  # rows of GLIGEN's boxes, present or not
SECONDS = 1.0  # of the measurement of the device
HALF = ("bfloat16", "float16")


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


@dataclass(frozen=True)
class Rehearsal:
    """What a render needs; sizes in bytes of tensors, `seconds` by the speed of `device`.

    `weights`: by part. `text`, `denoising`, `guiding` and `decoding`: most activations at once of each stage, guided
    passes with what their gradients need. `peak`: the most on the device, `main_memory`: in main memory, where weights
    wait there. `free` and `fits`: of the device. `would_fit`: memory options with which it would fit, () where it does
    or none helps. `step_flops`: of a step without guided passes, `guided_flops`: of one guided pass, `flops`: of all.
    `download`: bytes that the hub sends; None where the files' sizes are not known, 0 for a folder.
    """

    model: str
    method: str
    device: str
    frames: int
    width: int
    height: int
    steps: int
    dtype: str
    memory: MemoryOptions
    weights: Mapping[str, int]
    text: int
    denoising: int
    guiding: int
    decoding: int
    peak: int
    main_memory: int
    free: int
    fits: bool
    would_fit: tuple[str, ...]
    passes: Passes
    step_flops: int
    guided_flops: int
    flops: int
    seconds: float
    download: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def rehearse(
    model: str,
    method: MethodLike = "lvd",
    *,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    steps: int | None = None,
    dtype: str = "",
    quantize: str = "",
    offload: bool = False,
    save_memory: bool = False,
    objects: int = 2,
    device: str = "",
) -> Rehearsal:
    """Whether a render of one clip fits this machine, and what it costs. No weights are fetched or read.

    `model`: a name of PRESETS or a folder. `size`: (width, height) in pixels. `objects`: how many things with boxes the
    scene has, which decides the cost of methods that generate each on its own. The others are those of `render`.

    Raises `AnimaticError` where the model is unknown, or does not make such a clip, or the method does not run on it.
    """
    memory = MemoryOptions(dtype, quantize, offload, save_memory)
    bones = skeleton(model)
    backbone = bones.model
    geometry = backbone.geometry
    width, height = sides_of(size or (geometry.width, geometry.height))
    frames = geometry.frames if frames is None else frames
    shape = geometry.latent(frames, height, width)
    steps = backbone.defaults.steps if steps is None else steps
    if steps < 1:
        raise AnimaticError(f"steps is {steps}; want 1 or more")

    # The device, and the type of the weights there.
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.startswith("cuda")
    weight_type = dtype or (bones.dtype if on_gpu else "float32")
    with quiet():
        _cast(bones, getattr(torch, weight_type))

    chosen = as_method(method)
    controls = chosen.on(backbone)
    check_needs(backbone, controls)
    passes = passes_of(controls, steps, objects)
    if chosen.guidance_on(backbone) == 1:
        passes = replace(passes, branches=passes.branches // 2, evaluated=passes.evaluated // 2)
    if save_memory:
        backbone.save_memory()

    # Each stage by itself: its tensors are gone when the next one begins.
    text = _text_cost(bones, not on_gpu)
    prediction = _prediction_cost(bones, shape, passes.branches, controls, not on_gpu)
    guided = _guided_cost(bones, shape, passes.samples, controls, not on_gpu)
    decoding = _decoding_cost(bones, shape, not on_gpu)
    peaks = [cost.memory for cost in (text, prediction, guided, decoding)]

    weights = _weights(bones, quantize)
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    peak = _on_device(bones, weights, offload and on_gpu) + max(peaks)

    # Batches differ in their number of entries: the costs of one entry, times all of them.
    flops = text.flops + decoding.flops
    flops += prediction.flops * passes.evaluated // passes.branches
    flops += guided.flops * passes.differentiated // passes.samples
    fits = peak <= free
    result = Rehearsal(
        model=model,
        method=chosen.name,
        device=device,
        frames=frames,
        width=width,
        height=height,
        steps=steps,
        dtype=weight_type,
        memory=memory,
        weights=weights,
        text=text.memory,
        denoising=prediction.memory,
        guiding=guided.memory,
        decoding=decoding.memory,
        peak=peak,
        main_memory=sum(weights.values()) if offload or not on_gpu else 0,
        free=free,
        fits=fits,
        would_fit=(),
        passes=passes,
        step_flops=prediction.flops * passes.evaluated // (passes.branches * passes.predictions),
        guided_flops=guided.flops * passes.differentiated // (passes.samples * max(1, passes.guided)),
        flops=flops,
        seconds=flops / speed_of(device, weight_type),
        download=_download(bones, weight_type, memory),
    )
    return result if fits else replace(result, would_fit=_helpful(result, bones, controls, shape))


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


def _cast(bones: Skeleton, dtype: torch.dtype) -> None:
    """Give all weights their type, as `load` does."""
    model = bones.model
    for part in filter(None, (*model.networks, bones.second, model.text)):
        part.to(dtype)
    model.vae.to(getattr(torch, bones.vae_dtype) if bones.vae_dtype else dtype)


def _conditioning(bones: Skeleton, branches: int, shape: Sequence[int], controls: Sequence[Control]) -> Conditioning:
    model: Any = bones.model
    encoder = model.text.encoder.config
    dtype = model.unet.dtype
    text = torch.empty(branches, model.text.limit, encoder.hidden_size, dtype=dtype, device="meta")
    extra = {}
    if getattr(encoder, "projection_dim", 0) and isinstance(model, Refiner):
        extra[POOLED] = torch.empty(branches, encoder.projection_dim, dtype=dtype, device="meta")

    # GLIGEN's boxes are inputs of the layers that read them.
    if any(isinstance(control, Gligen) for control in controls):
        boxes = (branches, shape[1], GROUNDED_OBJECTS)
        extra["boxes"] = torch.empty(*boxes, 4, device="meta")
        extra["present"] = torch.empty(*boxes, device="meta")
        extra["phrases"] = torch.empty(branches, GROUNDED_OBJECTS, encoder.hidden_size, dtype=dtype, device="meta")

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


def _text_cost(bones: Skeleton, cpu: bool) -> Cost:
    model: Any = bones.model
    ids = torch.zeros(2, model.text.limit, dtype=torch.long, device="meta")

    @torch.no_grad()
    def run(attend: Attend) -> object:
        return model.text.encoder(input_ids=ids)

    return counted(run, [model.text], cpu)


def _prediction_cost(
    bones: Skeleton, shape: Sequence[int], branches: int, controls: Sequence[Control], cpu: bool
) -> Cost:
    x = _latents(bones, shape, branches)
    cond = _conditioning(bones, branches, shape, controls)

    @torch.no_grad()
    def run(attend: Attend) -> object:
        return bones.model(x, Step(0, 2, 500.0, 0.5), cond, attend)

    return counted(run, bones.model.networks, cpu)


def _guided_cost(bones: Skeleton, shape: Sequence[int], samples: int, controls: Sequence[Control], cpu: bool) -> Cost:
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


def _decoding_cost(bones: Skeleton, shape: Sequence[int], cpu: bool) -> Cost:
    x = _latents(bones, shape, 1)

    @torch.no_grad()
    def run(attend: Attend) -> object:
        return bones.model.decode(x)

    return counted(run, [bones.model.vae], cpu)


def _weights(bones: Skeleton, quantize: str) -> dict[str, int]:
    """Bytes of the weights by part."""
    model: Any = bones.model
    parts = {
        "network": model.unet,
        "second network": bones.second,
        "text encoder": model.text,
        "autoencoder": model.vae,
    }
    sizes = {}
    for name, part in parts.items():
        if part is not None:
            sizes[name] = _size(part, bool(quantize) and name != "autoencoder")
    return sizes


def _size(part: nn.Module, quantized: bool) -> int:
    size = sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))
    if quantized:
        # Linear layers have one byte a weight.
        for module in part.modules():
            if isinstance(module, nn.Linear):
                size -= module.weight.nbytes - module.weight.numel()
    return size


def _on_device(bones: Skeleton, weights: Mapping[str, int], offload: bool) -> int:
    """Bytes of weights on the device: all, or with offloading two blocks of the network, as the next is prefetched."""
    if not offload:
        return sum(weights.values())
    largest = 0
    for network in bones.model.networks:
        for module in network.modules():
            if isinstance(module, nn.ModuleList):
                largest = max(largest, *(_size(block, False) for block in module), 0)
    leaves = [
        module for module in (*bones.model.text.modules(), *bones.model.vae.modules()) if not list(module.children())
    ]
    return max(2 * largest, *(_size(leaf, False) for leaf in leaves))


def _download(bones: Skeleton, dtype: str, memory: MemoryOptions) -> int | None:
    """Bytes; those of half precision are fetched where it is requested, as `load` does."""
    if not bones.source:
        return 0
    if bones.download is None:
        return None
    return bones.download["float16" if memory.dtype == "float16" else "float32"]


def speed_of(device: str, dtype: str) -> float:
    """Operations a second of this device, by a second of what networks consist of: convolutions and products."""
    kind = getattr(torch, dtype)
    images = torch.randn(2, 320, 32, 32, device=device).to(kind)
    kernel = torch.randn(320, 320, 3, 3, device=device).to(kind)
    rows = torch.randn(2048, 640, device=device).to(kind)
    matrix = torch.randn(640, 2560, device=device).to(kind)
    once = 2 * (2 * 320 * 320 * 9 * 32 * 32 + 2048 * 640 * 2560)

    def work() -> None:
        F.conv2d(images, kernel, padding=1)
        torch.mm(rows, matrix)
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return once * _rate(work)


def _rate(work: Callable[[], None]) -> float:
    """How often a second `work` is done."""
    with torch.no_grad():
        work()  # kernels are chosen in the first call
        began = time.perf_counter()
        count = 0
        while time.perf_counter() - began < SECONDS:
            work()
            count += 1
    return count / (time.perf_counter() - began)


def _helpful(result: Rehearsal, bones: Skeleton, controls: Sequence[Control], shape: Sequence[int]) -> tuple[str, ...]:
    """The memory options with which it would fit, fewest first; activations in half precision take half."""
    on_gpu = result.device.startswith("cuda")
    other = max(result.text, result.denoising)
    saved = [result.guiding, result.decoding]
    if not result.memory.save_memory:
        bones.model.save_memory()
        saved[0] = _guided_cost(bones, shape, result.passes.samples, controls, not on_gpu).memory
        saved[1] = _decoding_cost(bones, shape, not on_gpu).memory

    half = bones.dtype if bones.dtype in HALF else "bfloat16"
    halves = ("", half) if result.dtype == "float32" else ("",)
    found = []
    for dtype in halves:
        for save_memory in (False, True):
            for placing in ("", "--quantize int8", *(("--offload",) if on_gpu else ())):
                factor = 0.5 if dtype else 1.0
                weights = factor * sum(result.weights.values())
                if placing == "--offload":
                    weights = factor * _on_device(bones, result.weights, True)
                elif placing:
                    weights = sum(_weights(bones, "int8").values())
                stage = max(other, *(saved if save_memory else (result.guiding, result.decoding)))
                options = [f"--dtype {dtype}" if dtype else "", placing, "--save-memory" if save_memory else ""]
                if weights + factor * stage <= result.free:
                    found.append(" ".join(filter(None, options)))
    return tuple(sorted(found, key=lambda options: (options.count("--"), options)))[:3]
