"""The command that edits: a video made again with other words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from .console import bar, console, quiet
from .errors import AnimaticError
from .scene import Scene, load_scene, parse
from .video import Video, read_info, side_by_side

T = TypeVar("T")


def edit(
    source: Annotated[Path, typer.Argument(help="A scene file, or a video.", metavar="VIDEO_OR_SCENE")],
    swap: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="A word for another; repeatable.")] = None,
    weight: Annotated[
        list[str] | None, typer.Option(metavar="WORD=FACTOR", help="More or less of a word; repeatable.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="A whole new prompt: words added are refined.")] = "",
    blend: Annotated[bool, typer.Option(help="Change only where the changed words are looked at.")] = False,
    invert: Annotated[str, typer.Option(metavar="CAPTION", help="Edit these very frames: what they show.")] = "",
    model: Annotated[str, typer.Option(help="The video's own if not given, else mini.")] = "",
    method: Annotated[str, typer.Option(help="What else steers, a name of `animatic methods`.")] = "",
    seed: Annotated[int | None, typer.Option(help="The video's own if not given, else 0.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of classifier-free guidance.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
) -> None:
    """Make a video again with words exchanged, added, or of more or less weight; what they do not name stays.

    A video that animatic made is made again from its own scene and seed; of any other, --invert finds the noise.
    """
    swaps, factors = _pairs("swap", swap, str, "dog=cat"), _pairs("weight", weight, float, "pink=2")
    with console().status("loading"):
        quiet()
        from .controls.watching import Progress
        from .editing import Edit, render_edit
    info: dict[str, Any] = {} if source.suffix == ".json" else read_info(source)
    if source.suffix == ".json":
        scene = load_scene(source)
    elif invert:
        scene = Scene(invert)
    elif "scene" in info:
        scene = parse(info["scene"], str(source))
    else:
        raise AnimaticError(f"{source}: does not say what it was made from; say what it shows with --invert CAPTION")
    with bar("editing") as tick:
        made = render_edit(
            scene, Edit(swaps, factors, prompt, blend), model or info.get("model", "mini"), method or "none",
            info.get("seed", 0) if seed is None else seed, steps=steps or info.get("steps"), guidance=guidance,
            video=Video.load(source) if invert else None, watch=[Progress(tick)],
        )  # fmt: skip
    for video, suffix in ((made[1], ".edit.mp4"), (side_by_side(made), ".edit.beside.mp4")):
        print(video.save(out / f"{source.stem}{suffix}"))


def _pairs(option: str, told: Sequence[str] | None, kind: Callable[[str], T], like: str) -> dict[str, T]:
    pairs: dict[str, T] = {}
    for text in told or ():
        word, value = (part.strip() for part in text.partition("=")[::2])
        if not (word and value):
            raise AnimaticError(f"{option} is {text!r}; want {like}")
        try:
            pairs[word] = kind(value)
        except ValueError:
            raise AnimaticError(f"{option} of {word!r} is {value!r}; want a number, such as 2 or 0.5") from None
    return pairs
