"""Stories and edits of the toy world, measured on `mini` with its own detector.

    python -m animatic.benchmarks.stories --tables stories,swap,weight --n 50 --seed 0

CSCV is DiTCtrl's on CLIP's features where `--clip` names weights, and on the mean colours of 8 x 8 patches otherwise.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
import typer

from ..backbones import load
from ..backbones.base import Backbone
from ..controls.edits import PromptToPrompt, Reweight
from ..controls.guidance import Guidance
from ..editing import Edit, render_edit
from ..english import article
from ..rendering import render, render_story
from ..sampling import sample
from ..scene import Box, Scene, Story, Track
from ..training import toyworld
from ..training.captions import PLACES
from ..video import Video, joined
from .detect import overlap
from .metrics import cscv, motion
from .mini import best
from .toy_detector import ToyDetector, same_colour

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
    finds = [best(found) for found in detector(video.frames)]
    right = []
    for f, find in enumerate(finds):
        colour, noun = scenes[f * len(scenes) // len(finds)].tracks[0].phrase.split()
        right.append(find is not None and find.noun == noun and same_colour(noun, colour, find.colour))
    return float(np.mean(right))


def stories(backbone: Backbone, n: int, seed: int, steps: int, methods: Sequence[str], clip: str) -> None:
    """Rows "isolated METHOD" are clips on their own, others whole stories."""
    rng, detector = random.Random(seed), ToyDetector()
    asked = [story(rng) for _ in range(n)]
    for method in methods:
        rows: list[dict[str, float]] = []
        for i, scenes in enumerate(asked):
            alone = method.startswith("isolated ")
            name = method.removeprefix("isolated ")
            video = (
                isolated(scenes, backbone, name, seed + 10 * i, steps)
                if alone
                else render_story(scenes, backbone, name, seed + 10 * i, steps=steps)
            )
            even = _clip(clip)(video.frames, "")["cscv"] if clip else cscv(colours(video.frames))
            rows.append({"cscv": even, **motion(video.frames), "text": told_right(scenes, video, detector)})
        means = {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}
        _tell(table="stories", method=method, n=n, seed=seed, steps=steps, features=clip or "colours", **means)


def _clip(weights: str) -> Any:
    from .clip import Clip

    return Clip(weights)


def swaps(backbone: Backbone, n: int, seed: int, steps: int) -> None:
    """A noun for another: whether the new thing is there, and where the old one was."""
    rng, detector = random.Random(seed), ToyDetector()
    changed, kept, both, ious, control = [], [], [], [], []
    for i in range(n):
        old, new, place = *_alike(rng), rng.choice(toyworld.BACKGROUNDS)
        scene = Scene(f"{article(old)} {PLACES[place]}")
        source, target = render_edit(scene, Edit(swap={old: new}), backbone, "none", seed + i, steps=steps)
        finds = [[best(found) for found in detector(video.frames)] for video in (source, target)]
        pairs = [overlap(a.box, b.box) if a and b else 0.0 for a, b in zip(*finds, strict=True)]
        changed.append(np.mean([b is not None and b.noun == new for b in finds[1]]) >= 0.5)
        control.append(np.mean([a is not None and a.noun == old for a in finds[0]]) >= 0.5)
        ious.append(float(np.mean(pairs)))
        kept.append(ious[-1] >= KEPT)
        both.append(changed[-1] and kept[-1])
    shares = {"noun": changed, "box": kept, "both": both, "source noun": control, "iou": ious}
    means = {key: round(float(np.mean(values)), 3) for key, values in shares.items()}
    _tell(table="swap", n=n, seed=seed, steps=steps, **means)


def _alike(rng: random.Random) -> tuple[str, str]:
    """Two nouns of much the same shape: a car's box cannot be a person's."""

    def box(noun: str) -> Box:
        w, h = toyworld.aspect(noun)
        return 0.5 - w / 2, 0.5 - h / 2, 0.5 + w / 2, 0.5 + h / 2

    while True:
        a, b = rng.sample(tuple(toyworld.NOUNS), 2)
        if overlap(box(a), box(b)) >= ALIKE:
            return a, b


def weights(backbone: Backbone, n: int, seed: int, steps: int) -> None:
    """A colour's word by five factors: how much of that colour the thing's pixels have."""
    rng, detector = random.Random(seed), ToyDetector()
    rows = []
    for i in range(n):
        noun, colour = rng.choice(("ball", "cat", "dog", "bear", "star", "cup")), rng.choice(("red", "blue", "green"))
        prompt = f"{article(f'{colour} {noun}')} {PLACES[rng.choice(toyworld.BACKGROUNDS)]}"
        (token,) = backbone.text.positions(prompt, colour)
        count = 1 + len(FACTORS)
        controls = [
            Guidance(backbone.habits.guidance),
            Reweight({1 + k: {token: factor} for k, factor in enumerate(FACTORS)}),
            PromptToPrompt([prompt] * count),
        ]
        noise = backbone.noise([seed + i], backbone.geometry.frames, toyworld.SIZE, toyworld.SIZE)
        cond = backbone.encode([prompt] * count, [""] * count)
        x = noise.expand(count, -1, -1, -1, -1).contiguous()
        frames = backbone.decode(sample(backbone, backbone.schedule(steps), x, cond, controls)).numpy()
        where = [best(found) for found in detector(frames[0])]
        goal = np.array(toyworld.COLOURS[colour])
        near = [np.mean([_hue(f, d.box, goal) for f, d in zip(film, where, strict=True) if d]) for film in frames]
        if not np.isnan(near).any():
            rows.append(near[1:])
    values = np.array(rows)
    _tell(
        table="weight", n=n, seed=seed, steps=steps, found=len(rows), factors=FACTORS,
        colour=[round(float(v), 4) for v in values.mean(0)],
        monotone=round(float((np.diff(values, axis=1) > 0).all(1).mean()), 3),
        **{"mean is monotone": bool((np.diff(values.mean(0)) > 0).all())},
    )  # fmt: skip


def _hue(frame: np.ndarray, box: Box, colour: np.ndarray) -> float:
    """How far the pixels in the middle half of a box are from grey in the direction of a colour; 1 is that colour."""
    x, y, w, h = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 4, (box[3] - box[1]) / 4
    x0, y0, x1, y1 = (
        int(np.clip(round(v * toyworld.SIZE), 0, toyworld.SIZE - 1)) for v in (x - w, y - h, x + w, y + h)
    )
    part = frame[y0 : y1 + 1, x0 : x1 + 1].astype(float)
    goal = colour - colour.mean()
    return float(((part - part.mean(-1, keepdims=True)) @ goal).mean() / (goal @ goal))


def _tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


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
            stories(backbone, n, seed, steps, methods.split(","), clip)
        else:
            {"swap": swaps, "weight": weights}[table](backbone, n, seed, steps)


if __name__ == "__main__":
    typer.run(main)
