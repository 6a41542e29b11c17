"""The command that finishes any video file: more frames, more pixels, more detail."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import AnimaticError
from ..files import fresh_path
from ..media.encoding import FORMATS
from ..media.reading import probe
from ..request import FinishingOptions, GenerationRequest
from ..video import Video, as_generated
from .console import bar, line
from .options import AsJson
from .outputs import DEFAULT, Out, Target, check_name

STAGE = "STAGE[:FACTOR][:OPTION=VALUE],..."
STAGES = "interpolate, upscale, refine, extend; without a network: blend, motion, lanczos. motion:4,upscale:2"


def finish(
    video: Annotated[Path, typer.Argument(help="Any video or picture file.")],
    then: Annotated[str, typer.Option(metavar=STAGE, help=STAGES)],
    prompt: Annotated[str, typer.Option(help="What it shows; what the file itself says if not given.")] = "",
    negative: Annotated[
        str | None, typer.Option(help="What not to show, instead of the finishers' own words for it; '' for none.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the noise; the file's own, or 0, if not given.")] = None,
    memory: Annotated[
        str, typer.Option(help="Most memory a stage may need, such as 8GB; what is free if not given.")
    ] = "",
    format: Annotated[str, typer.Option(help=f"One of {FORMATS}; mp4 if not given.")] = "",
    out: Out = DEFAULT,
    name: Annotated[str, typer.Option(help="Name of the file in the folder; that of the video if not given.")] = "",
    as_json: AsJson = False,
) -> None:
    """Finish a video file, stage by stage; results of stages are kept, so that running again goes on.

    The frames are those of the file, in the size that they were generated in. `render FILE --then` makes them again
    first, without what compression took.
    """
    from ..finishing.checks import check_plan, resolved
    from ..finishing.stage import Shape
    from ..finishing.stages import finish as run
    from ..finishing.stages import same_result, stage_context, stages_of

    began = time.perf_counter()

    # what cannot be done, or needs more memory than there is, is refused before more than the first frame is decoded
    probed, most = probe(video), _bytes(memory)
    check_name(out, name)
    target = Target.of(out, name or f"{video.stem}.finished", format)
    if len(target.formats) > 1:
        raise AnimaticError(f"format is {', '.join(target.formats)}; finish writes one file: want one of them")
    request = GenerationRequest.of(probed.info, video) if "request" in probed.info else None
    options, used = _options(FinishingOptions(then, prompt, negative, seed), request)
    context = stage_context(
        probed, used.prompt, used.seed or 0, negative=_negative(request), negative_override=used.negative
    )
    stages = resolved(stages_of(then), context.source_model)
    shape = Shape(probed.frames, probed.height, probed.width, probed.fps)
    if request is not None and not request.finishing.stages:
        shape = _generated_shape(shape, request)
    check_plan(shape, stages, context, most)

    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        line(text, as_json)

    # the frames, in the size that they were generated in
    given = Video.load(video, most)
    if damage := given.info.get("damage"):
        note(f"damaged: {damage}")
    if (shape.width, shape.height) != (probed.width, probed.height):
        given = as_generated(given, (shape.width, shape.height))
    with bar("finishing", as_json) as tick:
        made = run(given, stages, replace(context, progress=tick), target.path, most, note)
    made = replace(made, info=_info(made, request, options, note))

    # the same result may be written again; another's name is not taken
    wanted = target.videos[0]
    file = fresh_path(wanted, partial(same_result, key=made.info["key"]))
    if file != wanted:
        note(f"{wanted} is another result and stays as it is")
    for loss in made.losses(file.suffix):
        note(loss)
    made.save(file, scale=1)
    line(f"video  {file}", as_json)
    if as_json:
        result = {"video": str(file), "frames": len(made), "fps": made.fps, "size": made.frames.shape[2:0:-1]}
        print(json.dumps({**result, "seconds": round(time.perf_counter() - began, 2), "notes": notes}))


def _options(given: FinishingOptions, request: GenerationRequest | None) -> tuple[FinishingOptions, FinishingOptions]:
    """The options to record, None where they are the request's own, and those to use, with nothing left open."""
    if request is None:
        return given, replace(given, seed=given.seed or 0)
    sampling = request.sampling
    recorded = replace(
        given,
        seed=None if given.seed == sampling.seed else given.seed,
        negative=None if given.negative == sampling.negative else given.negative,
    )
    used = replace(
        given,
        seed=sampling.seed if given.seed is None else given.seed,
        negative=sampling.negative if given.negative is None else given.negative,
    )
    return recorded, used


def _negative(request: GenerationRequest | None) -> str:
    """The negative prompts of a request's scenes."""
    scenes = request.story if request else ()
    return ", ".join(dict.fromkeys(scene.negative for scene in scenes if scene.negative))


def _generated_shape(shape: Any, request: GenerationRequest) -> Any:
    """The shape of a video in the size that it was generated in; small ones are enlarged in their files."""
    if request.sampling.size is None:
        return shape
    width, height = request.sampling.size
    scale = shape.width // width
    is_enlarged = scale > 1 and (shape.width, shape.height) == (scale * width, scale * height)
    return replace(shape, width=width, height=height) if is_enlarged else shape


def _info(made: Video, request: GenerationRequest | None, options: FinishingOptions, note: Any) -> dict[str, Any]:
    """The metadata of the result: its request is that of the input, with these stages after its own."""
    info = dict(made.info)
    if request is None:
        return info
    before = request.finishing
    if before.stages and replace(before, stages="") != replace(options, stages=""):
        note("the file carries no request: its stages were given different prompts or seeds")
        del info["request"]
        return info

    # with this request the whole chain is made again, from the prompt on
    info["request"] = request.finished_by(options).to_dict()
    return info


def _bytes(text: str) -> int:
    """ "8GB" or "500MB" in bytes; "" is 0."""
    if not text:
        return 0
    # units of 1024, as memory is counted
    match = re.fullmatch(r"(\d+(?:\.\d*)?)([MG])B", text.upper())
    if not match:
        raise AnimaticError(f"memory is {text!r}; want a number and GB or MB, such as 8GB")
    size = int(float(match[1]) * {"M": 2**20, "G": 2**30}[match[2]])
    if not size:
        raise AnimaticError(f"memory is {text!r}; want more than 0, such as 8GB")
    return size
