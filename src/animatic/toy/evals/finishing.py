"""Accuracy of interpolation and upscaling on toy scenes, which are rendered at any frame rate and size.

python -m animatic.toy.evals.finishing --tables interpolate,upscale --n 24 --seed 0
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from ...finishing.classical import Blend, Lanczos, Motion
from ...finishing.interpolate import Interpolate
from ...finishing.stage import StageContext
from ...finishing.upscale import Upscale
from ...scene import Scene
from ...video import Video
from ..captions import invent
from ..world import SIZE, draw

Finisher = Callable[[Video, StageContext], Video]

KEYS, FACTOR, LARGER = 8, 4, 2
VISIBLE = 4  # grey levels by which a moving pixel differs from a key frame around it


def interpolation(scenes: list[Scene], seed: int, model: str = "") -> None:
    """PSNR of interpolated frames between `KEYS` key frames, at moving pixels; with `model` also of that network."""
    finishers: dict[str, Finisher] = {"linear": Blend(FACTOR), "motion": Motion(FACTOR)}
    if model:
        finishers[model] = Interpolate(model=model, factor=FACTOR)
    errors: dict[str, list[float]] = {}
    for i, scene in enumerate(scenes):
        truth, _ = draw(scene, (KEYS - 1) * FACTOR + 1)
        keys = Video(truth[::FACTOR], 4.0)
        exact = truth.astype(float)
        moving = _moving(exact)
        if not moving.any():
            continue

        # Only moving pixels count: everything else is easy.
        for name, finisher in finishers.items():
            made = finisher(keys, StageContext(seed=seed + i))
            squared = (made.frames - exact) ** 2
            error = float(squared[moving].mean())
            errors.setdefault(name, []).append(error)

    for name, values in errors.items():
        _print_row(table="interpolate", what=name, n=len(values), seed=seed, **_decibels(values))


def enlargement(scenes: list[Scene], seed: int) -> None:
    """PSNR of clips upscaled after averaging 2 x 2 pixels; flicker is the mean change of the error in grey levels."""
    finishers: dict[str, Finisher] = {
        "bicubic": _bicubic,
        "lanczos": Lanczos(LARGER),
        "mini-upscale": Upscale(model="mini-upscale", factor=LARGER),
    }
    errors: dict[str, list[float]] = {name: [] for name in finishers}
    flicker: dict[str, list[float]] = {name: [] for name in finishers}
    for i, scene in enumerate(scenes):
        truth, _ = draw(scene, 2 * KEYS - 1, LARGER * SIZE)
        exact = truth.astype(float)

        # Means of LARGER x LARGER pixels.
        squares = exact.reshape(len(exact), SIZE, LARGER, SIZE, LARGER, 3)
        pixels = squares.mean((2, 4)) + 0.5
        small = Video(pixels.astype(np.uint8), 8.0)

        for name, finisher in finishers.items():
            made = finisher(small, StageContext(seed=seed + i))
            off = made.frames - exact
            change = np.abs(np.diff(off, axis=0))
            errors[name].append(float((off**2).mean()))
            flicker[name].append(float(change.mean()))

    for name, values in errors.items():
        mean_flicker = float(np.mean(flicker[name]))
        scores = {**_decibels(values), "flicker": round(mean_flicker, 3)}
        _print_row(table="upscale", what=name, n=len(values), seed=seed, **scores)


def _bicubic(video: Video, context: StageContext) -> Video:
    height, width = video.frames.shape[1:3]
    size = (width * LARGER, height * LARGER)
    larger = []
    for frame in video.frames:
        picture = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
        larger.append(np.asarray(picture))
    return Video(np.stack(larger), video.fps)


def _moving(exact: np.ndarray) -> np.ndarray:
    """Moving pixels, bool `[frame, height, width]`; none in key frames, which are given."""
    at = np.arange(len(exact))
    keys = exact[::FACTOR]
    before = keys[at // FACTOR]
    following = np.minimum(at // FACTOR + 1, len(keys) - 1)
    after = keys[following]

    # A pixel moves where it changes between key frames, or leaves and comes back between them.
    between_keys = np.abs(before - after)
    from_key = np.abs(exact - before)
    differs = np.maximum(between_keys, from_key).max(-1) > VISIBLE
    is_no_key = at % FACTOR > 0
    return differs & is_no_key[:, None, None]


def _decibels(errors: list[float]) -> dict[str, float]:
    """PSNR of the mean squared error over all clips, and the mean PSNR of single clips (60 dB at most), in dB."""
    least = 255**2 / 1e6  # 60 dB
    ratios = 255**2 / np.maximum(errors, least)
    of_clips = 10 * np.log10(ratios)
    overall = 10 * np.log10(255**2 / np.mean(errors))
    mean = float(of_clips.mean())
    return {"psnr": round(float(overall), 2), "mean of psnr": round(mean, 2)}


def _print_row(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main(
    n: Annotated[int, typer.Option(help="Scenes; those where nothing moves have nothing to interpolate.")] = 24,
    seed: int = 0,
    tables: Annotated[str, typer.Option(help="Which to measure, of interpolate,upscale.")] = "interpolate,upscale",
    model: Annotated[str, typer.Option(help="A folder that --learn interpolate:4 made, to be measured, too.")] = "",
) -> None:
    """Print a line of JSON for each method of interpolation and upscaling."""
    torch.set_num_threads(1)
    scenes = []
    for i in range(n):
        rng = random.Random(f"finishing/{seed}/{i}")
        scenes.append(invent(rng, KEYS))
    measures = {"interpolate": partial(interpolation, model=model), "upscale": enlargement}
    for table in tables.split(","):
        measures[table](scenes, seed)


if __name__ == "__main__":
    typer.run(main)
