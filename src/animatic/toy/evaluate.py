"""How well a model draws the world off the grid: the table that says whether the next `mini` may replace today's.

    python -m animatic.toy.evaluate --model mini --model runs/out/mini2/mini --n 50

Prompts name triples of noun, colour and background that no training scene holds (`captions.held_out`); boxes stand at
any pixel. Every model is asked for the same nouns, those of all models named, at its own number of frames.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..backbones import load
from ..backbones.base import Backbone
from ..benchmarks.cases import Tally, centred, middle
from ..benchmarks.mini import STRAIGHT, moved
from ..benchmarks.toy_detector import Detection, ToyDetector, behind, same_colour
from ..benchmarks.toy_scan import OFF_GRID
from ..english import article
from ..planning.motions import line
from ..rendering import render_batch
from ..scene import Box, Scene, Track
from ..training.captions import PLACES, WAYS
from .captions import EASES, ING, VERBS, ToyObject, held_out
from .world import BACKGROUNDS, COLOURABLE, COLOURS, FRAMES, SIZE, draw, place, tight

BATCH = 10
NEAR = 3.0  # pixels that a centre may be off
FILLED = (0.75, 1.33)  # the area of one object, in areas of its sprite; two halves or a capsule are more
VISIBLE = 0.02  # squared colour distance from the backdrop at which a pixel belongs to an object
SIDES = {1: (20, 36), 3: (16, 24)}  # pixels, by the number of objects


@dataclass(frozen=True)
class Case:
    """A prompt with what it says of its objects: (noun, colour, colour "" where none is said), and of one's way."""

    scene: Scene
    objects: tuple[tuple[str, str], ...]
    way: str = ""


def cases(rng: random.Random, count: int, nouns: Sequence[str], objects: int = 1, boxes: bool = True) -> list[Case]:
    """Held-out cases. With `boxes` each object drifts from one place to another, which no word implies.

    Without, a way is told in words.
    """
    made: list[Case] = []
    while len(made) < count:
        background = rng.choice(BACKGROUNDS)
        triples = [(noun, colour) for noun in nouns for colour in (tuple(COLOURS) if noun in COLOURABLE else ("",))]
        unseen = [(noun, colour) for noun, colour in triples if held_out(noun, colour, background)]
        if len({noun for noun, _ in unseen}) < objects:
            continue
        chosen = rng.sample(unseen, objects)
        if len({noun for noun, _ in chosen}) < objects:
            continue
        way = "" if boxes else rng.choice(STRAIGHT)
        tracks = _apart(rng, chosen) if boxes else ()
        words = ", ".join(article(f"{colour} {noun}".strip()) for noun, colour in chosen[:-1])
        last = article(" ".join(word for word in (chosen[-1][1], chosen[-1][0]) if word))
        prompt = f"{words} and {last}" if words else last
        if way:
            prompt += f" {ING[VERBS.get(chosen[0][0], 'move')]} {rng.choice(WAYS[way])}"
        prompt += rng.choice((" " + PLACES[background], f", {background} background"))
        scene = Scene(prompt[0].upper() + prompt[1:], tracks, background)
        made.append(Case(scene, tuple(chosen), way))
    return made


def _apart(rng: random.Random, objects: Sequence[tuple[str, str]]) -> tuple[Track, ...]:
    """A track for each object, softly from a random place to another; boxes never overlap."""
    while True:
        tracks = []
        for noun, colour in objects:
            start, end = ((rng.random(), rng.random()) for _ in range(2))
            side = rng.randint(*SIDES[len(objects)])
            tracks.append(ToyObject(noun, colour, side, start, line(start, end), rng.choice(EASES[:2])).track(FRAMES))
        pairs = [(a, b) for i, a in enumerate(tracks) for b in tracks[:i]]
        if not any(_touch(p, q) for a, b in pairs for p, q in zip(a.boxes, b.boxes, strict=True)):
            return tuple(tracks)


def _touch(p: Box | None, q: Box | None) -> bool:
    return bool(p and q and min(p[2], q[2]) > max(p[0], q[0]) and min(p[3], q[3]) > max(p[1], q[1]))


