"""The command line: thin, every command a few calls of the Python API."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from . import cli_bench, cli_finish, cli_plan, cli_train
from .console import bar, console, table
from .errors import AnimaticError
from .planning.planners import Options, default_cache, plan
from .scene import Scene, load_scene, write_atomically

FORMATS = ("mp4", "gif", "webp", "png")
INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    help="Direct generated video: a prompt becomes a scene of moving boxes, and a video that obeys it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

cli_plan.add_to(app)
cli_train.add_to(app)
cli_finish.add_to(app)
app.add_typer(cli_bench.app, name="bench")

Prompt = Annotated[str, typer.Argument(help="What to show, in English.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise; the same seed on the same machine gives the same frames.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps; the model's habit if not given.")]
Guide = Annotated[float | None, typer.Option("--guidance", help="Scale of classifier-free guidance; 1 is off.")]
Frames = Annotated[int | None, typer.Option(help="Number of frames; 1 makes a picture.")]
Size = Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; the model's own size if not given.")]
Format = Annotated[str, typer.Option(help="One or more of mp4, gif, webp, png, with commas.")]
Model = Annotated[str, typer.Option(help="A name of `animatic models`, or a folder in diffusers layout.")]
Method = Annotated[str, typer.Option(help="A name of `animatic methods`.")]
Scheduler = Annotated[
    str, typer.Option(help="ddim, dpm++, unipc, euler, or a diffusers class; the model's own if not given.")
]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Name = Annotated[str, typer.Option(help="Name of the files; made from the prompt if not given.")]
Lora = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE[:SCALE]", help="A LoRA to add to the model's weights; may be repeated."),
]
SaveAttention = Annotated[bool, typer.Option(help="Also write where each thing's words were looked at: a gif.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]


@app.command()
def make(
    prompt: Prompt,
    planner: cli_plan.Planner = "rules",
    base_url: cli_plan.BaseUrl = "",
    model: Model = "mini",
    lora: Lora = None,
    method: Method = "lvd",
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guide = None,
    frames: Frames = None,
    size: Size = "",
    scheduler: Scheduler = "",
    format: Format = "mp4",
    out: Out = Path("out"),
    name: Name = "",
    save_attention: SaveAttention = False,
    then: cli_finish.Then = "",
    as_json: AsJson = False,
) -> None:
    """Plan a prompt and render it: video, scene and contact sheet."""
    scene = plan(prompt, planner, Options(base_url=base_url, cache="" if planner == "rules" else default_cache()))
    _render(
        scene, model, lora, method, seed, steps, guidance, frames, size, scheduler, format, out, name, as_json,
        save_attention, then,
    )  # fmt: skip


@app.command()
def render(
    scene: Annotated[Path, typer.Argument(help="Scene file (version 1 JSON).")],
    model: Model = "mini",
    lora: Lora = None,
    method: Method = "lvd",
    seed: Seed = 0,
    steps: Steps = None,
    guidance: Guide = None,
    frames: Frames = None,
    size: Size = "",
    scheduler: Scheduler = "",
    format: Format = "mp4",
    out: Out = Path("out"),
    name: Name = "",
    save_attention: SaveAttention = False,
    then: cli_finish.Then = "",
    as_json: AsJson = False,
) -> None:
    """Render a scene file."""
    made = load_scene(scene)
    _render(
        made, model, lora, method, seed, steps, guidance, frames, size, scheduler, format, out, name or scene.stem,
        as_json, save_attention, then,
    )  # fmt: skip


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models known by name."""
    from .backbones import PRESETS

    rows = [(name, preset.about, preset.source or "bundled") for name, preset in PRESETS.items()]
    table(("model", "what it is", "weights"), rows, as_json)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the methods known by name."""
    from .methods import METHODS

    table(
        ("method", "what it does"),
        [(name, (recipe.__doc__ or "").splitlines()[0]) for name, recipe in METHODS.items()],
        as_json,
    )


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A video or picture made by animatic.")]) -> None:
    """Print what a result was made from."""
    from .video import read_info

    print(json.dumps(read_info(file), indent=1, ensure_ascii=False))


def _render(
    scene: Scene,
    model: str,
    lora: list[str] | None,
    method: str,
    seed: int,
    steps: int | None,
    guidance: float | None,
    frames: int | None,
    size: str,
    scheduler: str,
    format: str,
    out: Path,
    name: str,
    as_json: bool,
    save_attention: bool,
    then: str,
) -> None:
    formats = [f.strip() for f in format.split(",")]
    for wanted in formats:
        if wanted not in FORMATS:
            raise AnimaticError(f"unknown format {wanted!r}; known: {', '.join(FORMATS)}")
    wanted_size = pixels(size)
    if then:
        from .cascade.stages import stages_of

        stages_of(then)  # before the work
    target = out / (name or _slug(scene.prompt))
    _writable(out)
    began = time.perf_counter()
    with console(as_json).status("loading"):
        quiet()
        from . import rendering, video
        from .controls.heat import Heat
        from .controls.watching import Progress as Ticks
        from .training.lora import with_loras

    heats: dict[str, Any] = {}
    seen = Heat([scene], lambda row, phrase, heat: heats.update({phrase: heat.cpu().numpy()}))

    with bar("rendering", as_json) as tick:
        made = rendering.render(
            scene, with_loras(model, lora or ()), method, seed,
            steps=steps, guidance=guidance, frames=frames, size=wanted_size, scheduler=scheduler,
            watch=[Ticks(tick), *([seen] if save_attention else [])],
        )  # fmt: skip
    plain = made
    if then:
        made = cli_finish.through(made, then, target, "", scene.negative, seed, "", as_json)
    files = [made.save(target.with_name(f"{target.name}.{suffix}")) for suffix in formats]
    if heats:
        scale = max(1, 192 // plain.frames.shape[1])
        panels = [video.heat_map(plain, heat, phrase, scale) for phrase, heat in heats.items()]
        files.append(video.side_by_side(panels).save(target.with_name(f"{target.name}.attention.gif")))
    sheet, plan = target.with_name(f"{target.name}.sheet.png"), target.with_name(f"{target.name}.json")
    write_atomically(sheet, video.png(video.contact_sheet(plain, scene, title=scene.prompt)))
    scene.save(plan)
    seconds = round(time.perf_counter() - began, 2)
    if as_json:
        print(
            json.dumps({"videos": [str(f) for f in files], "scene": str(plan), "sheet": str(sheet), "seconds": seconds})
        )
        return
    terminal = console()
    if scene.reasoning:
        terminal.print(scene.reasoning, style="dim", highlight=False)
    for label, file in (*(("video", f) for f in files), ("scene", plan), ("sheet", sheet)):
        terminal.print(f"{label}  {file}", highlight=False, soft_wrap=True)


def pixels(size: str) -> tuple[int, int] | None:
    if not size:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", size.lower())
    if not match:
        raise AnimaticError(f"size is {size!r}; want WIDTHxHEIGHT, such as 64x64")
    return int(match[1]), int(match[2])


def _slug(prompt: str) -> str:
    """A file name from a prompt: its first words."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"


def _writable(folder: Path) -> None:
    """Raise before the work rather than after it."""
    probe = folder / f".{os.getpid()}.probe"
    write_atomically(probe, b"")
    probe.unlink()


def quiet() -> None:
    """Keep the libraries' bars and notices out of ours."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line. Bad input ends in one line on stderr and exit code 2."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except AnimaticError as error:
        code = _fail(str(error))
    except TyperException as error:
        code = _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    sys.exit(_fail("interrupted; nothing was left half-written") if code == INTERRUPTED else code or 0)


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
