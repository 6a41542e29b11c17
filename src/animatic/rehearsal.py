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

import torch
import torch.nn.functional as F

from .backbones.skeleton import Skeleton, skeleton
from .core.backbone import MemoryOptions
from .core.control import Control
from .errors import AnimaticError
from .free_memory import free_memory
from .methods import MethodLike, as_method
from .methods.requirements import check_method
from .quiet import quiet
from .rehearsal_adapters import added_memory
from .rehearsal_costs import (
    Passes,
    cast,
    decoding_cost,
    give_image,
    guided_cost,
    in_windows,
    passes_of,
    prediction_cost,
    text_cost,
    windows_of,
)
from .rehearsal_weights import bytes_on_device, bytes_to_download, weights_of
from .request_checks import sides_of

SECONDS = 1.0  # of the measurement of the device
HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class Rehearsal:
    """What a render needs; sizes in bytes of tensors, `seconds` by the speed of `device`.

    `weights`: by part. `text`, `denoising`, `guiding` and `decoding`: most activations at once of each stage, guided
    passes with what their gradients need. `adding`: beside the weights while LoRAs and embeddings are added. `peak`:
    the most on the device, `main_memory`: in main memory, where weights wait, or are changed, there. `free` and `fits`:
    of the device. `would_fit`: memory options with which it would fit, () where it does or none helps. `step_flops`: of
    a step without guided passes, `guided_flops`: of one guided pass, `flops`: of all. `download`: bytes that the hub
    sends; None where the files' sizes are not known, 0 for a folder.
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
    adding: int
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
    seconds: float | None = None,
    device: str = "",
    speed: float | None = None,
    loras: Sequence[str | tuple[str, float, str]] = (),
    embeddings: Sequence[str | tuple[str, str]] = (),
) -> Rehearsal:
    """Whether a render fits this machine, and what it costs. No weights are fetched or read.

    `model`: a name of PRESETS or a folder. `size`: (width, height) in pixels. `objects`: how many things with boxes the
    scene has, which decides the cost of methods that generate each on its own. `seconds`: how long the video lasts; one
    longer than a clip of the model is made in windows. `speed`: operations a second of the device, which are measured
    if not given. `loras` and `embeddings` are files as those of `render`, which are read. The others are those of
    `render`.

    Raises `AnimaticError` where the model is unknown, or does not make such a clip, or the method does not run on it.
    """
    memory = MemoryOptions(dtype, quantize, offload, save_memory)
    bones = skeleton(model)
    backbone = bones.model
    if not backbone.by_shape:
        reason = "its network sorts tokens by their values, and a rehearsal has shapes alone"
        raise AnimaticError(f"rehearse does not cover {backbone.name}: {reason}; want another model")
    geometry = backbone.geometry
    width, height = sides_of(size or (geometry.width, geometry.height))
    windows = windows_of(geometry, seconds)
    if windows is not None and frames is not None:
        raise AnimaticError(f"frames is {frames}, and seconds is {seconds:g}; want one of them")
    frames = geometry.frames if frames is None else frames
    shape = geometry.latent(frames, height, width)
    if windows is not None:
        frames = geometry.pixel_frames(windows.frames)
    steps = backbone.defaults.steps if steps is None else steps
    if steps < 1:
        raise AnimaticError(f"steps is {steps}; want 1 or more")

    # The device, and the type of the weights there.
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.startswith("cuda")
    weight_type = dtype or (bones.dtype if on_gpu else "float32")
    with quiet():
        cast(bones, getattr(torch, weight_type))

    give_image(backbone, shape)
    chosen = as_method(method)
    controls = chosen.on(backbone)
    check_method(chosen.name, controls, backbone)
    passes = passes_of(controls, steps, objects)
    if chosen.guidance_on(backbone) == 1:
        passes = replace(passes, branches=passes.branches // 2, evaluated=passes.evaluated // 2)
    whole = shape if windows is None else (shape[0], windows.frames, *shape[2:])
    if windows is not None:
        passes = in_windows(passes, len(windows.windows))
    if save_memory:
        backbone.save_memory()

    # Each stage by itself: its tensors are gone when the next one begins.
    text = text_cost(bones, not on_gpu)
    prediction = prediction_cost(bones, shape, passes.branches, controls, not on_gpu)
    guided = guided_cost(bones, shape, passes.samples, controls, not on_gpu)
    decoding = decoding_cost(bones, whole, not on_gpu)
    peaks = [cost.memory for cost in (text, prediction, guided, decoding)]

    weights = weights_of(bones, quantize)
    added = added_memory(bones, loras, embeddings, weight_type)
    if added.vectors:
        weights["embeddings"] = added.vectors
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else free_memory()
    peak = bytes_on_device(bones, weights, offload and on_gpu) + max(peaks)

    # Files are added in main memory, before the weights are on their device.
    main_memory = sum(weights.values()) if offload or not on_gpu else 0
    if added.reading:
        main_memory = max(main_memory, sum(weights.values()) + added.reading)
    if not on_gpu:
        peak = max(peak, main_memory)

    # Batches differ in their number of entries: the costs of one entry, times all of them.
    flops = text.flops + decoding.flops
    flops += prediction.flops * passes.evaluated // passes.branches
    flops += guided.flops * passes.differentiated // passes.samples
    fits = peak <= free
    if speed is None:
        speed = speed_of(device, weight_type)
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
        adding=added.reading,
        peak=peak,
        main_memory=main_memory,
        free=free,
        fits=fits,
        would_fit=(),
        passes=passes,
        step_flops=prediction.flops * passes.evaluated // (passes.branches * passes.predictions),
        guided_flops=guided.flops * passes.differentiated // (passes.samples * max(1, passes.guided)),
        flops=flops,
        seconds=flops / speed,
        download=bytes_to_download(bones, weight_type, memory),
    )
    return result if fits else replace(result, would_fit=_helpful(result, bones, controls, shape, whole))


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


def _helpful(
    result: Rehearsal, bones: Skeleton, controls: Sequence[Control], shape: Sequence[int], whole: Sequence[int]
) -> tuple[str, ...]:
    """The memory options with which it would fit, fewest first; activations in half precision take half."""
    on_gpu = result.device.startswith("cuda")
    other = max(result.text, result.denoising)
    saved = [result.guiding, result.decoding]
    if not result.memory.save_memory:
        bones.model.save_memory()
        saved[0] = guided_cost(bones, shape, result.passes.samples, controls, not on_gpu).memory
        saved[1] = decoding_cost(bones, whole, not on_gpu).memory

    half = bones.dtype if bones.dtype in HALF else "bfloat16"
    halves = ("", half) if result.dtype == "float32" else ("",)
    found = []
    for dtype in halves:
        for save_memory in (False, True):
            for placing in ("", "--quantize int8", *(("--offload",) if on_gpu else ())):
                factor = 0.5 if dtype else 1.0
                weights = factor * sum(result.weights.values())
                if placing == "--offload":
                    weights = factor * bytes_on_device(bones, result.weights, True)
                elif placing:
                    weights = sum(weights_of(bones, "int8").values())
                stage = max(other, *(saved if save_memory else (result.guiding, result.decoding)))
                options = [f"--dtype {dtype}" if dtype else "", placing, "--save-memory" if save_memory else ""]
                if weights + factor * stage <= result.free:
                    found.append(" ".join(filter(None, options)))
    return tuple(sorted(found, key=lambda options: (options.count("--"), options)))[:3]
