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

from . import cli_bench, cli_edit, cli_finish, cli_plan, cli_studio, cli_train
from .console import bar, console, table
from .errors import AnimaticError
from .planning.planners import Options, default_cache, planner_named
from .scene import Story, lasting, load_story, save_story, write_atomically

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
cli_edit.add_to(app)
cli_studio.add_to(app)
cli_finish.add_to(app)
app.add_typer(cli_bench.app, name="bench")

Prompt = Annotated[str | None, typer.Argument(help="What to show, in English.")]
StoryOf = Annotated[str, typer.Option(metavar="FILE|TEXT", help="Several scenes in a row: a file, or a text to plan.")]
Seconds = Annotated[float | None, typer.Option(help="Duration; longer than the model's own is made in windows.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise; the same seed on the same machine gives the same frames.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps; the model's habit if not given.")]
Guide = Annotated[float | None, typer.Option("--guidance", help="Scale of classifier-free guidance; 1 is off.")]
Frames = Annotated[int | None, typer.Option(help="Number of frames; 1 makes a picture.")]
Size = Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; the model's own size if not given.")]
Format = Annotated[str, typer.Option(help="One or more of mp4, gif, webp, png, with commas.")]
Model = Annotated[str, typer.Option(help="A name of `animatic models`, or a folder in diffusers layout.")]
Method = Annotated[str, typer.Option(help="A name of `animatic methods`; lvd, or ditctrl+lvd for stories.")]
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
AttentionOf = Annotated[
    str,
    typer.Option(metavar="LAYERS[@STEPS]", help="Also write it layer by layer: globs and numbers, with commas; png."),
]
AttentionBack = Annotated[bool, typer.Option(help="What words look at, not who looks at them (CogVideoX).")]
Dtype = Annotated[str, typer.Option(help="Weights in float32, bfloat16 or float16; the model's own if not given.")]
Quantize = Annotated[str, typer.Option(help="Weights in int8 or fp8, computing as before; needs torchao.")]
Offload = Annotated[bool, typer.Option(help="Weights wait in main memory and come to the GPU block by block.")]
SaveMemory = Annotated[bool, typer.Option(help="Guided passes compute twice rather than keep; video in tiles.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]


@app.command()
def make(
    prompt: Prompt = None,
    story: StoryOf = "",
    seconds: Seconds = None,
    planner: cli_plan.Planner = "rules",
    base_url: cli_plan.BaseUrl = "",
    model: Model = "mini",
    lora: Lora = None,
    method: Method = "",
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
    attention_of: AttentionOf = "",
    attention_back: AttentionBack = False,
    dtype: Dtype = "",
    quantize: Quantize = "",
    offload: Offload = False,
    save_memory: SaveMemory = False,
    then: cli_finish.Then = "",
    as_json: AsJson = False,
) -> None:
    """Plan a prompt, or a story, and render it: video, scene and contact sheet."""
    if (prompt is None) == (not story):
        raise AnimaticError("make takes a prompt, or --story FILE or TEXT")
    if story and Path(story).suffix == ".json":
        made = load_story(story)
    else:
        cache = "" if planner == "rules" else default_cache()
        told = Options("story" if story else "video", _span(model) if story else 2.0, base_url=base_url, cache=cache)
        made = planner_named(planner, told).plan(_text(story) if prompt is None else prompt).story
    _render(
        _lasting(made, seconds), model, lora, method, seed, steps, guidance, frames, size, scheduler, format, out, name,
        as_json, (save_attention, attention_of, attention_back), (dtype, quantize, offload, save_memory), then,
    )  # fmt: skip


@app.command()
def render(
    scene: Annotated[Path, typer.Argument(help="Scene or story file (version 1 JSON).")],
    seconds: Seconds = None,
    model: Model = "mini",
    lora: Lora = None,
    method: Method = "",
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
    attention_of: AttentionOf = "",
    attention_back: AttentionBack = False,
    dtype: Dtype = "",
    quantize: Quantize = "",
    offload: Offload = False,
    save_memory: SaveMemory = False,
    then: cli_finish.Then = "",
    as_json: AsJson = False,
) -> None:
    """Render a scene or story file."""
    _render(
        _lasting(load_story(scene), seconds), model, lora, method, seed, steps, guidance, frames, size, scheduler,
        format, out, name or scene.stem, as_json, (save_attention, attention_of, attention_back),
        (dtype, quantize, offload, save_memory), then,
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
    story: Story,
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
    attention: tuple[bool, str, bool],
    saving: tuple[str, str, bool, bool],
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
    title = " | ".join(scene.prompt for scene in story)
    target = out / (name or _slug(title))
    _writable(out)
    began = time.perf_counter()
    with console(as_json).status("loading"):
        quiet()
        from . import rendering, video
        from .attention import Album
        from .backbones import load
        from .backbones.economy import Economy
        from .controls.watching import Progress as Ticks
        from .training.lora import with_loras

    album = Album(*attention)
    chosen = with_loras(model, lora or (), Economy(*saving))
    loaded = load(chosen) if isinstance(chosen, str) else chosen
    alone = story[0] if len(story) == 1 and rendering.seen_at_once(story[0], loaded, frames) else None
    if alone is None and frames is not None:
        raise AnimaticError(f"frames is {frames}; a story is told how long it lasts by --seconds")
    whole = alone or rendering.reel_of(story, loaded.geometry)
    with bar("rendering", as_json) as tick:
        watch = [Ticks(tick), *album.controls(whole)]
        if alone:
            made = rendering.render(
                alone, loaded, method or "lvd", seed,
                steps=steps, guidance=guidance, frames=frames, size=wanted_size, scheduler=scheduler, watch=watch,
            )  # fmt: skip
        else:
            made = rendering.render_story(
                story, loaded, method or "ditctrl+lvd", seed,
                steps=steps, guidance=guidance, size=wanted_size, scheduler=scheduler, watch=watch,
            )  # fmt: skip
    plain = made
    if then:
        negative = " ".join(dict.fromkeys(scene.negative for scene in story)).strip()
        made = cli_finish.through(made, then, target, "", negative, seed, "", as_json)
    files = [made.save(target.with_name(f"{target.name}.{suffix}")) for suffix in formats]
    files += album.write(plain, target, formats)
    sheet, plan = target.with_name(f"{target.name}.sheet.png"), target.with_name(f"{target.name}.json")
    write_atomically(sheet, video.png(video.contact_sheet(plain, whole.at(len(plain)), title=title)))
    save_story(story, plan)
    seconds = round(time.perf_counter() - began, 2)
    if as_json:
        print(
            json.dumps({"videos": [str(f) for f in files], "scene": str(plan), "sheet": str(sheet), "seconds": seconds})
        )
        return
    terminal = console()
    for scene in story:
        if scene.reasoning:
            terminal.print(scene.reasoning, style="dim", highlight=False)
    for label, file in (*(("video", f) for f in files), ("scene", plan), ("sheet", sheet)):
        terminal.print(f"{label}  {file}", highlight=False, soft_wrap=True)


def _span(model: str) -> float:
    """Seconds that a model shows at once."""
    from .backbones import PRESETS

    geometry = PRESETS[model].geometry if model in PRESETS else None
    return geometry.frames / geometry.fps if geometry else 2.0


def _lasting(story: Story, seconds: float | None) -> Story:
    return story if seconds is None else lasting(story, seconds)


def _text(story: str) -> str:
    """A story's text: of a file, or as it stands."""
    try:
        return Path(story).read_text("utf-8") if Path(story).is_file() else story
    except (OSError, UnicodeDecodeError) as error:  # a long text is no name of a file
        if isinstance(error, UnicodeDecodeError):
            raise AnimaticError(f"{story}: cannot be read ({error})") from None
        return story


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
