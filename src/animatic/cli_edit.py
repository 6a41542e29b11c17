"""The command that edits: a video made again with other words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import bar, console, quiet
from .errors import AnimaticError
from .scene import Scene, load_scene, parse
from .video import Video, read_info, side_by_side


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
    factors = {word: _number(word, factor) for word, factor in _pairs(weight, "weight", "pink=2").items()}
    swaps = _pairs(swap, "swap", "dog=cat")
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


def _pairs(told: Sequence[str] | None, option: str, like: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in told or ():
        word, sign, value = text.partition("=")
        if not (word.strip() and sign and value.strip()):
            raise AnimaticError(f"{option} is {text!r}; want {like}")
        pairs[word.strip()] = value.strip()
    return pairs


def _number(word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise AnimaticError(f"weight of {word!r} is {text!r}; want a number, such as 2 or 0.5") from None
