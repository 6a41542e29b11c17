"""The command that finishes any video file: more frames, more pixels, more detail."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .console import bar, line
from .errors import AnimaticError
from .encoding import WRITERS
from .options import AsJson
from .video import Video

STAGE = "STAGE[:FACTOR][:OPTION=VALUE],..."
STAGES = "interpolate, upscale, refine, extend; without a network: blend, motion, lanczos. interpolate:4,upscale:2"


def finish(
    video: Annotated[Path, typer.Argument(help="Any video or picture file.")],
    then: Annotated[str, typer.Option(metavar=STAGE, help=STAGES)],
    prompt: Annotated[str, typer.Option(help="What it shows; what the file itself says if not given.")] = "",
    negative: Annotated[str, typer.Option(help="What it must not show.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    memory: Annotated[
        str, typer.Option(help="Most memory a stage may need, such as 8GB; what is free if not given.")
    ] = "",
    format: Annotated[str, typer.Option(help="One of mp4, gif, webp, png, mkv (nothing lost).")] = "mp4",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    name: Annotated[str, typer.Option(help="Name of the files; that of the video if not given.")] = "",
    as_json: AsJson = False,
) -> None:
    """Finish a video file, stage by stage; results of stages are kept, so that running again goes on."""
    began = time.perf_counter()
    if f".{format}" not in WRITERS:
        raise AnimaticError(f"unknown format {format!r}; known: {', '.join(s[1:] for s in WRITERS)}")
    target = out / (name or f"{video.stem}.finished")
    made = through(Video.load(video), then, target, seed, prompt, negative, memory, as_json)
    file = made.save(target.with_name(f"{target.name}.{format}"), scale=1)
    line(f"video  {file}", as_json)
    if as_json:
        told = {"video": str(file), "frames": len(made), "fps": made.fps, "size": made.frames.shape[2:0:-1]}
        print(json.dumps({**told, "seconds": round(time.perf_counter() - began, 2)}))


def through(
    video: Video, then: str, target: Path, seed: int, prompt: str = "", negative: str = "", memory: str = "",
    silent: bool = False,
) -> Video:  # fmt: skip
    """`video` through the stages of `then`, a bar and a line for each."""
    from .cascade.stages import finish as run
    from .cascade.stages import said, stages_of

    stages = stages_of(then)
    if damage := video.info.get("damage"):
        line(f"damaged: {damage}", silent)
    with bar("finishing", silent) as tick:
        say = said(video, prompt, seed, negative=negative, tick=tick)
        return run(video, stages, say, target, _bytes(memory), partial(line, silent=silent))


def _bytes(told: str) -> int:
    """ "8GB" or "500MB" in bytes; "" is 0."""
    if not told:
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d*)?)([MG])B", told.upper())
    if not match:
        raise AnimaticError(f"memory is {told!r}; want a number and GB or MB, such as 8GB")
    return int(float(match[1]) * {"M": 2**20, "G": 2**30}[match[2]])
