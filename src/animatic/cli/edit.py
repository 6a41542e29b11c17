"""The command that edits: a video made again with other words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ..core.model_options import MODEL_OF_WORDS
from ..errors import AnimaticError
from ..media.frame_buffer import check_memory, most_bytes
from ..media.reading import probe
from ..request import FinishingOptions, GenerationRequest, WindowOptions
from ..request_files import request_in
from ..scene import Scene, Story
from ..story_edit import Edit
from ..video import Video, as_generated, side_by_side
from .console import console, line
from .outputs import DEFAULT, Out, Target
from .requested import Choices, Sampling, is_other_model, recorded, requested
from .video import Terminal

T = TypeVar("T")
INVERTED = 6  # times its frames that an inverted video takes: bytes, floats for the encoder, and what is decoded


def edit(
    source: Annotated[Path, typer.Argument(help="A scene or story file, or a video.", metavar="VIDEO_OR_SCENE")],
    *,
    choices: Choices,
    sampling: Sampling,
    swap: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="A word for another; repeatable.")] = None,
    weight: Annotated[
        list[str] | None, typer.Option(metavar="WORD=FACTOR", help="More or less of a word; repeatable.")
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="A whole new prompt; of a story A | B | ... Words added are refined.")
    ] = "",
    blend: Annotated[bool, typer.Option(help="Change only what attends to the changed words.")] = False,
    invert: Annotated[str, typer.Option(metavar="CAPTION", help="Edit these very frames: what they show.")] = "",
    out: Out = DEFAULT,
) -> None:
    """Make a video again with words exchanged, added, or of more or less weight; what they do not name stays.

    A video that animatic made is made again as it was made, from what its file says; of any other, --invert finds the
    noise. Options about the making are the video's own if not given.
    """
    target = Target.of(out, f"{source.stem}.edit")
    swaps, factors = _pairs("swap", swap, str, "dog=cat"), _pairs("weight", weight, float, "pink=2")
    change = Edit(swaps, factors, prompt, blend)
    request, clip = _source(source, choices, invert)
    request = requested(request, choices, sampling)
    _print_lost(request.story, change)
    if invert:
        unused = [name for name in ("seed", "frames", "scheduler") if sampling.get(name) not in (None, "")]
        if unused:
            line(f"without effect under --invert, which takes noise and frames of the video: --{', --'.join(unused)}")

    with console().status("loading"):
        from ..binding import load_model
        from ..generation import generate_versions

        model = load_model(request)
    if clip is not None:
        native = (model.geometry.width, model.geometry.height)
        clip = as_generated(clip, request.sampling.size or native)
        sides = (clip.frames.shape[2], clip.frames.shape[1])
        if request.sampling.size is None:  # the frames themselves are edited, whatever the model makes by itself
            request = request.with_sampling(size=sides)
            if sides != native:
                made_for = f"{model.name} was made for {native[0]}x{native[1]}"
                line(f"the video measures {sides[0]}x{sides[1]}; {made_for} and may do worse")
        request = replace(request, inverted=clip.digest)

    terminal = Terminal(silent=False)
    try:
        versions = generate_versions(request.edited(change), model, [terminal], video=clip)
    finally:
        terminal.close()

    # both files are of the edit: shown beside its source, it is no other video
    before, after = versions[-2:]
    comparison = replace(side_by_side([before, after]), info=after.info)
    (suffix,) = target.formats
    endings = (f".{suffix}", f".beside.{suffix}")
    target = target.free(after.request, endings)
    for shown, ending in zip((after, comparison), endings, strict=True):
        print(shown.save(target.file(ending)))


def _source(source: Path, choices: Choices, invert: str) -> tuple[GenerationRequest, Video | None]:
    """What is edited: the request of a file, and with `invert` its frames.

    Raises where the file does not say how it was made.
    """
    if not invert:
        request = recorded(source, choices)
        if request.inverted:
            raise AnimaticError(
                f"{source}: is an edit of another video's frames; edit that one, or say --invert CAPTION"
            )
        if request.finishing.stages:
            line(f"{source} was finished by {request.finishing.stages}: the edit is of the video before that")
        return replace(request, finishing=FinishingOptions()), None

    if source.suffix == ".json":
        raise AnimaticError(f"{source}: has no frames to invert; want a video, or no --invert")

    # what the model needs at the least, counted before any frame but the first is decoded
    found = probe(source)
    check_memory(source, found.frames, found.height, found.width, most_bytes() // INVERTED)
    video = Video.load(source)
    if damage := video.info.get("damage"):
        line(f"damaged: {damage}")
    scene = Scene(invert, seconds=len(video) / video.fps)
    made = request_in(source) if "request" in video.info else None
    if made is None or is_other_model(choices.model, made.model):
        return GenerationRequest((scene,), MODEL_OF_WORDS, method="none", windows=WindowOptions(False)), video
    made = recorded(source, choices)
    request = GenerationRequest(
        (scene,),
        made.model,
        made.loras,
        made.embeddings,
        method="none",
        sampling=replace(made.sampling, frames=None),
        windows=WindowOptions(False),
    )
    return request, video


def _print_lost(story: Story, change: Edit) -> None:
    """Say which boxes and backgrounds a whole new prompt has no use for."""
    if not change.prompt:
        return
    kept = {track.phrase for scene in change.of_story(story) for track in scene.tracks}
    lost = dict.fromkeys(t.phrase for scene in story for t in scene.tracks if t.phrase not in kept)
    if lost:
        line(f"the new prompt does not name {', '.join(lost)}: without those boxes the edit is not steered by them")
    for background in dict.fromkeys(scene.background for scene in story if scene.background):
        line(f"the new prompt stands for the background {background!r}, too")


def _pairs(option: str, texts: Sequence[str] | None, kind: Callable[[str], T], like: str) -> dict[str, T]:
    """WORD=VALUE options as a dict; `like` is an example for the message where one is not."""
    pairs: dict[str, T] = {}
    for text in texts or ():
        word, value = (part.strip() for part in text.partition("=")[::2])
        if not (word and value):
            raise AnimaticError(f"{option} is {text!r}; want {like}")
        if word in pairs:
            raise AnimaticError(f"{option} of {word!r} is given twice; want one of them")
        try:
            pairs[word] = kind(value)
        except ValueError:
            raise AnimaticError(f"{option} of {word!r} is {value!r}; want a number, such as 2 or 0.5") from None
    return pairs
