"""The command that finishes any video file: more frames, more pixels, more detail."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AnimaticError
from ..files import check_writable, fresh_path
from ..media.encoding import FORMATS, check_format
from ..media.reading import probe
from ..video import Video
from .console import bar, line
from .options import AsJson

if TYPE_CHECKING:  # the stages need torch, which takes seconds to load
    from ..finishing.stage import Stage, StageContext

STAGE = "STAGE[:FACTOR][:OPTION=VALUE],..."
STAGES = "interpolate, upscale, refine, extend; without a network: blend, motion, lanczos. interpolate:4,upscale:2"


def finish(
    video: Annotated[Path, typer.Argument(help="Any video or picture file.")],
    then: Annotated[str, typer.Option(metavar=STAGE, help=STAGES)],
    prompt: Annotated[str, typer.Option(help="What it shows; what the file itself says if not given.")] = "",
    negative: Annotated[
        str | None, typer.Option(help="What not to show, instead of the finishers' own words for it; '' for none.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    memory: Annotated[
        str, typer.Option(help="Most memory a stage may need, such as 8GB; what is free if not given.")
    ] = "",
    format: Annotated[str, typer.Option(help=f"One of {FORMATS}.")] = "mp4",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    name: Annotated[str, typer.Option(help="Name of the files; that of the video if not given.")] = "",
    as_json: AsJson = False,
) -> None:
    """Finish a video file, stage by stage; results of stages are kept, so that running again goes on."""
    from ..finishing.checks import check_plan, resolved
    from ..finishing.stage import Shape
    from ..finishing.stages import same_result, stage_context, stages_of

    began = time.perf_counter()
    suffix = f".{format}"
    check_format(format)
    target = out / (name or f"{video.stem}.finished")

    # What cannot be done, or needs more memory than there is, is refused before more than the first frame is decoded.
    probed, most = probe(video), _bytes(memory)
    check_writable(target)
    say = stage_context(probed, prompt, seed, negative_override=negative)
    stages = resolved(stages_of(then), say.source_model)
    check_plan(Shape(probed.frames, probed.height, probed.width, probed.fps), stages, say, most)

    notes: list[str] = []

    def tell(text: str) -> None:
        notes.append(text)
        line(text, as_json)

    made = _through(Video.load(video, most), stages, say, target, most, tell, as_json)

    # The same result may be written again; another's name is not taken.
    wanted = target.with_name(f"{target.name}{suffix}")
    file = fresh_path(wanted, partial(same_result, key=made.info["key"]))
    if file != wanted:
        tell(f"{wanted} is another result and stays as it is")
    for loss in made.losses(suffix):
        tell(loss)
    made.save(file, scale=1)
    line(f"video  {file}", as_json)
    if as_json:
        result = {"video": str(file), "frames": len(made), "fps": made.fps, "size": made.frames.shape[2:0:-1]}
        print(json.dumps({**result, "seconds": round(time.perf_counter() - began, 2), "notes": notes}))


def through(
    video: Video, then: str, target: Path, seed: int, prompt: str = "", negative: str = "",
    instead: str | None = None, memory: str = "", silent: bool = False,
) -> Video:  # fmt: skip
    """`video` through the stages of `then`, a bar and a line for each."""
    from ..finishing.stages import stage_context, stages_of

    say = stage_context(video, prompt, seed, negative=negative, negative_override=instead)
    return _through(video, stages_of(then), say, target, _bytes(memory), partial(line, silent=silent), silent)


def _through(
    video: Video, stages: Sequence[tuple[str, Stage]], say: StageContext, target: Path, memory: int,
    tell: Callable[[str], None], silent: bool,
) -> Video:  # fmt: skip
    from ..finishing.stages import finish as run

    if damage := video.info.get("damage"):
        tell(f"damaged: {damage}")
    with bar("finishing", silent) as tick:
        return run(video, stages, replace(say, progress=tick), target, memory, tell)


def _bytes(told: str) -> int:
    """ "8GB" or "500MB" in bytes; "" is 0."""
    if not told:
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d*)?)([MG])B", told.upper())
    if not match:
        raise AnimaticError(f"memory is {told!r}; want a number and GB or MB, such as 8GB")
    size = int(float(match[1]) * {"M": 2**20, "G": 2**30}[match[2]])
    if not size:
        raise AnimaticError(f"memory is {told!r}; want more than 0, such as 8GB")
    return size
