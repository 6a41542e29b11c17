"""The command that says before any download whether a render fits this machine, and how long it takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson

if TYPE_CHECKING:
    from ..rehearsal import Rehearsal

UNITS = ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))


def rehearse(
    model: Annotated[str, typer.Argument(help="A name of `animatic models`, or a model folder.")],
    method: Annotated[str, typer.Option(help="A name of `animatic methods`.")] = "lvd",
    frames: Annotated[int | None, typer.Option(help="Number of frames; the model's own if not given.")] = None,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; the model's own if not given.")] = "",
    seconds: Annotated[float | None, typer.Option(help="Of the video; beyond a clip of the model, in windows.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's own if not given.")] = None,
    objects: Annotated[int, typer.Option(min=1, help="Objects of the scene: lmd makes each on its own.")] = 2,
    dtype: Annotated[str, typer.Option(help="Weights in float32, bfloat16 or float16.")] = "",
    quantize: Annotated[str, typer.Option(help="Weights in int8 or fp8; needs torchao.")] = "",
    offload: Annotated[bool, typer.Option(help="Weights wait in main memory.")] = False,
    save_memory: Annotated[bool, typer.Option(help="Guided passes compute twice rather than keep.")] = False,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:SCALE[:NETWORK]]", help="A LoRA; may be repeated.")
    ] = None,
    embedding: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:WORD]", help="Of textual inversion; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a render fits this machine, and its memory, operations, time and download. Fetches nothing."""
    from .. import rehearsal
    from ..video import parse_size

    result = rehearsal.rehearse(
        model,
        method,
        frames=frames,
        size=parse_size(size) if size else None,
        steps=steps,
        dtype=dtype,
        quantize=quantize,
        offload=offload,
        save_memory=save_memory,
        objects=objects,
        seconds=seconds,
        loras=lora or (),
        embeddings=embedding or (),
    )
    if as_json:
        print(json.dumps(result.to_dict()))
        return
    for text in report(result):
        print(text)  # the answer, on stdout in a pipe too


def report(result: Rehearsal) -> list[str]:
    """The lines that are printed."""
    clip = f"{result.frames} frames of {result.width}x{result.height}, {result.steps} steps, {result.dtype}"
    parts = ", ".join(f"{part} {_gigabytes(size)}" for part, size in result.weights.items())
    passes = result.passes
    steps = f"{passes.predictions} steps of {_operations(result.step_flops)}"
    guided = ""
    if passes.guided:
        guided = f", {passes.guided} guided passes of {_operations(result.guided_flops)} at most"
    download = "size not known" if result.download is None else _gigabytes(result.download)
    if result.download == 0:
        download = "none"

    lines = [
        f"{result.model}, method {result.method}: {clip}, on {result.device}",
        f"weights     {_gigabytes(sum(result.weights.values()))}: {parts}",
        f"text        {_gigabytes(result.text)}",
        f"denoising   {_gigabytes(result.denoising)}",
    ]
    if passes.guided:
        lines.append(f"guiding     {_gigabytes(result.guiding)}, with what gradients need")
    lines += [
        f"decoding    {_gigabytes(result.decoding)}",
        *([f"adding      {_gigabytes(result.adding)} beside the weights, in main memory"] if result.adding else []),
        f"at most     {_gigabytes(result.peak)} on {result.device}, where {_gigabytes(result.free)} are free",
        f"operations  {_operations(result.flops)}: {steps}{guided}",
        f"time        about {_duration(result.seconds)}",
        f"download    {download}",
    ]
    if result.fits:
        lines.append("it fits")
    elif result.would_fit:
        lines.append(f"it does not fit; it would with {', or '.join(result.would_fit)}")
    else:
        lines.append("it does not fit; want a smaller --size, fewer --frames, or another model")
    return lines


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _operations(flops: int) -> str:
    for unit, name in UNITS:
        if flops >= unit:
            return f"{flops / unit:.1f} {name}"
    return f"{flops:,} FLOP"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
