"""Commands that make videos: of a prompt, of a text of several scenes, of a scene file."""

from __future__ import annotations

import json
import os
import re
import time
import unicodedata
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.options import option
from ..errors import AnimaticError
from ..files import check_writable, read_text, write_atomically
from ..media.encoding import FORMATS, WRITERS, check_format
from ..planning.planners import PlannerOptions, default_cache, planner_named
from ..scene import Scene, Story, lasting, load_story, save_story
from ..video import contact_sheet, png
from . import finish as cli_finish
from . import plan as cli_plan
from .console import bar, console, line
from .options import AsJson
from .prompts import ASKED
from .sampling import RENDER, Sampling, free_name, how_of, loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.backbone import Backbone, Geometry
    from ..finishing.stage import Shape
    from ..request import GenerationRequest
    from ..timeline import Timeline

LONG = "ditctrl+lvd"  # the method of stories, and of scenes longer than a model's clip, where none is given
Repeats = Annotated[int, typer.Option(min=1, help="Videos of each of --prompts, their seeds 6789 apart.")]


@dataclass(frozen=True)
class Shot(Sampling):
    """What `make` and `render` are told alike: each field an option."""

    seconds: float | None = option(None, "Duration; longer than the model's own is made in windows.")
    fps: float | None = option(None, "Frames per second, the model's own if not given: DiTCtrl shows CogVideoX at 16.")
    format: str = option("mp4", f"One or more, with commas: {FORMATS}.")
    out: Path = option(Path("out"), "Folder for the results.")  # noqa: RUF009 - a field
    name: str = option("", "Name of the files; made from the prompt if not given.")
    overlap: str = option("", "Of a story's windows, as part of one, such as 0.5 or 9/13; else the method's.", "PART")
    transitions: int | None = option(None, "Windows between two scenes that are given a mix of both prompts.")
    longer_middle: int | None = option(None, "Further windows of scenes between others (ditctrl:published).")
    save_attention: bool = option(False, "Also write where each thing's words were looked at: a gif.")
    attention_of: str = option(
        "", "Also write it layer by layer: globs and numbers, with commas; png.", "LAYERS[@STEPS]"
    )
    attention_back: bool = option(False, "What words look at, not who looks at them (CogVideoX).")
    attention_within: str = option(
        "", "Also write how words attend to words, and the video to itself in space and time; npy, png.",
        "LAYERS[@STEPS]",
    )  # fmt: skip
    save_masks: bool = option(False, "Also write the masks by which windows share (ditctrl:masked); npy, png.")
    then: str = option("", cli_finish.STAGES, cli_finish.STAGE)

    @property
    def windows(self) -> dict[str, Any]:
        """How windows lie over a story, see `render_story`; None is the method's own."""
        overlap = parse_part(self.overlap) if self.overlap else None
        return {"overlap": overlap, "transitions": self.transitions, "longer_middle": self.longer_middle}


def make(
    prompt: Annotated[str | None, typer.Argument(help="What to show, in English.")] = None,
    story: Annotated[
        str, typer.Option(metavar="FILE|TEXT", help="Several scenes in a row: a file, or a text to plan.")
    ] = "",
    prompts: Annotated[
        Path | None, typer.Option(help="A file of prompts, one a line: a video of each. Again = what is missing.")
    ] = None,
    repeats: Repeats = 1,
    planner: cli_plan.Planner = "rules",
    base_url: cli_plan.BaseUrl = "",
    template: cli_plan.Template = "",
    *,
    shot: Shot,
    as_json: AsJson = False,
) -> None:
    """Plan a prompt, a list of them, or a story, and render it: video, scene and contact sheet."""
    if (prompt is not None) + bool(story) + (prompts is not None) != 1:
        raise AnimaticError("make takes a prompt, --prompts FILE, or --story FILE or TEXT")
    if story and Path(story).suffix == ".json":
        if planner != "rules" or base_url or template:
            raise AnimaticError(f"{story} is planned already; leave out --planner, --base-url and --template")
        return _film(load_story(story), shot, as_json)
    cache = "" if planner == "rules" else default_cache()
    span = _span(shot.model or "mini")
    told = PlannerOptions("story" if story else "video", span, template, base_url=base_url, cache=cache)
    chosen = planner_named(planner, told)

    def plan(text: str, model: Backbone | None = None) -> Story:
        planned = chosen.plan(text)
        cli_plan.print_warnings(planned)
        return planned.story

    if prompts is not None:
        _film_list(prompts, plan, repeats, shot, as_json, span)
    else:
        _film(plan(_text(story) if prompt is None else prompt), shot, as_json, span)


