"""Commands that make videos: of a prompt, of a text of several scenes, of a scene file."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from . import cli_finish, cli_plan
from .console import bar, console, line, quiet
from .errors import AnimaticError
from .options import AsJson
from .planning.planners import Options, default_cache, planner_named
from .scene import Scene, Story, lasting, load_story, save_story, write_atomically
from .video import contact_sheet, parse_size, png

FORMATS = ("mp4", "gif", "webp", "png")


@dataclass(frozen=True)
class Shot:
    """What `make` and `render` are told alike: each field an option."""

    seconds: Annotated[float | None, typer.Option(help="Duration; longer than the model's own is made in windows.")] = (
        None
    )
    model: Annotated[str, typer.Option(help="A name of `animatic models`, or a folder in diffusers layout.")] = "mini"
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:SCALE]", help="A LoRA to add to the model's weights; may be repeated."),
    ] = None
    method: Annotated[str, typer.Option(help="A name of `animatic methods`; lvd, or ditctrl+lvd for stories.")] = ""
    seed: Annotated[
        int, typer.Option(help="Seed of the noise; the same seed on the same machine gives the same frames.")
    ] = 0
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's habit if not given.")] = None
    guidance: Annotated[float | None, typer.Option(help="Scale of classifier-free guidance; 1 is off.")] = None
    frames: Annotated[int | None, typer.Option(help="Number of frames; 1 makes a picture.")] = None
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; the model's own size if not given.")] = ""
    scheduler: Annotated[
        str, typer.Option(help="ddim, dpm++, unipc, euler, or a diffusers class; the model's own if not given.")
    ] = ""
    format: Annotated[str, typer.Option(help="One or more of mp4, gif, webp, png, with commas.")] = "mp4"
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out")
    name: Annotated[str, typer.Option(help="Name of the files; made from the prompt if not given.")] = ""
    save_attention: Annotated[bool, typer.Option(help="Also write where each thing's words were looked at: a gif.")] = (
        False
    )
    attention_of: Annotated[
        str,
        typer.Option(
            metavar="LAYERS[@STEPS]", help="Also write it layer by layer: globs and numbers, with commas; png."
        ),
    ] = ""
    attention_back: Annotated[bool, typer.Option(help="What words look at, not who looks at them (CogVideoX).")] = False
    dtype: Annotated[
        str, typer.Option(help="Weights in float32, bfloat16 or float16; the model's own if not given.")
    ] = ""
    quantize: Annotated[str, typer.Option(help="Weights in int8 or fp8, computing as before; needs torchao.")] = ""
    offload: Annotated[bool, typer.Option(help="Weights wait in main memory and come to the GPU block by block.")] = (
        False
    )
    save_memory: Annotated[bool, typer.Option(help="Guided passes compute twice rather than keep; video in tiles.")] = (
        False
    )
    then: cli_finish.Then = ""
    as_json: AsJson = False


def make(
    prompt: Annotated[str | None, typer.Argument(help="What to show, in English.")] = None,
    story: Annotated[
        str, typer.Option(metavar="FILE|TEXT", help="Several scenes in a row: a file, or a text to plan.")
    ] = "",
    planner: cli_plan.Planner = "rules",
    base_url: cli_plan.BaseUrl = "",
    *,
    shot: Shot,
) -> None:
    """Plan a prompt, or a story, and render it: video, scene and contact sheet."""
    if (prompt is None) == (not story):
        raise AnimaticError("make takes a prompt, or --story FILE or TEXT")
    if story and Path(story).suffix == ".json":
        return _film(load_story(story), shot)
    cache = "" if planner == "rules" else default_cache()
    told = Options("story" if story else "video", _span(shot.model) if story else 2.0, base_url=base_url, cache=cache)
    _film(planner_named(planner, told).plan(_text(story) if prompt is None else prompt).story, shot)


def render(scene: Annotated[Path, typer.Argument(help="Scene or story file (version 1 JSON).")], shot: Shot) -> None:
    """Render a scene or story file."""
    _film(load_story(scene), replace(shot, name=shot.name or scene.stem))


def _film(story: Story, shot: Shot) -> None:
    formats = [f.strip() for f in shot.format.split(",")]
    for wanted in formats:
        if wanted not in FORMATS:
            raise AnimaticError(f"unknown format {wanted!r}; known: {', '.join(FORMATS)}")
    size = parse_size(shot.size)
    if shot.then:
        from .cascade.stages import stages_of

        stages_of(shot.then)  # before the work
    if shot.seconds is not None:
        story = lasting(story, shot.seconds)
    title = " | ".join(scene.prompt for scene in story)
    target = shot.out / (shot.name or _slug(title))
    _writable(shot.out)
    began = time.perf_counter()
    with console(shot.as_json).status("loading"):
        quiet()
        from . import rendering
        from .attention import Album
        from .backbones import load
        from .backbones.economy import Economy
        from .controls.watching import Progress
        from .training.lora import with_loras

    album = Album(shot.save_attention, shot.attention_of, shot.attention_back)
    economy = Economy(shot.dtype, shot.quantize, shot.offload, shot.save_memory)
    chosen = with_loras(shot.model, shot.lora or (), economy)
    model = load(chosen) if isinstance(chosen, str) else chosen
    shown = rendering.laid_out(story, model, shot.frames)
    with bar("rendering", shot.as_json) as tick:
        how: rendering.How = {
            "steps": shot.steps, "guidance": shot.guidance, "frames": shot.frames, "size": size,
            "scheduler": shot.scheduler, "watch": [Progress(tick), *album.controls(shown)],
        }  # fmt: skip
        if isinstance(shown, Scene):
            plain = rendering.render(shown, model, shot.method or "lvd", shot.seed, **how)
        else:
            plain = rendering.render_story(story, model, shot.method or "ditctrl+lvd", shot.seed, **how)
    made = plain
    if shot.then:
        negative = " ".join(dict.fromkeys(scene.negative for scene in story)).strip()
        made = cli_finish.through(plain, shot.then, target, shot.seed, negative=negative, silent=shot.as_json)
    files = [made.save(target.with_name(f"{target.name}.{suffix}")) for suffix in formats]
    files += album.write(plain, target, formats)
    sheet, plan = target.with_name(f"{target.name}.sheet.png"), target.with_name(f"{target.name}.json")
    write_atomically(sheet, png(contact_sheet(plain, shown.at(len(plain)), title=title)))
    save_story(story, plan)
    if shot.as_json:
        told = {"videos": [str(f) for f in files], "scene": str(plan), "sheet": str(sheet)}
        print(json.dumps({**told, "seconds": round(time.perf_counter() - began, 2)}))
        return
    for scene in story:
        if scene.reasoning:
            line(scene.reasoning, style="dim")
    for label, file in (*(("video", f) for f in files), ("scene", plan), ("sheet", sheet)):
        line(f"{label}  {file}")


def _span(model: str) -> float:
    """Seconds that a model shows at once."""
    from .backbones import PRESETS

    geometry = PRESETS[model].geometry if model in PRESETS else None
    return geometry.frames / geometry.fps if geometry else 2.0


def _text(story: str) -> str:
    """A story's text: of a file, or as it stands."""
    if not os.path.isfile(story):  # which a long text may be asked, too
        return story
    try:
        return Path(story).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnimaticError(f"{story}: cannot be read ({error})") from None


def _slug(prompt: str) -> str:
    """A file name from a prompt: its first words."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"


def _writable(folder: Path) -> None:
    """Raise before the work rather than after it."""
    probe = folder / f".{os.getpid()}.probe"
    write_atomically(probe, b"")
    probe.unlink()
