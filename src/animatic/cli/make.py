"""Commands that make videos: of a prompt, of a text of several scenes, of any file that says what to make."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.model_options import DEFAULT_MODEL, MODEL_OF_WORDS
from ..errors import AnimaticError
from ..files import read_text
from ..media.encoding import WRITERS
from ..planning.planners import PlannerOptions, default_cache, planner_named
from ..request import FinishingOptions, GenerationRequest
from ..scene import Scene, Story, lasting
from . import finish as cli_finish
from . import plan as cli_plan
from .console import console, line
from .options import AsJson, Given
from .outputs import DEFAULT, Out, OutputOptions, Target, check_name, is_folder
from .requested import Choices, Sampling, Windows, recorded, requested
from .seeds import write_seeds
from .video import AttentionOptions, write_generated

if TYPE_CHECKING:
    from ..core.backbone import Backbone, Geometry

    Plan = Callable[[str, Backbone], Story]

Repeats = Annotated[int, typer.Option(min=1, help="Videos of each of --prompts, their seeds 6789 apart.")]
Prompts = Annotated[Path | None, typer.Option(help="A file of prompts, one a line: a video of each, resumable.")]
Seeds = Annotated[int, typer.Option(min=1, help="Videos of this many seeds, from --seed upwards, and a page of all.")]
Seconds = Annotated[float | None, typer.Option(help="Duration; longer than the model's own is made in windows.")]
Then = Annotated[str | None, typer.Option(metavar=cli_finish.STAGE, help=cli_finish.STAGES)]


def make(
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to show, in English; or a file that animatic made.", metavar="PROMPT|FILE"),
    ] = None,
    story: Annotated[
        str, typer.Option(metavar="FILE|TEXT", help="Several scenes in a row: a file, or a text to plan.")
    ] = "",
    prompts: Prompts = None,
    repeats: Repeats = 1,
    seeds: Seeds = 1,
    planner: cli_plan.Planner = "rules",
    base_url: cli_plan.BaseUrl = "",
    template: cli_plan.Template = "",
    *,
    choices: Choices,
    sampling: Sampling,
    windows: Windows,
    attention: AttentionOptions,
    output: OutputOptions,
    out: Out = DEFAULT,
    seconds: Seconds = None,
    then: Then = None,
    as_json: AsJson = False,
) -> None:
    """Plan a prompt, a list of them, or a story, and render it: video, scene and contact sheet."""
    if (prompt is not None) + bool(story) + (prompts is not None) != 1:
        raise AnimaticError("make takes a prompt, --prompts FILE, or --story FILE or TEXT")
    _check_seeds(seeds, prompts)
    file = story if story and Path(story).suffix == ".json" else prompt if prompt and _is_result(prompt) else None
    if file is not None and (planner != "rules" or base_url or template):
        raise AnimaticError(f"{file} is planned already; leave out --planner, --base-url and --template")

    # a file says what to make; a prompt is planned, for as long as the model's own clip
    if file is not None:
        request = recorded(Path(file), choices)
        request = _with_options(request, choices, sampling, windows, seconds, then, as_json)
        name = output.name or (slug(request.prompt) if story else Path(file).stem)
        return _write(request, output, out, name, attention, as_json, seconds, seeds=seeds)

    # a plan has the length of the model's own clip, so that its boxes are spread over what will be rendered
    span = _span(choices.model or DEFAULT_MODEL)
    cache = "" if planner == "rules" else default_cache()
    options = PlannerOptions("story" if story else "video", span, template, base_url=base_url, cache=cache)
    chosen = planner_named(planner, options)

    def plan(text: str, model: Backbone | None = None) -> Story:
        planned = chosen.plan(text)
        cli_plan.print_warnings(planned)
        return planned.story

    request = _with_options(_OPEN, choices, sampling, windows, None, then, as_json)
    if prompts is not None:
        _write_list(prompts, plan, request, output, out, attention, repeats, seconds, as_json, span)
        return None
    planned = plan(_text(story) if prompt is None else prompt)
    if seconds is not None:
        planned = lasting(planned, seconds)
    request = replace(request, story=planned)
    name = output.name or slug(request.prompt)
    return _write(request, output, out, name, attention, as_json, seconds, span if seconds is None else 0.0, seeds)


def render(
    scene: Annotated[
        Path | None,
        typer.Argument(help="A scene, story or request file (JSON), or a video that animatic made.", metavar="FILE"),
    ] = None,
    prompts: Prompts = None,
    repeats: Repeats = 1,
    seeds: Seeds = 1,
    *,
    choices: Choices,
    sampling: Sampling,
    windows: Windows,
    attention: AttentionOptions,
    output: OutputOptions,
    out: Out = DEFAULT,
    seconds: Seconds = None,
    then: Then = None,
    as_json: AsJson = False,
) -> None:
    """Render a scene, story or request file, a video once more, or a list of prompts without any plan."""
    if (scene is None) == (prompts is None):
        raise AnimaticError("render takes a scene or story file, or --prompts FILE")
    _check_seeds(seeds, prompts)
    if scene is not None:
        request = _with_options(recorded(scene, choices), choices, sampling, windows, seconds, then, as_json)
        _write(request, output, out, output.name or scene.stem, attention, as_json, seconds, seeds=seeds)
    elif prompts is not None:
        typed = replace(_OPEN, model=MODEL_OF_WORDS, method="none")
        request = _with_options(typed, choices, sampling, windows, None, then, as_json)

        def alone(text: str, model: Backbone) -> Story:
            frames = request.sampling.frames or model.geometry.frames
            return (Scene(text, seconds=frames / model.geometry.fps),)

        _write_list(prompts, alone, request, output, out, attention, repeats, seconds, as_json)


def _check_seeds(seeds: int, prompts: Path | None) -> None:
    if seeds > 1 and prompts is not None:
        raise AnimaticError(f"seeds is {seeds}, and --prompts has videos of its own seeds; want --repeats")


_OPEN = GenerationRequest(())  # its story is yet to be planned


def _with_options(
    request: GenerationRequest,
    choices: Choices,
    sampling: Given,
    windows: Given,
    seconds: float | None,
    then: str | None,
    silent: bool,
) -> GenerationRequest:
    """The request with everything that the command line says."""
    request = requested(request, choices, sampling, windows, silent)
    if then is not None:
        from ..finishing.stages import stages_of

        if then:
            stages_of(then)  # raises where one is unknown
        request = replace(request, finishing=FinishingOptions(then))
    if seconds is not None:
        # a duration decides again how many frames there are, and whether they are made in windows
        request = replace(request, story=lasting(request.story, seconds))
        if "frames" not in sampling:
            request = request.with_sampling(frames=None)
        request = replace(request, windows=replace(request.windows, enabled=None))
    return request


def _write(
    request: GenerationRequest,
    output: OutputOptions,
    out: str,
    name: str,
    attention: AttentionOptions,
    as_json: bool,
    seconds: float | None,
    span: float = 0.0,
    seeds: int = 1,
) -> None:
    """Load the model and write a video of each of `seeds` seeds.

    Scenes planned to last `span` seconds last as a clip of the model.
    """
    check_name(out, output.name)
    target = Target.of(out, name, output.format)
    with console(as_json).status("loading"):
        from ..binding import load_model

        model = load_model(request)
    if span:
        request = replace(request, story=_timed(request.story, request, _geometry(request, model), span))
    if model.geometry.max_frames == 1 and seconds is not None:
        line(f"{model.name} makes pictures: this is one, shown for {seconds:g} s", as_json)
    if seeds > 1:
        return write_seeds(request, seeds, target, model, attention, as_json)
    return write_generated(request, target, model, attention, as_json)


def _write_list(
    file: Path,
    plan: Plan,
    request: GenerationRequest,
    output: OutputOptions,
    out: str,
    attention: AttentionOptions,
    repeats: int,
    seconds: float | None,
    as_json: bool,
    span: float = 0.0,
) -> None:
    """Videos of each line of a file, all from one seed."""
    from .prompts import read_prompts, write_prompts

    if output.name:
        raise AnimaticError(f"name is {output.name!r}, for one result; those of --prompts are named by their words")
    if not is_folder(out):
        raise AnimaticError(f"out is {out!r}, one file; --prompts makes several: want a folder")
    lines = read_prompts(file)
    formats = Target.of(out, "prompts", output.format).formats

    def write(one: GenerationRequest, name: str, model: Backbone, mark: dict[str, str]) -> None:
        target = Target.of(out, name, ",".join(formats))
        write_generated(one, target, model, attention, as_json, mark)

    def timed(text: str, model: Backbone) -> Story:
        story = plan(text, model)
        if seconds is not None:
            return lasting(story, seconds)
        return _timed(story, request, _geometry(request, model), span)

    write_prompts(lines, timed, write, request, Path(out), [f".{f}" for f in formats], repeats, as_json)


def _geometry(request: GenerationRequest, model: Backbone) -> Geometry:
    """The model's geometry at the requested frame rate."""
    from ..durations import at_rate

    return at_rate(model, request.sampling.fps).geometry


