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
from .files import read_text, write_atomically
from .options import AsJson, option
from .planning.planners import Options, default_cache, planner_named
from .scene import Scene, Story, lasting, load_story, save_story
from .video import contact_sheet, parse_size, png

FORMATS = ("mp4", "gif", "webp", "png")


@dataclass(frozen=True)
class Shot:
    """What `make` and `render` are told alike: each field an option."""

    seconds: float | None = option(None, "Duration; longer than the model's own is made in windows.")
    model: str = option("mini", "A name of `animatic models`, or a folder in diffusers layout.")
    lora: list[str] | None = option(  # noqa: RUF009 - a field
        None, "A LoRA to add to the model's weights; may be repeated.", "FILE[:SCALE[:NETWORK]]"
    )
    method: str = option("", "A name of `animatic methods`; lvd, or ditctrl+lvd for stories.")
    seed: int = option(0, "Seed of the noise; the same seed on the same machine gives the same frames.")
    steps: int | None = option(None, "Denoising steps; the model's habit if not given.")
    guidance: float | None = option(None, "Scale of classifier-free guidance; 1 is off.")
    frames: int | None = option(None, "Number of frames; 1 makes a picture.")
    size: str = option("", "Pixels; the model's own size if not given.", "WIDTHxHEIGHT")
    scheduler: str = option("", "ddim, dpm++, unipc, euler, or a diffusers class; the model's own if not given.")
    format: str = option("mp4", "One or more of mp4, gif, webp, png, with commas.")
    out: Path = option(Path("out"), "Folder for the results.")  # noqa: RUF009 - a field
    name: str = option("", "Name of the files; made from the prompt if not given.")
    save_attention: bool = option(False, "Also write where each thing's words were looked at: a gif.")
    attention_of: str = option(
        "", "Also write it layer by layer: globs and numbers, with commas; png.", "LAYERS[@STEPS]"
    )
    attention_back: bool = option(False, "What words look at, not who looks at them (CogVideoX).")
    dtype: str = option("", "Weights in float32, bfloat16 or float16; the model's own if not given.")
    quantize: str = option("", "Weights in int8 or fp8, computing as before; needs torchao.")
    offload: bool = option(False, "Weights wait in main memory and come to the GPU block by block.")
    save_memory: bool = option(False, "Guided passes compute twice rather than keep; video in tiles.")
    then: str = option("", cli_finish.STAGES, cli_finish.STAGE)


def make(
    prompt: Annotated[str | None, typer.Argument(help="What to show, in English.")] = None,
    story: Annotated[
        str, typer.Option(metavar="FILE|TEXT", help="Several scenes in a row: a file, or a text to plan.")
    ] = "",
    planner: cli_plan.Planner = "rules",
    base_url: cli_plan.BaseUrl = "",
    *,
    shot: Shot,
    as_json: AsJson = False,
) -> None:
    """Plan a prompt, or a story, and render it: video, scene and contact sheet."""
    if (prompt is None) == (not story):
        raise AnimaticError("make takes a prompt, or --story FILE or TEXT")
    if story and Path(story).suffix == ".json":
        return _film(load_story(story), shot, as_json)
    cache = "" if planner == "rules" else default_cache()
    told = Options("story" if story else "video", _span(shot.model) if story else 2.0, base_url=base_url, cache=cache)
    _film(planner_named(planner, told).plan(_text(story) if prompt is None else prompt).story, shot, as_json)


def render(
    scene: Annotated[Path, typer.Argument(help="Scene or story file (version 1 JSON).")],
    shot: Shot,
    as_json: AsJson = False,
) -> None:
    """Render a scene or story file."""
    _film(load_story(scene), replace(shot, name=shot.name or scene.stem), as_json)


def _film(story: Story, shot: Shot, as_json: bool) -> None:
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
    with console(as_json).status("loading"):
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
    with bar("rendering", as_json) as tick:
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
        made = cli_finish.through(plain, shot.then, target, shot.seed, negative=negative, silent=as_json)
    files = [made.save(target.with_name(f"{target.name}.{suffix}")) for suffix in formats]
    files += album.write(plain, target, formats)
    sheet, plan = target.with_name(f"{target.name}.sheet.png"), target.with_name(f"{target.name}.json")
    write_atomically(sheet, png(contact_sheet(plain, shown.at(len(plain)), title=title)))
    save_story(story, plan)
    if as_json:
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
    return read_text(story) if os.path.isfile(story) else story  # isfile may be asked of a long text, too


def _slug(prompt: str) -> str:
    """A file name from a prompt: its first words."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"


def _writable(folder: Path) -> None:
    """Raise before the work rather than after it."""
    probe = folder / f".{os.getpid()}.probe"
    write_atomically(probe, b"")
    probe.unlink()
