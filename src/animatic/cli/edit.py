"""The command that edits: a video made again with other words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
import typer

from ..errors import AnimaticError
from ..files import check_writable
from ..scene import Scene, Story, load_story
from ..video import Video, side_by_side
from .console import bar, console, line
from .sampling import Sampling, free_name, how_of, loaded

if TYPE_CHECKING:
    from ..request import Edit, GenerationRequest

T = TypeVar("T")


def edit(
    source: Annotated[Path, typer.Argument(help="A scene or story file, or a video.", metavar="VIDEO_OR_SCENE")],
    sampling: Sampling,
    swap: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="A word for another; repeatable.")] = None,
    weight: Annotated[
        list[str] | None, typer.Option(metavar="WORD=FACTOR", help="More or less of a word; repeatable.")
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="A whole new prompt; of a story A | B | ... Words added are refined.")
    ] = "",
    blend: Annotated[bool, typer.Option(help="Change only where the changed words are looked at.")] = False,
    invert: Annotated[str, typer.Option(metavar="CAPTION", help="Edit these very frames: what they show.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
) -> None:
    """Make a video again with words exchanged, added, or of more or less weight; what they do not name stays.

    A video that animatic made is made again as it was made, from what its file says; of any other, --invert finds the
    noise. Options about the making are the video's own if not given.
    """
    target = out / f"{source.stem}.edit"
    check_writable(target)
    swaps, factors = _pairs("swap", swap, str, "dog=cat"), _pairs("weight", weight, float, "pink=2")
    with console().status("loading"):
        from ..controls.watching import Progress
        from ..editing import Edit, render_edit
        from ..generation import laid_out
        from ..methods import method_named
        from ..request import GenerationRequest

        change = Edit(swaps, factors, prompt, blend)
        video = None if source.suffix == ".json" else Video.load(source)
        request = _recorded(source, video, invert, bool(sampling.lora))
        form_is_known = video is not None
        if video is not None and "model" in video.info and _is_other(sampling.model, request.model):
            line(f"the video was made by {request.model}; what it was made with otherwise is {sampling.model}'s own")
            request = GenerationRequest(request.story, method=request.method, seed=request.seed, edits=request.edits)
            form_is_known = bool(invert)
        request = sampling.over(request)
        model = loaded(request)
        _tell_lost(request.story, change)
        idle = [
            name for name in ("seed", "frames", "scheduler") if invert and getattr(sampling, name) not in (None, "")
        ]
        if idle:
            line(f"without effect under --invert, which takes noise and frames of the video: --{', --'.join(idle)}")

    story = request.story
    if not form_is_known:  # seen at once or in windows: that hangs on the model
        layout = method_named(request.method).layout_with(request.overlap, request.transitions, request.longer_middle)
        request = replace(request, windowed=not isinstance(laid_out(story, model, request.frames, layout), Scene))
    clip = None
    if invert and video is not None:
        native = (model.geometry.width, model.geometry.height)
        clip = as_generated(video, request.size or native)
        if request.size is None:  # the frames themselves are edited, whatever the model makes by itself
            request = replace(request, size=(clip.frames.shape[2], clip.frames.shape[1]))
            if request.size != native:
                made_for = f"{model.name} was made for {native[0]}x{native[1]}"
                line(f"the video measures {clip.frames.shape[2]}x{clip.frames.shape[1]}; {made_for} and may do worse")
    with bar("editing") as tick:
        made = render_edit(
            story if request.windowed else story[0], [*request.edits, change], model, request.method, request.seed,
            video=clip, overlap=request.overlap, transitions=request.transitions, longer_middle=request.longer_middle,
            **how_of(request, [Progress(tick)]),
        )  # fmt: skip

    # both files are of the edit: shown beside its source, it is no other video
    beside = replace(side_by_side(made), info=made[1].info)
    request = GenerationRequest.of(made[1].info, "the edit")
    target = free_name(target, request, (".mp4", ".beside.mp4"))
    for shown, suffix in ((made[1], ".mp4"), (beside, ".beside.mp4")):
        print(shown.save(target.with_name(target.name + suffix)))


def _tell_lost(story: Story, change: Edit) -> None:
    """Say which boxes and backgrounds a whole new prompt has no use for."""
    if change.prompt:
        kept = {track.phrase for scene in change.of_story(story) for track in scene.tracks}
        lost = dict.fromkeys(t.phrase for scene in story for t in scene.tracks if t.phrase not in kept)
        if lost:
            line(f"the new prompt does not name {', '.join(lost)}: without those boxes the edit is not steered by them")
        for background in dict.fromkeys(scene.background for scene in story if scene.background):
            line(f"the new prompt stands for the background {background!r}, too")


def _recorded(source: Path, video: Video | None, invert: str, with_lora: bool) -> GenerationRequest:
    """How a file was made, as far as it is said; what is assumed beyond that is told.

    Raises where that is not enough. `with_lora`: LoRAs are given on the command line.
    """
    from ..request import GenerationRequest

    if video is None:
        return GenerationRequest(load_story(source))
    info = video.info
    if invert:
        if damage := info.get("damage"):
            line(f"damaged: {damage}")
        request = GenerationRequest.of(info, source) if "request" in info else GenerationRequest((Scene(invert),))
        scene = Scene(invert, seconds=len(video) / video.fps)
        return replace(
            request,
            story=(scene,),
            stages="",
            method="none",
            settings={},
            frames=None,
            windowed=False,
            edits=(),
            inverted="",
        )
    if "request" not in info:
        request = GenerationRequest.before_requests(info, source, len(video))
        if " + " in str(info.get("model", "")) and not with_lora:
            raise AnimaticError(
                f"{source}: was made with {info['model']} and does not say where that is; want --lora FILE"
            )
        unsaid = "guidance, size and negative words"
        line(f"{source} does not say with what {unsaid} it was made: {request.model}'s own are taken")
        return request
    request = GenerationRequest.of(info, source)
    if request.inverted:
        raise AnimaticError(f"{source}: is an edit of another video's frames; edit that one, or say --invert CAPTION")
    if request.stages:
        line(f"{source} was finished by {request.stages}: the edit is of the video before that")
    return replace(request, stages="")


def _is_other(model: str | None, recorded: str) -> bool:
    """Whether another model is asked for than that of the file, which names folders by their whole path."""
    return model is not None and recorded not in (model, str(Path(model).resolve()))


def as_generated(video: Video, size: tuple[int, int]) -> Video:
    """A video that animatic enlarged when it wrote the file, at the `size` (width, height) it was generated in."""
    height, width = video.frames.shape[1:3]
    scale = width // size[0]
    if not video.info or scale < 2 or (width, height) != (scale * size[0], scale * size[1]):
        return video
    squares = video.frames.reshape(len(video), size[1], scale, size[0], scale, 3)
    return replace(video, frames=(squares.mean((2, 4)) + 0.5).astype(np.uint8))


def _pairs(option: str, told: Sequence[str] | None, kind: Callable[[str], T], like: str) -> dict[str, T]:
    pairs: dict[str, T] = {}
    for text in told or ():
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