def _timed(story: Story, request: GenerationRequest, geometry: Geometry, span: float) -> Story:
    """The story with scenes as long as the model's own clip, or the frames requested, where nobody said how long."""
    frames = request.sampling.frames or geometry.frames
    if frames == 1 or any(scene.seconds != span for scene in story):
        return story
    return tuple(replace(scene, seconds=frames / geometry.fps) for scene in story)


def _span(model: str) -> float:
    """Seconds that scenes are planned to last: what a known model shows at once, else 2."""
    from ..backbones import PRESETS

    geometry = PRESETS[model].geometry if model in PRESETS else None
    return geometry.frames / geometry.fps if geometry and geometry.frames > 1 else 2.0


def _is_result(prompt: str) -> bool:
    """Whether what stands for a prompt is the name of a file: a video, a picture, or JSON."""
    is_named_so = len(prompt.split()) == 1 or os.path.isfile(prompt)
    return is_named_so and Path(prompt).suffix.lower() in {*WRITERS, ".json"}


def _text(story: str) -> str:
    """A story's text: of a file, or as it stands. What looks like the name of a file is not taken for a story."""
    named = len(story.split()) == 1 and ("/" in story or os.sep in story or re.search(r"\.\w{1,5}$", story))
    # isfile is false, and raises nothing, of a text that is too long for a name
    return read_text(story) if named or os.path.isfile(story) else story


def slug(prompt: str) -> str:
    """A file name from a prompt: its first words, the letters and numbers of any script. "video" where it has none.

    It has 60 characters and 120 bytes at most, so that endings find room in the 255 bytes that file systems take.
    """
    letters = unicodedata.normalize("NFC", prompt.lower())
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else "-" for c in letters)
    short = re.sub("-+", "-", kept).strip("-")[:60].encode()[:120].decode(errors="ignore")
    return short.rstrip("-") or "video"
