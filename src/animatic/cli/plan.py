"""Commands about scenes: plan, show, import."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..errors import AnimaticError
from ..files import write_atomically
from ..planning.account import Role
from ..planning.cache import Cache
from ..planning.language_model import PlanResult
from ..planning.planners import KNOWN, PlannerOptions, default_cache, import_replies, plan_all, planner_named
from ..planning.planners import Planner as AnyPlanner
from ..scene import Box, Story, load_story, save_story, story_json
from .console import CONTROLS, bar, console, line, printable, show_characters
from .prompts import read_prompts

COLOURS = {
    Role.OBJECT: "bold cyan", Role.ATTRIBUTE: "cyan", Role.MOTION: "bold green", Role.RELATION: "green",
    Role.PLACE: "blue", Role.UNWANTED: "strike red", Role.STYLE: "dim", Role.NOT_UNDERSTOOD: "bold yellow",
}  # fmt: skip
Planner = Annotated[str, typer.Option(help=f"One of {KNOWN}.")]
Kind = Annotated[str, typer.Option(help="video, image or story.")]
BaseUrl = Annotated[
    str, typer.Option(help="Server of an openai: or completions: planner, such as http://localhost:8000/v1.")
]
Template = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="Your own template (markdown, or a folder of them), or LMD's or LVD's prompt.py."
    ),
]
Form = Annotated[str, typer.Option(help="What to ask for: json (with the scene's schema) or text.")]
CacheFile = Annotated[str, typer.Option("--cache", help="File of replies; 'none' keeps none.")]
Temperature = Annotated[float, typer.Option(help="Of a language model.")]
Timeout = Annotated[float, typer.Option(help="Seconds for a server's reply, in all.")]
RateLimit = Annotated[float, typer.Option("--rate", help="Most calls a minute; 0 is no limit.")]
Workers = Annotated[int, typer.Option(help="Prompts that are planned at the same time.")]


def kept(cache: str) -> str:
    """The file of replies that --cache names; "" for none."""
    return "" if cache == "none" else cache or default_cache()


def plan(
    prompt: Annotated[str, typer.Argument(help="What to show, in English.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Scene file, or folder for --prompts.")] = None,
    draw: Annotated[Path | None, typer.Option(help="Also draw the boxes: a gif, mp4, webp or png.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of the drawing, of a story for its first scene.")] = 16,
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
    candidates: Annotated[int, typer.Option(help="Plans of each prompt of --prompts.")] = 1,
    price: Annotated[str, typer.Option(metavar="IN,OUT", help="Of a million tokens, to tell the cost.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Show what became of each word (planner rules).")] = False,
) -> None:
    """Plan a prompt: words to boxes in time."""
    prices = _prices(price)
    options = PlannerOptions(kind, seconds, template, kept(cache), base_url, form, temperature, timeout, rate, reply)
    # one call at a time can show its progress in one line; several at once have a bar of prompts
    if prompts is None:
        options = replace(options, progress=show_characters)
    elif reply:
        raise AnimaticError("--reply is one reply, to one prompt; want a prompt instead of --prompts")
    chosen = planner_named(planner, options)
    if prompts is not None:
        if prompt or out is None or draw or sample:
            raise AnimaticError("--prompts takes no prompt, --draw or --sample beside it and needs --out FOLDER")
        _plan_file(prompts, out, chosen, workers, candidates, prices)
        return
    if candidates != 1:
        raise AnimaticError(f"candidates is {candidates}, which are of --prompts FILE; want --sample for one prompt")
    planned = chosen.plan(prompt, sample)
    if explain:
        if not planned.accounts:
            raise AnimaticError(f"planner {planner} gives no account of words; --explain wants planner rules")
        print_accounts(planned)
    print_warnings(planned)
    _print_cost([planned], prices)
    if draw:
        _draw(planned.story, draw, frames)
    if out:
        save_story(planned.story, out)
        print(out, file=sys.stderr)
    else:
        sys.stdout.write(story_json(planned.story))


def print_warnings(planned: PlanResult, where: str = "") -> None:
    """What was cut or left out of a reply."""
    for warning in planned.warnings:
        line(f"warning: {where}{warning}", stderr=True)


def print_accounts(planned: PlanResult) -> None:
    """Each prompt with its words coloured by their roles, and below it the roles in these colours."""
    for account in planned.accounts:
        shown = Text(CONTROLS.sub(" ", account.prompt))  # one letter for one: the words are given by position
        for each in account.words:
            shown.stylize(COLOURS[each.role], each.start, each.end)
        roles = [role for role in Role if account.with_role(role)]
        parts: list[Text] = []
        for role in roles:
            words = ", ".join(account.with_role(role))
            parts.append(Text(printable(f"{role}: {words}"), style=COLOURS[role]))
        legend = Text("; ").join(parts)

        # on stderr, for stdout is the scene; not wrapped, so that a file of it has a line for each
        console(stderr=True).print(shown, highlight=False, soft_wrap=True)
        console(stderr=True).print(legend, highlight=False, soft_wrap=True)


def _prices(price: str) -> tuple[float, ...]:
    """Prices of a million tokens in and out; none where the option is empty."""
    try:
        prices = tuple(float(part) for part in price.split(",")) if price else ()
    except ValueError:
        prices = (0.0,)
    if len(prices) not in (0, 2) or not all(isfinite(value) and value >= 0 for value in prices):
        raise AnimaticError(f"price is {price!r}; want IN,OUT per million tokens, such as 2.5,10")
    return prices


def _print_cost(plans: Sequence[PlanResult], prices: Sequence[float]) -> None:
    """Print the tokens of the replies that were requested now, and what they cost; nothing where none was."""
    prompt_tokens = 0
    reply_tokens = 0
    for planned in plans:
        # a reply from the cache was paid for when it was made
        if not planned.cached:
            prompt_tokens += planned.usage.get("asked", 0)
            reply_tokens += planned.usage.get("answered", 0)
    if not (prompt_tokens or reply_tokens):
        return

    cost = ""
    if prices:
        prompt_price, reply_price = prices
        total = prompt_tokens * prompt_price + reply_tokens * reply_price
        cost = f"; cost {total / 1e6:.4f}"
    print(f"tokens: {prompt_tokens} asked, {reply_tokens} answered{cost}", file=sys.stderr)


def _draw(story: Story, file: Path, frames: int) -> None:
    from ..video import joined, sketch

    # scenes of unequal length at one rate, which gives the first as many frames as are requested
    fps = frames / story[0].seconds if story[0].seconds else 8.0
    clips = []
    for scene in story:
        count = max(1, round(fps * scene.seconds))
        clips.append(sketch(scene, count, 256, 256, fps))
    joined(clips).save(file)
    print(file, file=sys.stderr)


def _plan_file(
    file: Path, out: Path, planner: AnyPlanner, workers: int, candidates: int, prices: Sequence[float]
) -> None:
    """Plan every line; a scene that is there already is left as it is, failures are listed in failures.json."""
    if candidates < 1:
        raise AnimaticError(f"candidates is {candidates}; want at least 1")

    # a prompt as often as it has candidates; the names keep the order of the file, and of the candidates
    requested: list[str] = []
    names: list[str] = []
    for i, prompt in enumerate(read_prompts(file)):
        for j in range(candidates):
            requested.append(prompt)
            names.append(f"{i:04d}" if candidates == 1 else f"{i:04d}-{j}")
    there = {i for i, name in enumerate(names) if (out / f"{name}.json").exists()}
    failures: dict[str, str] = {}
    plans: list[PlanResult] = []
    with bar("planning") as tick:
        results = plan_all(planner, requested, workers, there)
        for done, (i, result) in enumerate(results, 1 + len(there)):
            if isinstance(result, AnimaticError):
                failures[names[i]] = str(result)
            else:
                save_story(result.story, out / f"{names[i]}.json")
                print_warnings(result, f"{names[i]}: ")
                plans.append(result)
            tick(done, len(requested))
    _print_cost(plans, prices)

    # written in any case: an empty list says that the failures of an earlier call are mended
    listed = out / "failures.json"
    content = json.dumps(dict(sorted(failures.items())), indent=1) + "\n"
    write_atomically(listed, content.encode())
    planned = len(requested) - len(failures)
    console().print(f"{planned} of {len(requested)} planned in {out}", highlight=False)
    if failures:
        raise AnimaticError(f"{len(failures)} of {len(requested)} plans were not made; reasons in {listed}")


def show(
    scene: Annotated[Path, typer.Argument(help="Scene or story file.")],
    frames: Annotated[int, typer.Option(help="Frames of the drawing, of a story for its first scene.")] = 16,
    draw: Annotated[Path | None, typer.Option(help="Draw the boxes: a gif, mp4, webp or png.")] = None,
) -> None:
    """Show a scene file: its words and boxes; with --draw, as a picture."""
    story = load_story(scene)
    for made in story:
        background = made.background or "-"
        negative = made.negative or "-"
        print(printable(made.prompt))
        print(printable(f"  background {background}; negative {negative}; {made.seconds:g} s"))
        for track in made.tracks:
            boxes = [_box_text(box) for box in track.boxes]
            print(printable(f"  {track.phrase}: {'  '.join(boxes)}"))
        if made.reasoning:
            print(printable(f"  {made.reasoning}"))
    if draw:
        _draw(story, draw, frames)


def _box_text(box: Box | None) -> str:
    """A box as `show` prints it; a dash where the object is absent."""
    if box is None:
        return "-"
    return ",".join(f"{value:.2f}" for value in box)


def import_(
    file: Annotated[Path, typer.Argument(help="A cache file of LMD or LVD: replies by prompt.")],
    model: Annotated[str, typer.Option(help="Whose replies they are; plan with --planner cached:MODEL.")],
    cache: CacheFile = "",
    filter: Annotated[bool, typer.Option(help="Of stills drop and scale boxes as LMD always does.")] = True,
) -> None:
    """Take over replies that LMD or LVD kept."""
    good, bad = import_replies(str(file), model, Cache(cache or default_cache()), filter)
    print(f"{good} replies taken over, {bad} could not be read; plan with --planner cached:{model}", file=sys.stderr)