def judge_one(case: Case, frames: np.ndarray, finds: Sequence[Sequence[Detection]]) -> dict[str, Any]:
    """What is seen of one object in uint8 `[frame, SIZE, SIZE, 3]`, given the finds in each; shares are of frames."""
    noun, colour = case.objects[0]
    surest = [next(iter(found), None) for found in finds]
    result: dict[str, Any] = {
        "noun": float(np.mean([d is not None and d.noun == noun for d in surest]) >= 0.5),
        "one object": float(np.mean([len(found) == 1 for found in finds])),
    }
    if colour:
        right = [d is not None and same_colour(d.noun, colour, d.colour, OFF_GRID) for d in surest]
        result["colour"] = float(np.mean(right) >= 0.5)
    if case.way:
        result["way"] = float(moved(surest) == case.way)

    # its area, against that of the sprite found, drawn on the bare backdrop: 1 is one whole object
    found = [(frame, d) for frame, d in zip(frames, surest, strict=True) if d]
    areas = [filled(frame, d, case.scene.background) for frame, d in found]
    if known := [a for a in areas if a]:
        result["area"] = float(np.median(known))
    whole = [bool(d and a and FILLED[0] <= a <= FILLED[1]) for (_, d), a in zip(found, areas, strict=True)]
    result["one whole object"] = sum(
        w and len(f) == 1 for w, f in zip(whole, [f for f in finds if f], strict=True)
    ) / len(frames)
    result |= steadiness(surest)

    if case.scene.tracks:
        boxes = case.scene.at(len(frames)).tracks[0].boxes
        off = [distance(d.box, b) if d and b else np.inf for d, b in zip(surest, boxes, strict=True)]
        result["within 3 px"] = float(np.mean([o <= NEAR for o in off]))
        result["centre in box"] = float(
            np.mean([bool(d and b and centred(d.box, b)) for d, b in zip(surest, boxes, strict=True)])
        )
        if known := [o for o in off if np.isfinite(o)]:
            result["px off"] = float(np.mean(known))
        drawn = [tight(noun, *place(b)) for b in boxes if b]  # to whole pixels, as the world draws it
        result["jerk of truth"] = jerk([middle(b) for b in drawn])
    return result


def judge_all(case: Case, finds: Sequence[Sequence[Detection]]) -> dict[str, Any]:
    """Whether each of several objects stands in its box with its colour, in at least half of the frames."""
    tracks = case.scene.at(len(finds)).tracks
    right = []
    for (noun, colour), track in zip(case.objects, tracks, strict=True):
        hits = [
            any(
                d.noun == noun and (not colour or same_colour(noun, colour, d.colour, OFF_GRID)) and centred(d.box, box)
                for d in found
            )
            for found, box in zip(finds, track.boxes, strict=True)
            if box
        ]
        right.append(float(np.mean(hits)) >= 0.5)
    return {"all right": float(all(right)), "objects right": float(np.mean(right))}


def filled(frame: np.ndarray, found: Detection, background: str) -> float | None:
    """How much of a frame is not backdrop, in areas of the sprite that was found; None where that blends in."""
    phrase = f"{found.colour} {found.noun}".strip()
    alone, cover = draw(Scene(phrase, (Track(phrase, (found.box,)),), background), 1)
    drawn = covered(alone[0])
    return covered(frame) / drawn if drawn > 0.8 * (cover > 0.5).sum() else None


def covered(frame: np.ndarray) -> int:
    """Pixels of uint8 `[SIZE, SIZE, 3]` that differ from the backdrop it shows."""
    picture = frame.astype(np.float32) / 255
    return int((((picture - behind(picture)) ** 2).sum(-1) > VISIBLE).sum())


def steadiness(finds: Sequence[Detection | None]) -> dict[str, float]:
    """The jerk of the surest find, over the frames in which it is the same noun as in the two before."""
    runs = [(a, b, c) for a, b, c in zip(finds, finds[1:], finds[2:], strict=False) if a and b and c]
    steps = [jerk([middle(d.box) for d in run]) for run in runs if len({d.noun for d in run}) == 1]
    return {"jerk": float(np.mean(steps))} if steps else {}


