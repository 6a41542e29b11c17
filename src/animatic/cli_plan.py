"""Commands about scenes: plan, show, import."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import bar, console
from .errors import AnimaticError
from .planning.asking import Planned
from .planning.cache import Cache
from .planning.planners import KNOWN, Options, default_cache, import_replies, plan_all, planner_named
from .scene import Story, load_story, save_story, write_atomically

Planner = Annotated[str, typer.Option(help=f"One of {KNOWN}.")]
Kind = Annotated[str, typer.Option(help="video, image or story.")]
BaseUrl = Annotated[str, typer.Option(help="Server of an openai: planner, such as http://localhost:8000/v1.")]
Template = Annotated[str, typer.Option(help="A template of your own (markdown) instead of the bundled one.")]
Form = Annotated[str, typer.Option(help="What to ask for: json (with the scene's schema) or text.")]
CacheFile = Annotated[str, typer.Option("--cache", help="File of replies; 'none' keeps none.")]
Temperature = Annotated[float, typer.Option(help="Of a language model.")]
Timeout = Annotated[float, typer.Option(help="Seconds per call of a server.")]
RateLimit = Annotated[float, typer.Option("--rate", help="Most calls a minute; 0 is no limit.")]
Workers = Annotated[int, typer.Option(help="Prompts asked at a time.")]


def options(
    kind: str, seconds: float, template: str, cache: str, base_url: str, form: str, temperature: float, timeout: float,
    rate: float, reply: str = "", legacy: bool = False,
) -> Options:  # fmt: skip
    """The options of planners from those of a command."""
    kept = "" if cache == "none" else cache or default_cache()
    return Options(kind, seconds, template, kept, base_url, form, temperature, timeout, rate, reply, legacy)  # type: ignore[arg-type]


def plan(
    prompt: Annotated[str, typer.Argument(help="What to show, in English.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Scene file, or folder for --prompts.")] = None,
    draw: Annotated[Path | None, typer.Option(help="Also draw the boxes: a gif, mp4, webp or png.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of the drawing.")] = 16,
    planner: Planner = "rules",
    kind: Kind = "video",
    seconds: Annotated[float, typer.Option(help="Duration of the scene.")] = 2.0,
    prompts: Annotated[Path | None, typer.Option(help="File of prompts, one a line: plan them all, resumable.")] = None,
    sample: Annotated[int, typer.Option(help="Which answer to the same prompt, from 0.")] = 0,
    base_url: BaseUrl = "",
    template: Template = "",
    form: Form = "json",
    cache: CacheFile = "",
    temperature: Temperature = 0.25,
    timeout: Timeout = 120.0,
    rate: RateLimit = 0.0,
    workers: Workers = 4,
    reply: Annotated[str, typer.Option(help="File with the reply, for the paste planner.")] = "",
) -> None:
    """Plan a prompt: words to boxes in time."""
    chosen = planner_named(
        planner, options(kind, seconds, template, cache, base_url, form, temperature, timeout, rate, reply)
    )
    if prompts is not None:
        if prompt or out is None:
            raise AnimaticError("--prompts takes no prompt beside it and needs --out FOLDER")
        _plan_file(prompts, out, chosen, workers)
        return
    planned = chosen.plan(prompt, sample)
    _warn(planned)
    story = planned.story
    if draw:
        _draw(story, draw, frames)
    if out:
        _save(story, out)
        print(out, file=sys.stderr)
    else:
        sys.stdout.write(story[0].to_json() if len(story) == 1 else _story_json(story))


def _warn(planned: Planned) -> None:
    for warning in planned.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _save(story: Story, path: Path) -> None:
    if len(story) == 1:
        story[0].save(path)
    else:
        save_story(story, path)


def _story_json(story: Story) -> str:
    return (
        json.dumps({"version": 1, "scenes": [json.loads(s.to_json()) for s in story]}, indent=1, ensure_ascii=False)
        + "\n"
    )


def _draw(story: Story, file: Path, frames: int) -> None:
    from .video import joined, sketch

    joined([sketch(scene, frames if scene.seconds else 1, 256, 256) for scene in story]).save(file)
    print(file, file=sys.stderr)


def _plan_file(file: Path, out: Path, planner: object, workers: int) -> None:
    """Plan every line; a scene that is there already is left as it is, failures are listed in failures.json."""
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise AnimaticError(f"{file}: cannot be read ({error})") from None
    if not lines:
        raise AnimaticError(f"{file}: holds no prompt; want one a line")
    failures: dict[str, str] = {}
    with bar("planning") as tick:
        for done, (i, result) in enumerate(plan_all(planner, lines, workers), 1):  # type: ignore[arg-type]
            if isinstance(result, AnimaticError):
                failures[f"{i:04d}"] = str(result)
            else:
                _save(result.story, out / f"{i:04d}.json")
            tick(done, len(lines))
    listed = out / "failures.json"
    write_atomically(listed, (json.dumps(dict(sorted(failures.items())), indent=1) + "\n").encode())
    console().print(f"{len(lines) - len(failures)} of {len(lines)} planned in {out}", highlight=False)
    if failures:
        raise AnimaticError(f"{len(failures)} of {len(lines)} prompts were not planned; reasons in {listed}")


def show(
    scene: Annotated[Path, typer.Argument(help="Scene or story file.")],
    frames: Annotated[int, typer.Option(help="Frames of the drawing.")] = 16,
    draw: Annotated[Path | None, typer.Option(help="Draw the boxes: a gif, mp4, webp or png.")] = None,
) -> None:
    """Show a scene file: its words and boxes; with --draw, as a picture."""
    story = load_story(scene)
    for made in story:
        print(
            f"{made.prompt}\n  background {made.background or '-'}; negative {made.negative or '-'}; {made.seconds:g} s"
        )
        for track in made.tracks:
            boxes = ("-" if b is None else ",".join(f"{v:.2f}" for v in b) for b in track.boxes)
            print(f"  {track.phrase}: {'  '.join(boxes)}")
        if made.reasoning:
            print(f"  {made.reasoning}")
    if draw:
        _draw(story, draw, frames)


def import_(
    file: Annotated[Path, typer.Argument(help="A cache file of LMD or LVD: replies by prompt.")],
    model: Annotated[str, typer.Option(help="Whose replies they are; plan with --planner cached:MODEL.")],
    cache: CacheFile = "",
    legacy: Annotated[bool, typer.Option(help="Filter and scale the boxes of stills as LMD did.")] = False,
) -> None:
    """Take over replies that LMD or LVD kept."""
    kept = Cache(cache or default_cache())
    good, bad = import_replies(str(file), model, kept, legacy)
    print(f"{good} replies taken over, {bad} could not be read; plan with --planner cached:{model}", file=sys.stderr)


def add_to(app: typer.Typer) -> None:
    app.command("plan")(plan)
    app.command("show")(show)
    app.command("import")(import_)