def render(
    scene: Annotated[Path | None, typer.Argument(help="Scene or story file (version 1 JSON).")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Instead: a file of prompts, one a line, each rendered as it is typed.")
    ] = None,
    repeats: Repeats = 1,
    *,
    shot: Shot,
    as_json: AsJson = False,
) -> None:
    """Render a scene or story file, or a list of prompts without any plan."""
    if (scene is None) == (prompts is None):
        raise AnimaticError("render takes a scene or story file, or --prompts FILE")
    if scene is not None:
        _film(load_story(scene), replace(shot, name=shot.name or scene.stem), as_json)
    elif prompts is not None:

        def alone(text: str, model: Backbone) -> Story:
            return (Scene(text, seconds=(shot.frames or model.geometry.frames) / model.geometry.fps),)

        _film_list(prompts, alone, repeats, replace(shot, method=shot.method or "none"), as_json)


def _film_list(
    file: Path, plan: Callable[[str, Backbone], Story], repeats: int, shot: Shot, as_json: bool, span: float = 0.0
) -> None:
    """Videos of each line of a file, all from one seed."""
    from ..request import GenerationRequest
    from .prompts import film_prompts, read_prompts

    if shot.name:
        raise AnimaticError(f"name is {shot.name!r}, for one result; those of --prompts are named by their words")
    lines, formats = read_prompts(file), _formats(shot)
    request = replace(shot.over(GenerationRequest((), method=""), as_json), stages=shot.then, **shot.windows)

    def film(story: Story, name: str, seed: int, model: Backbone, asked: str) -> None:
        _film(story, replace(shot, name=name, seed=seed), as_json, span, model, asked)

    def timed(text: str, model: Backbone) -> Story:
        story = plan(text, model)
        story = story if shot.seconds is None else lasting(story, shot.seconds)
        return _timed(story, shot, model.geometry, span)

    film_prompts(lines, timed, film, request, shot.out, [f".{f}" for f in formats], repeats, as_json)


def _formats(shot: Shot) -> list[str]:
    formats = [f.strip() for f in shot.format.split(",")]
    for wanted in formats:
        check_format(wanted)
    return formats


def _film(
    story: Story, shot: Shot, as_json: bool, span: float = 0.0, model: Backbone | None = None, asked: str = ""
) -> None:
    """Render a story and write its files. Scenes planned to last `span` seconds last as a clip of the model.

    `model` is the one that the request names, if it is loaded already; `asked` is kept in the video's file.
    """
    began = time.perf_counter()

    # what can be wrong with the options is told before a model is loaded
    formats = _formats(shot)
    if shot.seconds is not None:
        story = lasting(story, shot.seconds)
    title = " | ".join(scene.prompt for scene in story)
    target = shot.out / (shot.name or slug(title))
    check_writable(target)
    with console(as_json).status("loading"):
        from .. import generation as rendering
        from ..attention_export import AttentionExport
        from ..controls.watching import Progress
        from ..durations import at_rate
        from ..finishing.checks import check_stages
        from ..finishing.stages import stages_of
        from ..methods import recipe_named
        from ..methods.usage import layout_of
        from ..request import GenerationRequest

        stages = stages_of(shot.then) if shot.then else []
        windows = shot.windows
        request = replace(shot.over(GenerationRequest(story, method="", fps=shot.fps), as_json), **windows)
        model = at_rate(model or loaded(request), shot.fps)

    # what the model says of the scenes: how long they are, whether they are seen at once or in windows
    story = _timed(story, shot, model.geometry, span)
    layout = layout_of(recipe_named(request.method or LONG), **windows)
    shown = rendering.laid_out(story, model, request.frames, layout)
    album = AttentionExport(shot.save_attention, shot.attention_of, shot.attention_back, shot.attention_within)
    method = request.method or ("lvd" if isinstance(shown, Scene) else LONG)
    watchers = album.controls(shown, recipe_named(method))
    if (shot.save_attention or shot.attention_of) and not shown.tracks:
        line("nothing is placed in the scene: attention to every word of its prompt is written", as_json)
    if model.geometry.max_frames == 1 and shot.seconds is not None:
        line(f"{model.name} makes pictures: this is one, shown for {shot.seconds:g} s", as_json)
    if stages:
        check_stages(stages, _shape(shown, model.geometry, request), model.family or model.name)

    with bar("rendering", as_json) as tick:
        how = how_of(request, [Progress(tick), *watchers])
        if isinstance(shown, Scene):
            plain = rendering.render(shown, model, method, request.seed, **how)
        else:
            recipe = album.recipe(recipe_named(method), method) if shot.save_masks else method
            plain = rendering.render_story(story, model, recipe, request.seed, **windows, **how)

    if shot.save_masks and not album.masks:
        line(f"nothing shares by a mask under {method!r}: no masks are written", as_json)
    wanted = sum(scene.seconds for scene in story)
    if not isinstance(shown, Scene) and abs(len(plain) / plain.fps - wanted) > 1 / plain.fps:
        why = f"{method} counts scenes" if layout.by_count else f"{model.name} makes whole pieces of time"
        line(f"lasts {len(plain) / plain.fps:.2f} s, not {wanted:g} s: {why}", as_json)

    # the render is written before the stages, so that one that fails loses nothing
    made = replace(GenerationRequest.of(plain.info, "the render"), stages=shot.then)
    target = free_name(target, made, [*WRITERS, ".json", RENDER], as_json)
    sheet, plan = target.with_name(f"{target.name}.sheet.png"), target.with_name(f"{target.name}.json")
    write_atomically(sheet, png(contact_sheet(plain, shown.at(len(plain)), title=title)))
    save_story(story, plan)
    video = plain
    if stages:
        kept = plain.save(target.with_name(target.name + RENDER), scale=1)
        negative = ", ".join(dict.fromkeys(scene.negative for scene in story if scene.negative))
        video = replace(plain, info={**plain.info, "request": made.to_dict()})
        try:
            video = cli_finish.through(
                video,
                shot.then,
                target,
                request.seed,
                negative=negative,
                instead=shot.negative,
                silent=as_json,
            )
        except AnimaticError as error:
            raise AnimaticError(f"{error}; the video before that is kept: {kept}") from None

    if asked:
        video = replace(video, info={**video.info, ASKED: asked})
    for loss in (loss for suffix in formats for loss in video.losses(f".{suffix}")):
        line(loss, as_json)
    files = [video.save(target.with_name(f"{target.name}.{suffix}")) for suffix in formats]
    files += album.write(plain, target, formats)
    if as_json:
        told = {"videos": [str(f) for f in files], "scene": str(plan), "sheet": str(sheet), "seed": request.seed}
        print(json.dumps({**told, "seconds": round(time.perf_counter() - began, 2)}))
        return
    for scene in story:
        if scene.reasoning:
            line(scene.reasoning, style="dim")
    for label, file in (*(("video", f) for f in files), ("scene", plan), ("sheet", sheet)):
        line(f"{label}  {file}")


