"""Commands that write scenes for other tools and read boxes from them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import AnimaticError
from ..exchange.exporting import FORMATS, ExportOptions
from ..exchange.exporting import export as export_story
from ..exchange.importing import READERS, read_annotations, scene_of
from ..scene import load_story, save_story, story_json
from ..video import parse_size

ABOUT_FORMATS = "; ".join(f"{name}: {form.about}" for name, form in FORMATS.items())


def export(
    scene: Annotated[Path, typer.Argument(help="Scene or story file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write; a folder for masks.")],
    form: Annotated[str, typer.Option("--as", help=f"{ABOUT_FORMATS}. By default by the ending of --out.")] = "",
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 8.0,
    size: Annotated[str, typer.Option(help="Of masks and svg, in pixels.")] = "512x512",
    video: Annotated[str, typer.Option(metavar="FILE", help="Video that the clips of a timeline refer to.")] = "",
) -> None:
    """Write a scene or story for other tools."""
    options = ExportOptions(fps, parse_size(size) or (512, 512), video)
    if video and not Path(video).is_file():
        raise AnimaticError(f"{video}: no such file")
    print(export_story(load_story(scene), out, form, options), file=sys.stderr)


def import_boxes(
    file: Annotated[Path, typer.Argument(help="Annotations: MOT (.txt, .csv), COCO (.json) or CVAT for video (.xml).")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Scene file.")] = None,
    form: Annotated[
        str, typer.Option("--as", help=f"One of {', '.join(READERS)}; by default by the file's ending.")
    ] = "",
    prompt: Annotated[str, typer.Option(help="Of the scene; by default the names of its objects.")] = "",
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="TRACK=WORDS", help="Words for a track or a label. Repeatable."),
    ] = None,
    size: Annotated[str, typer.Option(help="Of the annotated pictures, where the file does not say it.")] = "",
    fps: Annotated[float, typer.Option(help="Frames a second of the annotated video.")] = 8.0,
    keys: Annotated[int, typer.Option(help="Key frames, evenly spaced; 0 has one for every frame.")] = 0,
) -> None:
    """Make a scene of the boxes of a tracking or annotation tool."""
    found = read_annotations(file, form)
    story = (scene_of(found, prompt, _names(name or ()), parse_size(size), fps, keys),)
    if out is None:
        sys.stdout.write(story_json(story))
        return
    save_story(story, out)
    print(out, file=sys.stderr)


def _names(given: Sequence[str]) -> dict[str, str]:
    """Words by track, of texts TRACK=WORDS."""
    names: dict[str, str] = {}
    for text in given:
        track, separator, words = text.partition("=")
        if not separator or not track.strip() or not words.strip():
            raise AnimaticError(f"name is {text!r}; want TRACK=WORDS, such as 1='a red ball'")
        names[track.strip()] = words.strip()
    return names
