"""Stories and edits of the toy world, measured on `mini` with its own detector.

    python -m animatic.benchmarks.stories --tables stories,swap,weight --n 50 --seed 0

CSCV is DiTCtrl's on CLIP's features where `--clip` names weights, and on the mean colours of 8 x 8 patches otherwise.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
import typer

from ..backbones import load
from ..controls.edits import PromptToPrompt
from ..controls.guidance import Guidance
from ..controls.reweight import Reweight
from ..core.backbone import Backbone
from ..core.loop import sample
from ..generation import generate_versions
from ..prompting.english import article
from ..rendering import render, request_of
from ..scene import Box, Scene, Story, Track
from ..story_edit import Edit
from ..toy import world as toyworld
from ..toy.detector import ToyDetector, same_colour
from ..toy.evals.judging import means
from ..toy.wording import PLACES
from ..video import Video, joined
from .cases import middle
from .clip import ClipMetrics
from .detect import overlap
from .metrics import cscv, motion

Row = Mapping[str, Any]

FACTORS = (-1.0, 0.0, 0.5, 1.0, 2.0)
MIN_SPRITE_OVERLAP = 0.75  # overlap of two sprites of one size in one place: what a swap could reach at best
MIN_KEPT_IOU = 0.6


def story(rng: random.Random, nouns: Collection[str]) -> Story:
    """Three scenes of one moving object; at each border one word changes, its colour or the place."""
    # Two colours and two places.
    noun = rng.choice([noun for noun in toyworld.COLOURABLE if noun in nouns])
    first_colour, second_colour = rng.sample(tuple(toyworld.COLOURS), 2)
    first_place, second_place = rng.sample(toyworld.BACKGROUNDS, 2)

    # Colour and place of each scene.
    between = rng.choice([(second_colour, first_place), (first_colour, second_place)])
    settings = [(first_colour, first_place), between, (second_colour, second_place)]

    # The object moves on from where the scene before ended.
    aspect = toyworld.aspect(noun)
    w, h = (side / 2 for side in aspect)  # half of the frame
    boxes: list[Box] = []
    for _ in range(4):
        x = rng.random() * (1 - w)
        y = rng.random() * (1 - h)
        boxes.append((x, y, x + w, y + h))

    # A scene begins where the one before has ended.
    scenes = []
    for i, (colour, place) in enumerate(settings):
        phrase = f"{colour} {noun}"
        track = Track(phrase, (boxes[i], boxes[i + 1]))
        prompt = f"{article(phrase)} {PLACES[place]}"
        scenes.append(Scene(prompt, (track,), background=place))
    return tuple(scenes)


def isolated(scenes: Story, backbone: Backbone, method: str, seed: int, **options: Any) -> Video:
    """Every scene a clip of its own, one after the other."""
    # A seed of its own for each scene, as for any two clips.
    videos = []
    for i, scene in enumerate(scenes):
        videos.append(render(scene, backbone, method, seed + i, **options))
    return joined(videos)


def colours(frames: np.ndarray) -> np.ndarray:
    """Mean colours of 8 x 8 patches in -1..1: `[frame, 192]`."""
    count, height, width = frames.shape[:3]

    # 64 patches, whatever the size of the frames.
    cells = frames.reshape(count, 8, height // 8, 8, width // 8, 3)
    means = cells.mean((2, 4)).reshape(count, -1)
    return means / 127.5 - 1


def stories(
    backbone: Backbone, n: int, seed: int, methods: Sequence[str], weights: str, **options: Any
) -> Iterator[Row]:
    """A row per method. "isolated METHOD" renders each scene as a clip of its own, other names render whole stories."""
    rng = random.Random(seed)
    detector = ToyDetector()
    nouns = toyworld.known_nouns(backbone.words)
    sampled = [story(rng, nouns) for _ in range(n)]
    clip = ClipMetrics(weights) if weights else None
    for method in methods:
        # The same stories and seeds for every method.
        name = method.removeprefix("isolated ")
        make = render if name == method else isolated
        rows: list[dict[str, float]] = []
        for i, scenes in enumerate(sampled):
            video = make(scenes, backbone, name, seed + 10 * i, **options)

            # Without CLIP mean colours show cuts, too.
            if clip:
                evenness = clip(video.frames, "")["cscv"]
            else:
                evenness = cscv(colours(video.frames))

            # Whether each part shows its own prompt.
            accuracy = prompt_accuracy(scenes, video, detector)
            rows.append({"cscv": evenness, **motion(video.frames), "text": accuracy})
        yield {"method": method, "features": weights or "colours", **means(rows, 4)}


def swaps(backbone: Backbone, n: int, seed: int, **options: Any) -> Iterator[Row]:
    """Word swap: whether the new object is generated, and where the old one was."""
    rng = random.Random(seed)
    detector = ToyDetector()
    rows = []
    nouns = toyworld.known_nouns(backbone.words)
    for i in range(n):
        old, new = _alike(rng, nouns)

        # A prompt and its edit differ in one noun.
        place = rng.choice(toyworld.BACKGROUNDS)
        scene = Scene(f"{article(old)} {PLACES[place]}")
        request = request_of((scene,), backbone, "none", seed + i, **options)
        videos = generate_versions(request.edited(Edit(swap={old: new})), backbone)
        before, after = (detector.surest(video.frames) for video in videos)

        # The layout is kept where the boxes of source and edit overlap.
        ious = []
        for a, b in zip(before, after, strict=True):
            ious.append(overlap(a.box, b.box) if a and b else 0.0)
        iou = float(np.mean(ious))
        kept = iou >= MIN_KEPT_IOU
        had_old = _mostly(before, old)
        has_new = _mostly(after, new)
        rows.append({"noun": has_new, "box": kept, "both": has_new and kept, "source noun": had_old, "iou": iou})
    yield means(rows)


def _alike(rng: random.Random, nouns: Sequence[str]) -> tuple[str, str]:
    """Two nouns of much the same shape: a car's box cannot be a person's."""
    while True:
        a, b = rng.sample(nouns, 2)
        box_of_a = toyworld.tight(a, 0, 0, toyworld.SIZE)
        box_of_b = toyworld.tight(b, 0, 0, toyworld.SIZE)
        if overlap(box_of_a, box_of_b) >= MIN_SPRITE_OVERLAP:
            return a, b


def weights(backbone: Backbone, n: int, seed: int, steps: int, guidance: float | None) -> Iterator[Row]:
    """Attention reweighting of a colour's token by five factors: how much of the colour the object's pixels have."""
    rng = random.Random(seed)
    detector = ToyDetector()
    rows = []
    count = 1 + len(FACTORS)
    for i in range(n):
        noun = rng.choice(("ball", "cat", "dog", "bear", "star", "cup"))
        colour = rng.choice(("red", "blue", "green"))
        place = rng.choice(toyworld.BACKGROUNDS)
        phrase = f"{colour} {noun}"
        prompt = f"{article(phrase)} {PLACES[place]}"
        (token,) = backbone.text.positions(prompt, colour)

        # The source and one edit per factor, from the same noise.
        factors = {1 + k: {token: factor} for k, factor in enumerate(FACTORS)}
        controls = [Guidance(guidance), Reweight(factors), PromptToPrompt()]
        noise = backbone.noise([seed + i], backbone.geometry.frames, toyworld.SIZE, toyworld.SIZE)
        x = noise.expand(count, -1, -1, -1, -1).contiguous()
        scenes = [Scene(prompt)] * count
        cond = backbone.encode([prompt] * count, [""] * count)
        latents = sample(backbone, backbone.schedule(steps), x, cond, controls, scenes=scenes)
        videos = backbone.decode(latents).numpy()

        # Colour inside the boxes that are detected in the source.
        detections = detector.surest(videos[0])
        target = np.array(toyworld.COLOURS[colour])
        values = []
        for video in videos:
            hues = []
            for frame, found in zip(video, detections, strict=True):
                if found:
                    hues.append(_hue(frame, found.box, target))
            values.append(np.mean(hues) if hues else np.nan)
        if not np.isnan(values).any():
            rows.append(values[1:])

    # One row a prompt, one column a factor; a source without detections counts as not monotone.
    table = np.array(rows).reshape(-1, len(FACTORS))
    increasing = (np.diff(table) > 0).all(1)
    means_by_factor = [round(float(value), 4) for value in table.mean(0)] if rows else []
    monotone = int(increasing.sum()) / n
    yield {"found": len(rows), "factors": FACTORS, "colour": means_by_factor, "monotone": round(monotone, 3)}


def _hue(frame: np.ndarray, box: Box, colour: np.ndarray) -> float:
    """How far the pixels in the middle half of a box are from grey in the direction of a colour; 1 is that colour."""
    # The middle of the box, where there is no background.
    x, y = middle(box)
    w = (box[2] - box[0]) / 4
    h = (box[3] - box[1]) / 4
    last = toyworld.SIZE - 1
    edges = []
    for edge in (x - w, y - h, x + w, y + h):
        pixel = round(edge * toyworld.SIZE)
        edges.append(int(np.clip(pixel, 0, last)))
    x0, y0, x1, y1 = edges
    pixels = frame[y0 : y1 + 1, x0 : x1 + 1].astype(float)

    # Projection of the chroma on the colour's own.
    chroma = pixels - pixels.mean(-1, keepdims=True)
    target = colour - colour.mean()
    projected = (chroma @ target).mean()
    return float(projected / (target @ target))


def prompt_accuracy(scenes: Story, video: Video, detector: ToyDetector) -> float:
    """Fraction of frames whose best detection has the noun and colour of the frame's scene."""
    detections = detector.surest(video.frames)
    correct = []
    for f, detection in enumerate(detections):
        scene = scenes[f * len(scenes) // len(detections)]
        colour, noun = scene.tracks[0].phrase.split()
        right = detection is not None and detection.noun == noun and same_colour(noun, colour, detection.colour)
        correct.append(right)
    return float(np.mean(correct))


def _mostly(detections: Sequence[Any], noun: str) -> bool:
    """Whether the best detection is of this noun in half of the frames or more."""
    # A detection in each frame, or None.
    hits = [d is not None and d.noun == noun for d in detections]
    return bool(np.mean(hits) >= 0.5)


def main(
    model: str = "mini",
    n: Annotated[int, typer.Option(help="Stories, or edits.")] = 50,
    seed: int = 0,
    steps: int = 25,
    guidance: Annotated[float | None, typer.Option(help="Scale; the model's own if not given.")] = None,
    tables: Annotated[str, typer.Option(help="Which to measure, of stories,swap,weight.")] = "stories,swap,weight",
    methods: Annotated[str, typer.Option(help="Rows of stories.")] = "isolated lvd-gligen,ditctrl+gligen",
    clip: Annotated[str, typer.Option(help="CLIP weights; '' compares colours.")] = "",
) -> None:
    """Print one line of JSON per row: settings, n, and means."""
    torch.set_num_threads(1)
    backbone = load(model)
    options = {"steps": steps, "guidance": guidance}
    for table in tables.split(","):
        if table == "stories":
            rows = stories(backbone, n, seed, methods.split(","), clip, **options)
        else:
            rows = {"swap": swaps, "weight": weights}[table](backbone, n, seed, **options)
        for row in rows:
            values = {"table": table, "n": n, "seed": seed, **options, **row}
            print(json.dumps(values), flush=True)


if __name__ == "__main__":
    typer.run(main)
