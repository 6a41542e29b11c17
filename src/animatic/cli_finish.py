"""The command that finishes any video file: more frames, more pixels, more detail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import bar, console
from .errors import AnimaticError

if TYPE_CHECKING:
    from .video import Video

Then = Annotated[
    str,
    typer.Option(
        metavar="STAGE[:FACTOR][:OPTION=VALUE],...",
        help="interpolate, upscale, refine, extend; without a network: blend, motion, lanczos. interpolate:4,upscale:2",
    ),
]
Memory = Annotated[str, typer.Option(help="Most memory a stage may need, such as 8GB; what is free if not given.")]


def finish(
    video: Annotated[Path, typer.Argument(help="Any video or picture file.")],
    then: Then,
    prompt: Annotated[str, typer.Option(help="What it shows; what the file itself says if not given.")] = "",
    negative: Annotated[str, typer.Option(help="What it must not show.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    memory: Memory = "",
    format: Annotated[str, typer.Option(help="One of mp4, gif, webp, png, mkv (nothing lost).")] = "mp4",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    name: Annotated[str, typer.Option(help="Name of the files; that of the video if not given.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")] = False,
) -> None:
    """Finish a video file, stage by stage; results of stages are kept, so that running again goes on."""
    began = time.perf_counter()
    from .video import WRITERS, Video

    if f".{format}" not in WRITERS:
        raise AnimaticError(f"unknown format {format!r}; known: {', '.join(s[1:] for s in WRITERS)}")
    target = out / (name or f"{video.stem}.finished")
    made = through(Video.load(video), then, target, prompt, negative, seed, memory, as_json)
    file = made.save(target.with_name(f"{target.name}.{format}"), scale=1)
    told = {"video": str(file), "frames": len(made), "fps": made.fps, "size": made.frames.shape[2:0:-1]}
    if as_json:
        print(json.dumps({**told, "seconds": round(time.perf_counter() - began, 2)}))
    else:
        console().print(f"video  {file}", highlight=False, soft_wrap=True)


def through(
    video: Video, then: str, target: Path, prompt: str, negative: str, seed: int, memory: str, silent: bool
) -> Video:
    """`video` through the stages of `then`, a bar and a line for each."""
    from .cascade.stages import finish as run
    from .cascade.stages import said, stages_of

    stages, terminal = stages_of(then), console(silent)

    def line(text: str) -> None:
        terminal.print(text, highlight=False, soft_wrap=True)

    if damage := video.info.get("damage"):
        line(f"damaged: {damage}")
    with bar("finishing", silent) as tick:
        say = said(video, prompt, seed, negative=negative, tick=tick)
        return run(video, stages, say, target, size_of(memory), line)


def size_of(told: str) -> int:
    """ "8GB" or "500MB" in bytes; "" is 0."""
    units: dict[str, Callable[[float], float]] = {"GB": lambda n: n * 2**30, "MB": lambda n: n * 2**20}
    number, unit = told[:-2], told[-2:].upper()
    if not told:
        return 0
    if unit not in units or not number.replace(".", "", 1).isdigit():
        raise AnimaticError(f"memory is {told!r}; want a number and GB or MB, such as 8GB")
    return int(units[unit](float(number)))


def add_to(app: typer.Typer) -> None:
    app.command()(finish)
