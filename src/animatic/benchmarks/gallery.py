"""A page on which every method films the same scenes from the same noise, boxes drawn: for people to look at.

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
from ..files import write_atomically
from ..generation import render_batch
from ..scene import Scene
from ..toy.evals.controls import cases_of
from ..video import Video, draw_boxes, png
from .report import data_uri, page_template

VIDEO_METHODS = ("none", "layout-attention", "lvd", "lvd-gligen", "lvd+")
IMAGE_METHODS = ("none", "multidiffusion", "boxdiff", "backward-guidance", "gligen", "lmd", "lmd+")
SCALE = 2


def render_all(
    scenes: Sequence[Scene], methods: Sequence[str], model: str, steps: int, seed: int
) -> dict[str, list[Video]]:
    """Every method's videos of all scenes, boxes drawn on them."""
    backbone = load(model)
    seeds = range(seed, seed + len(scenes))
    made = {name: render_batch(scenes, backbone, name, seeds, steps=steps) for name in methods}
    return {
        name: [draw_boxes(video, scene, SCALE) for video, scene in zip(videos, scenes, strict=True)]
        for name, videos in made.items()
    }


def sheet(rows: dict[str, list[Video]], every: int) -> Image.Image:
    """A row a method: `every`-th frames of each scene beside each other."""
    strips = {name: np.concatenate([f for v in videos for f in v.frames[::every]], 1) for name, videos in rows.items()}
    high, wide = next(iter(strips.values())).shape[:2]
    page = Image.new("RGB", (wide + 150, (high + 6) * len(strips)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for i, (name, strip) in enumerate(strips.items()):
        draw.text((6, i * (high + 6) + high // 2 - 8), name, fill="#222222", font=font)
        page.paste(Image.fromarray(strip), (150, i * (high + 6)))
    return page


def picture(video: Video) -> str:
    """A video, or the one frame it has, as a data URI."""
    kind = "png" if len(video) == 1 else "webp"
    return data_uri(video.encoded(f".{kind}"), kind)


def main(
    folder: Annotated[Path, typer.Argument(help="Where the page goes, and where rows of the table are (*.json).")],
    scenes: int = 6,
    model: str = "mini",
    steps: int = 25,
    seed: int = 0,
) -> None:
    """Write controls.html, films.png and pictures.png."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {}
    for title, methods, still in (("Films", VIDEO_METHODS, False), ("Pictures", IMAGE_METHODS, True)):
        some = [case.scene for case in cases_of(scenes, seed, still)]
        parts[title] = some, render_all(some, methods, model, steps, seed)
        write_atomically(folder / f"{title.lower()}.png", png(sheet(parts[title][1], every=4)))
    numbers = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    keys = list(dict.fromkeys(key for row in numbers for key in row))
    page = page_template("gallery.html").render(parts=parts, numbers=numbers, keys=keys, picture=picture)
    write_atomically(folder / "controls.html", page.encode())


if __name__ == "__main__":
    typer.run(main)
