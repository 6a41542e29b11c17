"""Stories and edits of the toy world, measured on `mini` with its own detector.

    python -m animatic.benchmarks.stories --tables stories,swap,weight --n 50 --seed 0

CSCV is DiTCtrl's on CLIP's features where `--clip` names weights, and on the mean colours of 8 x 8 patches otherwise.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
import typer

from ..backbones import load
from ..controls.edits import PromptToPrompt, Reweight
from ..controls.guidance import Guidance
from ..core.backbone import Backbone
from ..core.loop import sample
from ..editing import Edit, render_edit
from ..generation import render, render_story
from ..prompting.english import article
from ..scene import Box, Scene, Story, Track
from ..toy import grid_world as toyworld
from ..toy.detector import ToyDetector, same_colour
from ..toy.evals.mini import means
from ..toy.grid_captions import PLACES
from ..video import Video, joined
from .cases import middle
from .clip import ClipMetrics
from .detect import overlap
from .metrics import cscv, motion

Row = Mapping[str, Any]

FACTORS = (-1.0, 0.0, 0.5, 1.0, 2.0)
ALIKE = 0.75  # overlap of two sprites of one size in one place: what a swap could reach at best
KEPT = 0.6


def story(rng: random.Random) -> Story:
    """Three scenes of one thing that goes on its way, of which one word changes at each border: place or colour."""
    noun = rng.choice(toyworld.COLOURABLE)
    colours, places = rng.sample(tuple(toyworld.COLOURS), 2), rng.sample(toyworld.BACKGROUNDS, 2)
    said = [(colours[0], places[0]), rng.choice([(colours[1], places[0]), (colours[0], places[1])])]
    said.append((colours[1], places[1]))
    w, h = (side * 4 / toyworld.GRID for side in toyworld.aspect(noun))
    stops = [(rng.random() * (1 - w), rng.random() * (1 - h)) for _ in range(4)]
    boxes: list[Box] = [(x, y, x + w, y + h) for x, y in stops]
    return tuple(
        Scene(
            f"{article(f'{colour} {noun}')} {PLACES[place]}",
            (Track(f"{colour} {noun}", (boxes[i], boxes[i + 1])),),
            background=place,
        )
        for i, (colour, place) in enumerate(said)
    )


def isolated(scenes: Story, backbone: Backbone, method: str, seed: int, steps: int) -> Video:
    """Every scene a clip of its own, one after the other."""
    return joined([render(scene, backbone, method, seed + i, steps=steps) for i, scene in enumerate(scenes)])


def colours(frames: np.ndarray) -> np.ndarray:
    """Mean colours of 8 x 8 patches in -1..1: `[frame, 192]`."""
    count, height, width = frames.shape[:3]
    cells = frames.reshape(count, 8, height // 8, 8, width // 8, 3).mean((2, 4))
    return cells.reshape(count, -1) / 127.5 - 1


def told_right(scenes: Story, video: Video, detector: ToyDetector) -> float:
    """Share of frames in which the surest find is of the noun and colour of the frame's scene."""
    finds = detector.surest(video.frames)
    right = []
    for f, find in enumerate(finds):
        colour, noun = scenes[f * len(scenes) // len(finds)].tracks[0].phrase.split()
        right.append(find is not None and find.noun == noun and same_colour(noun, colour, find.colour))
    return float(np.mean(right))


def stories(backbone: Backbone, n: int, seed: int, steps: int, methods: Sequence[str], weights: str) -> Iterator[Row]:
    """Rows "isolated METHOD" are clips on their own, others whole stories."""
    rng, detector = random.Random(seed), ToyDetector()
    asked = [story(rng) for _ in range(n)]
    clip = ClipMetrics(weights) if weights else None
    for method in methods:
        name = method.removeprefix("isolated ")
        filmed = render_story if name == method else isolated
        rows: list[dict[str, float]] = []
        for i, scenes in enumerate(asked):
            video = filmed(scenes, backbone, name, seed + 10 * i, steps=steps)
            even = clip(video.frames, "")["cscv"] if clip else cscv(colours(video.frames))
            rows.append({"cscv": even, **motion(video.frames), "text": told_right(scenes, video, detector)})
        yield {"method": method, "features": weights or "colours", **means(rows, 4)}


def swaps(backbone: Backbone, n: int, seed: int, steps: int) -> Iterator[Row]:
    """A noun for another: whether the new thing is there, and where the old one was."""
    rng, detector, rows = random.Random(seed), ToyDetector(), []
    for i in range(n):
        old, new, place = *_alike(rng), rng.choice(toyworld.BACKGROUNDS)
        scene = Scene(f"{article(old)} {PLACES[place]}")
        videos = render_edit(scene, Edit(swap={old: new}), backbone, "none", seed + i, steps=steps)
        before, after = (detector.surest(video.frames) for video in videos)
        iou = float(np.mean([overlap(a.box, b.box) if a and b else 0.0 for a, b in zip(before, after, strict=True)]))
        was, there = (
            bool(np.mean([d is not None and d.noun == noun for d in finds]) >= 0.5)
            for finds, noun in ((before, old), (after, new))
        )
        kept = iou >= KEPT
        rows.append({"noun": there, "box": kept, "both": there and kept, "source noun": was, "iou": iou})
    yield means(rows)


def _alike(rng: random.Random) -> tuple[str, str]:
    """Two nouns of much the same shape: a car's box cannot be a person's."""
    while True:
        a, b = rng.sample(tuple(toyworld.NOUNS), 2)
        if overlap(*(toyworld.tight(noun, 0, 0, toyworld.GRID) for noun in (a, b))) >= ALIKE:
            return a, b


def weights(backbone: Backbone, n: int, seed: int, steps: int) -> Iterator[Row]:
    """A colour's word by five factors: how much of that colour the thing's pixels have."""
    rng, detector, rows = random.Random(seed), ToyDetector(), []
    count = 1 + len(FACTORS)
    for i in range(n):
        noun, colour = rng.choice(("ball", "cat", "dog", "bear", "star", "cup")), rng.choice(("red", "blue", "green"))
        prompt = f"{article(f'{colour} {noun}')} {PLACES[rng.choice(toyworld.BACKGROUNDS)]}"
        (token,) = backbone.text.positions(prompt, colour)
        controls = [
            Guidance(backbone.defaults.guidance),
            Reweight({1 + k: {token: factor} for k, factor in enumerate(FACTORS)}),
            PromptToPrompt([prompt] * count),
        ]
        noise = backbone.noise([seed + i], backbone.geometry.frames, toyworld.SIZE, toyworld.SIZE)
        cond = backbone.encode([prompt] * count, [""] * count)
        x = noise.expand(count, -1, -1, -1, -1).contiguous()
        frames = backbone.decode(sample(backbone, backbone.schedule(steps), x, cond, controls)).numpy()
        where = detector.surest(frames[0])
        goal = np.array(toyworld.COLOURS[colour])
        near = [np.mean([_hue(f, d.box, goal) for f, d in zip(film, where, strict=True) if d]) for film in frames]
        if not np.isnan(near).any():
            rows.append(near[1:])
    values = np.array(rows).reshape(-1, len(FACTORS))
    yield {
        "found": len(rows),
        "factors": FACTORS,
        "colour": [round(float(v), 4) for v in values.mean(0)] if rows else [],
        "monotone": round(int((np.diff(values) > 0).all(1).sum()) / n, 3),  # not found is not monotone
    }


def _hue(frame: np.ndarray, box: Box, colour: np.ndarray) -> float:
    """How far the pixels in the middle half of a box are from grey in the direction of a colour; 1 is that colour."""
    (x, y), w, h = middle(box), (box[2] - box[0]) / 4, (box[3] - box[1]) / 4
    edges = (np.clip(round(v * toyworld.SIZE), 0, toyworld.SIZE - 1) for v in (x - w, y - h, x + w, y + h))
    x0, y0, x1, y1 = map(int, edges)
    part = frame[y0 : y1 + 1, x0 : x1 + 1].astype(float)
    goal = colour - colour.mean()
    return float(((part - part.mean(-1, keepdims=True)) @ goal).mean() / (goal @ goal))


def main(
    model: str = "mini",
    n: Annotated[int, typer.Option(help="Stories, or edits.")] = 50,
    seed: int = 0,
    steps: int = 25,
    tables: Annotated[str, typer.Option(help="Which to measure, of stories,swap,weight.")] = "stories,swap,weight",
    methods: Annotated[str, typer.Option(help="Rows of stories.")] = "isolated lvd-gligen,ditctrl+gligen",
    clip: Annotated[str, typer.Option(help="CLIP weights; '' compares colours.")] = "",
) -> None:
    """Print one line of JSON per row: settings, n, and means."""
    torch.set_num_threads(1)
    backbone = load(model)
    for table in tables.split(","):
        if table == "stories":
            rows = stories(backbone, n, seed, steps, methods.split(","), clip)
        else:
            rows = {"swap": swaps, "weight": weights}[table](backbone, n, seed, steps)
        for row in rows:
            print(json.dumps({"table": table, "n": n, "seed": seed, "steps": steps, **row}), flush=True)


if __name__ == "__main__":
    typer.run(main)
