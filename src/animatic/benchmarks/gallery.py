"""A page with the videos of every method for the same scenes and seeds, planned boxes drawn, for inspection by eye.

python -m animatic.benchmarks.gallery runs/out/controls
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from ..backbones import load
from ..contact_sheet import png
from ..core.backbone import Backbone
from ..files import write_atomically
from ..rendering import render_batch
from ..scene import Scene
from ..toy.evals.controls import cases_of
from ..toy.world import known_nouns
from ..video import Video, draw_boxes
from .report import data_uri, page_template

VIDEO_METHODS = ("none", "layout-attention", "lvd", "lvd-gligen", "lvd+")
IMAGE_METHODS = ("none", "multidiffusion", "boxdiff", "backward-guidance", "gligen", "lmd", "lmd+")
SCALE = 2


def render_all(
    scenes: Sequence[Scene], methods: Sequence[str], backbone: Backbone, steps: int, seed: int
) -> dict[str, list[Video]]:
    """Every method's videos of all scenes from the same seeds, with the planned boxes drawn."""
    seeds = range(seed, seed + len(scenes))

    # The same seeds for every method, so that differences are the method's.
    rendered = {}
    for name in methods:
        videos = render_batch(scenes, backbone, name, seeds, steps=steps)
        pairs = zip(videos, scenes, strict=True)
        rendered[name] = [draw_boxes(video, scene, SCALE) for video, scene in pairs]
    return rendered


def sheet(rows: dict[str, list[Video]], every: int) -> Image.Image:
    """A contact sheet with a row per method: every `every`-th frame of each scene from left to right."""
    # All frames of a method in one row.
    strips = {}
    for name, videos in rows.items():
        frames = [frame for video in videos for frame in video.frames[::every]]
        strips[name] = np.concatenate(frames, 1)

    # One strip below the other, the method's name at the left.
    first = next(iter(strips.values()))
    height, width = first.shape[:2]
    row_height = height + 6
    left = 150
    page = Image.new("RGB", (width + left, row_height * len(strips)), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(14)
    for i, (name, strip) in enumerate(strips.items()):
        top = i * row_height
        middle = top + height // 2
        draw.text((6, middle - 8), name, fill="#222222", font=font)
        page.paste(Image.fromarray(strip), (left, top))
    return page


def picture(video: Video) -> str:
    """A video, or the one frame it has, as a data URI."""
    kind = "png" if len(video) == 1 else "webp"
    return data_uri(video.encoded(f".{kind}"), kind)


def main(
    folder: Annotated[Path, typer.Argument(help="Output folder; its *.json files are shown as rows of a table.")],
    scenes: int = 6,
    model: str = "mini",
    steps: int = 25,
    seed: int = 0,
) -> None:
    """Write controls.html, videos.png and images.png."""
    folder.mkdir(parents=True, exist_ok=True)

    # One model for all; the same scenes with every method, as videos and as still images.
    backbone = load(model)
    nouns = known_nouns(backbone.words)
    parts = {}
    for title, methods, still in (("Videos", VIDEO_METHODS, False), ("Images", IMAGE_METHODS, True)):
        chosen = [case.scene for case in cases_of(scenes, seed, still, nouns)]
        videos = render_all(chosen, methods, backbone, steps, seed)
        parts[title] = chosen, videos
        page = sheet(videos, every=4)
        write_atomically(folder / f"{title.lower()}.png", png(page))

    # The tables measured elsewhere (toy.evals.controls).
    numbers = []
    keys: dict[str, None] = {}
    for file in sorted(folder.glob("*.json")):
        row = json.loads(file.read_text())
        numbers.append(row)
        keys |= dict.fromkeys(row)
    template = page_template("gallery.html")
    html = template.render(parts=parts, numbers=numbers, keys=list(keys), picture=picture)
    write_atomically(folder / "controls.html", html.encode())


if __name__ == "__main__":
    typer.run(main)