def jerk(centres: Sequence[tuple[float, float]]) -> float:
    """Mean length of the second difference of centres in 0..1, in pixels."""
    bends = np.diff(np.array(centres) * SIZE, 2, axis=0)
    return float(np.hypot(*bends.T).mean()) if len(bends) else 0.0


def distance(box: Box, other: Box) -> float:
    """Between the centres of two boxes, in pixels."""
    return float(np.hypot(*np.subtract(middle(box), middle(other))) * SIZE)


def videos(model: Backbone, chosen: Sequence[Case], method: str, seed: int, steps: int) -> list[np.ndarray]:
    frames: list[np.ndarray] = []
    for i in range(0, len(chosen), BATCH):
        scenes = [case.scene for case in chosen[i : i + BATCH]]
        seeds = range(seed + i, seed + i + len(scenes))
        frames += [video.frames for video in render_batch(scenes, model, method, seeds, steps=steps)]
    return frames


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every score over the cases that have it; of shares also n and Wilson's 95 % interval over cases."""
    table: dict[str, Any] = {}
    for key in dict.fromkeys(key for result in results for key in result):
        values = [result[key] for result in results if key in result]
        table[key] = {"mean": round(float(np.mean(values)), 3), "n": len(values)}
        if set(values) <= {0.0, 1.0}:
            low, high = Tally(int(sum(values)), len(values)).interval()
            table[key]["interval"] = [round(low, 3), round(high, 3)]
    return table


def main(
    model: Annotated[list[str], typer.Option(help="A model's name or folder; may be given several times.")],
    n: Annotated[int, typer.Option(help="Cases a row.")] = 50,
    methods: Annotated[str, typer.Option(help="With boxes, with commas.")] = "none,lvd",
    tables: Annotated[str, typer.Option(help="Of truth,words,boxes,three, with commas.")] = "truth,words,boxes,three",
    seed: int = 1000,
    steps: int = 25,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep the frames in, as .npy.")] = None,
) -> None:
    """Print one line of JSON per row: table, model, method and every score with n."""
    loaded = {name: load(name) for name in model}
    nouns = [noun for noun in OFF_GRID.nouns if all(noun in m.words for m in loaded.values())]
    detector = ToyDetector(world=OFF_GRID, exact=True)
    spoken = cases(random.Random(seed), n, nouns, boxes=False)
    boxed = cases(random.Random(seed + 1), n, nouns)
    three = cases(random.Random(seed + 2), n, nouns, objects=3)

    def row(table: str, name: str, method: str, results: Sequence[dict[str, Any]]) -> None:
        print(json.dumps({"table": table, "model": name, "method": method, "n": n, **summary(results)}), flush=True)

    if "truth" in tables:  # the world's own films: what a perfect model would get
        for table, chosen in (("boxes", boxed), ("three", three)):
            films = [draw(case.scene, FRAMES)[0] for case in chosen]
            row(
                table,
                "world",
                "drawn",
                [_judged(case, film, detector) for case, film in zip(chosen, films, strict=True)],
            )

    rows = [("words", spoken, "none")] if "words" in tables else []
    rows += [("boxes", boxed, method) for method in methods.split(",") if "boxes" in tables]
    rows += [("three", three, method) for method in methods.split(",") if "three" in tables]
    for table, chosen, method in rows:
        for name, backbone in loaded.items():
            films = videos(backbone, chosen, method, seed, steps)
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                np.save(keep / f"{table}-{method}-{Path(name).name}-{list(loaded).index(name)}.npy", np.stack(films))
            row(table, name, method, [_judged(c, film, detector) for c, film in zip(chosen, films, strict=True)])


def _judged(case: Case, frames: np.ndarray, detector: ToyDetector) -> dict[str, Any]:
    finds = detector(frames)
    return judge_one(case, frames, finds) if len(case.objects) == 1 else judge_all(case, finds)


if __name__ == "__main__":
    typer.run(main)
