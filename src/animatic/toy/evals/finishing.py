"""How near finished videos come to the truth, on toy scenes that are drawn at any rate and size.

python -m animatic.toy.evals.finishing --tables interpolate,upscale --n 24 --seed 0
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
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
from .. import grid_world as toyworld
from ..grid_captions import invent

Way = Callable[[Video, StageContext], Video]

KEYS, FACTOR, LARGER = 8, 4, 2
SEEN = 4  # levels that a pixel must differ by from a key around it to count as moving


def interpolation(scenes: list[Scene], seed: int) -> None:
    """Frames between `KEYS` key frames, at pixels that move."""
    ways: dict[str, Way] = {
        "linear": Blend(FACTOR),
        "motion": Motion(FACTOR),
        "mini-interpolate": Interpolate(model="mini-interpolate", factor=FACTOR),
    }
    errors: dict[str, list[float]] = {}
    for i, scene in enumerate(scenes):
        truth, _ = toyworld.draw(scene, KEYS, toyworld.SIZE, FACTOR)
        keys, exact = Video(truth[::FACTOR], 4.0), truth.astype(float)
        moving = _moving(exact)
        if not moving.any():
            continue
        for name, way in ways.items():
            off = way(keys, StageContext(seed=seed + i)).frames - exact
            errors.setdefault(name, []).append(float((off**2)[moving].mean()))
    for name, values in errors.items():
        _tell(table="interpolate", what=name, n=len(values), seed=seed, **_decibels(values))


def enlargement(scenes: list[Scene], seed: int) -> None:
    """Twice the pixels of clips shrunk by the mean of 2 x 2; flicker is how much the error changes, in levels."""
    ways: dict[str, Way] = {
        "bicubic": _bicubic,
        "lanczos": Lanczos(LARGER),
        "mini-upscale": Upscale(model="mini-upscale", factor=LARGER),
    }
    errors: dict[str, list[float]] = {name: [] for name in ways}
    flicker: dict[str, list[float]] = {name: [] for name in ways}
    for i, scene in enumerate(scenes):
        truth, _ = toyworld.draw(scene, KEYS, LARGER * toyworld.SIZE, 2)
        exact = truth.astype(float)
        cells = exact.reshape(len(exact), toyworld.SIZE, LARGER, toyworld.SIZE, LARGER, 3).mean((2, 4))
        small = Video((cells + 0.5).astype(np.uint8), 8.0)
        for name, way in ways.items():
            off = way(small, StageContext(seed=seed + i)).frames - exact
            errors[name].append(float((off**2).mean()))
            flicker[name].append(float(np.abs(np.diff(off, axis=0)).mean()))
    for name, values in errors.items():
        told = {**_decibels(values), "flicker": round(float(np.mean(flicker[name])), 3)}
        _tell(table="upscale", what=name, n=len(values), seed=seed, **told)


def _bicubic(video: Video, say: StageContext) -> Video:
    size = video.frames.shape[2] * LARGER, video.frames.shape[1] * LARGER
    larger = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in video.frames]
    return Video(np.stack(larger), video.fps)


def _moving(exact: np.ndarray) -> np.ndarray:
    """`[frame, height, width]`; key frames are given, so they never count."""
    at, keys = np.arange(len(exact)), exact[::FACTOR]
    before, after = keys[at // FACTOR], keys[np.minimum(at // FACTOR + 1, len(keys) - 1)]
    differs = np.maximum(np.abs(before - after), np.abs(exact - before)).max(-1) > SEEN
    return differs & (at % FACTOR > 0)[:, None, None]


def _decibels(errors: list[float]) -> dict[str, float]:
    """PSNR of the mean square error of all clips, and the mean of each clip's own (60 dB at most)."""
    each = 10 * np.log10(255**2 / np.maximum(errors, 255**2 / 1e6))
    return {
        "psnr": round(float(10 * np.log10(255**2 / np.mean(errors))), 2),
        "mean of psnr": round(float(each.mean()), 2),
    }


def _tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main(
    n: Annotated[int, typer.Option(help="Scenes; those where nothing moves have nothing to interpolate.")] = 24,
    seed: int = 0,
    tables: Annotated[str, typer.Option(help="Which to measure, of interpolate,upscale.")] = "interpolate,upscale",
) -> None:
    """Print a line of JSON per way of finishing."""
    torch.set_num_threads(1)
    scenes = [invent(random.Random(f"finishing/{seed}/{i}"), KEYS) for i in range(n)]
    for table in tables.split(","):
        {"interpolate": interpolation, "upscale": enlargement}[table](scenes, seed)


if __name__ == "__main__":
    typer.run(main)