def _timed(story: Story, shot: Shot, geometry: Geometry, span: float) -> Story:
    """The story with scenes as long as the model's own clip, or the frames asked for, where nobody said how long."""
    frames = shot.frames or geometry.frames
    if shot.seconds is not None or frames == 1 or any(scene.seconds != span for scene in story):
        return story
    return tuple(replace(scene, seconds=frames / geometry.fps) for scene in story)


def _shape(shown: Scene | Timeline, geometry: Geometry, request: GenerationRequest) -> Shape:
    """The video that will be made of what is shown, as finishing stages count it."""
    from ..durations import clip_frames, frame_rate
    from ..finishing.stage import Shape

    width, height = request.size or (geometry.width, geometry.height)
    if not isinstance(shown, Scene):
        return Shape(geometry.pixel_frames(shown.plan.frames), height, width, geometry.fps)
    frames = clip_frames([shown], geometry, request.frames)
    return Shape(frames, height, width, frame_rate(shown, geometry, request.frames, request.fps))


def _span(model: str) -> float:
    """Seconds that scenes are planned to last: what a known model shows at once, else 2."""
    from ..backbones import PRESETS

    geometry = PRESETS[model].geometry if model in PRESETS else None
    return geometry.frames / geometry.fps if geometry and geometry.frames > 1 else 2.0


def parse_part(text: str) -> float:
    """A part of a whole, as a decimal or a fraction: "0.5", "9/13"."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise AnimaticError(f"overlap is {text!r}; want a part of a window, such as 0.5 or 9/13") from None


def _text(story: str) -> str:
    """A story's text: of a file, or as it stands. What looks like the name of a file is not taken for a story."""
    named = len(story.split()) == 1 and ("/" in story or os.sep in story or re.search(r"\.\w{1,5}$", story))
    return read_text(story) if named or os.path.isfile(story) else story  # isfile may be asked of a long text, too


def slug(prompt: str) -> str:
    """A file name from a prompt: its first words, the letters and numbers of any script. "video" where it has none.

    It has 60 characters and 120 bytes at most, so that endings find room in the 255 bytes that file systems take.
    """
    letters = unicodedata.normalize("NFC", prompt.lower())
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else "-" for c in letters)
    short = re.sub("-+", "-", kept).strip("-")[:60].encode()[:120].decode(errors="ignore")
    return short.rstrip("-") or "video"
