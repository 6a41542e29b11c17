"""Accuracy of models on the world off the grid: what decides whether the next `mini` replaces the present.

    python -m animatic.toy.evals.offgrid --model mini --model runs/out/mini2/mini --n 50

Prompts name triples of noun, colour and background that no training scene shows (`captions.held_out`); boxes are at any
pixel. Every model gets the same nouns, which all models know, and renders its own number of frames.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ...backbones import load
from ...benchmarks.cases import Tally, centred, middle
from ...core.backbone import Backbone
from ...rendering import render_batch
from ...scene import Box, Scene, Track
from ..detector import ToyDetector, same_colour
from ..residual import Detection, behind
from ..scan import OFF_GRID
from ..world import FRAMES, SIZE, draw, place, tight
from .held_out import HeldOutCase, held_out_cases
from .mini import moved

BATCH = 10
NEAR = 3.0  # largest error of a centre, in pixels
FILLED = (0.75, 1.33)  # the area of one whole object, in areas of its sprite
VISIBLE = 0.02  # squared colour distance from the backdrop at which a pixel belongs to an object


def judge_one(case: HeldOutCase, frames: np.ndarray, finds: Sequence[Sequence[Detection]]) -> dict[str, float]:
    """Scores of a case with one object in uint8 `[frame, SIZE, SIZE, 3]`, given the detections in each frame.

    Noun and colour are right where they are in at least half of the frames. Other fractions are of frames; areas and
    distances are means over the frames with a detection.
    """
    tracks = case.scene.at(len(frames)).tracks
    boxes = tracks[0].boxes if tracks else (None,) * len(frames)
    of_frames = zip(frames, finds, boxes, strict=True)
    parts = [judge_frame(case, frame, found, box) for frame, found, box in of_frames]

    # Means over frames; the object has its noun where most frames show it.
    result: dict[str, float] = {}
    for key in parts[0] | parts[-1]:
        values = [part[key] for part in parts if key in part]
        result[key] = float(np.mean(values))
    for key in ("noun", "colour"):
        if key in result:
            result[key] = float(result[key] >= 0.5)

    # How it moves.
    surest = [next(iter(found), None) for found in finds]
    if case.motion:
        result["way"] = float(moved(surest) == case.motion)
    measured_jerk = jerk_of_finds(surest)
    if measured_jerk is not None:
        result["jerk"] = measured_jerk
    if tracks:  # to whole pixels, as the world draws it
        noun = case.objects[0][0]
        drawn = [tight(noun, *place(box)) for box in boxes if box]
        result["jerk of truth"] = jerk([middle(box) for box in drawn])
    return result


def judge_frame(case: HeldOutCase, frame: np.ndarray, finds: Sequence[Detection], box: Box | None) -> dict[str, float]:
    """The scores of one frame, by its best detection and the number of detections; `box` is the one of the scene."""
    noun, colour = case.objects[0]
    best = next(iter(finds), None)
    is_single = len(finds) == 1
    has_noun = best is not None and best.noun == noun
    result = {"noun": float(has_noun), "one object": float(is_single)}
    if colour:
        is_right = best is not None and same_colour(best.noun, colour, best.colour, OFF_GRID)
        result["colour"] = float(is_right)

    area = None if best is None else filled(frame, best, case.scene.background)
    if area is not None:
        result["area"] = area
    low, high = FILLED
    is_whole = area is not None and low <= area <= high
    result["one whole object"] = float(is_single and is_whole)

    if box is not None:
        off = np.inf if best is None else distance(best.box, box)
        result["within 3 px"] = float(off <= NEAR)
        is_inside = best is not None and centred(best.box, box)
        result["centre in box"] = float(is_inside)
        if best is not None:
            result["px off"] = off
    return result


def judge_all(case: HeldOutCase, finds: Sequence[Sequence[Detection]]) -> dict[str, float]:
    """Whether each of several objects is in its box with its colour, in at least half of the frames."""

    def there(noun: str, colour: str, box: Box | None, found: Sequence[Detection]) -> bool:
        if box is None:
            return False
        named = [d for d in found if d.noun == noun]
        if colour:
            named = [d for d in named if same_colour(noun, colour, d.colour, OFF_GRID)]
        return any(centred(d.box, box) for d in named)

    # An object is right where it is in its box in most frames.
    tracks = case.scene.at(len(finds)).tracks
    right = []
    for (noun, colour), track in zip(case.objects, tracks, strict=True):
        hits = []
        for box, found in zip(track.boxes, finds, strict=True):
            hits.append(there(noun, colour, box, found))
        right.append(np.mean(hits) >= 0.5)
    return {"all right": float(all(right)), "objects right": float(np.mean(right))}


def filled(frame: np.ndarray, found: Detection, background: str) -> float | None:
    """The area that is not backdrop, in areas of the detected sprite; None where the sprite resembles the backdrop."""
    # The sprite alone, drawn by the world, is the measure.
    phrase = f"{found.colour} {found.noun}".strip()
    alone = Scene(phrase, (Track(phrase, (found.box,)),), background)
    rendered, cover = draw(alone, 1)
    drawn = covered(rendered[0])
    is_distinct = drawn > 0.8 * (cover > 0.5).sum()
    return covered(frame) / drawn if is_distinct else None


def covered(frame: np.ndarray) -> int:
    """The number of pixels of uint8 `[SIZE, SIZE, 3]` that differ from its backdrop."""
    picture = frame.astype(np.float32) / 255
    squared = ((picture - behind(picture)) ** 2).sum(-1)
    return int((squared > VISIBLE).sum())


def jerk_of_finds(finds: Sequence[Detection | None]) -> float | None:
    """The jerk of the detections, over frames with the noun of the two frames before; None where there is none."""
    jerks = []
    for run in zip(finds, finds[1:], finds[2:], strict=False):
        # Only where all three frames show the same noun.
        detections = [found for found in run if found]
        is_one_object = len({found.noun for found in detections}) == 1
        if len(detections) == 3 and is_one_object:
            jerks.append(jerk([middle(found.box) for found in detections]))
    return float(np.mean(jerks)) if jerks else None


def jerk(centres: Sequence[tuple[float, float]]) -> float:
    """Mean length of the second difference of centres in 0..1, in pixels."""
    pixels = np.array(centres) * SIZE
    bends = np.diff(pixels, 2, axis=0)
    if not len(bends):
        return 0.0
    lengths = np.hypot(*bends.T)
    return float(lengths.mean())


def distance(box: Box, other: Box) -> float:
    """Between the centres of two boxes, in pixels."""
    offset = np.subtract(middle(box), middle(other))
    return float(np.hypot(*offset) * SIZE)


def videos(model: Backbone, chosen: Sequence[HeldOutCase], method: str, seed: int, steps: int) -> list[np.ndarray]:
    frames: list[np.ndarray] = []
    for i in range(0, len(chosen), BATCH):
        # In batches, with the seeds that single renders would have.
        scenes = [case.scene for case in chosen[i : i + BATCH]]
        seeds = range(seed + i, seed + i + len(scenes))
        rendered = render_batch(scenes, model, method, seeds, steps=steps)
        frames += [video.frames for video in rendered]
    return frames


def summary(results: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Mean and n of every score over the cases that have it; for fractions also Wilson's 95 % interval over cases."""
    table: dict[str, Any] = {}

    # Scores that some cases lack are means over the others.
    keys = dict.fromkeys(key for result in results for key in result)
    for key in keys:
        values = [result[key] for result in results if key in result]
        mean = float(np.mean(values))
        table[key] = {"mean": round(mean, 3), "n": len(values)}
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
    """Print one line of JSON per row: table, model, method and every score with its n."""
    # Every model gets the same cases, of nouns that all of them know.
    models = {name: load(name) for name in model}
    nouns = [noun for noun in OFF_GRID.nouns if all(noun in loaded.words for loaded in models.values())]
    detector = ToyDetector(world=OFF_GRID, exact=True)
    chosen = {
        "words": held_out_cases(random.Random(seed), n, nouns, boxes=False),
        "boxes": held_out_cases(random.Random(seed + 1), n, nouns),
        "three": held_out_cases(random.Random(seed + 2), n, nouns, objects=3),
    }

    def row(table: str, name: str, method: str, videos: Sequence[np.ndarray]) -> None:
        results = []
        for case, frames in zip(chosen[table], videos, strict=True):
            results.append(_judged(case, frames, detector))
        values = {"table": table, "model": name, "method": method, **summary(results)}
        print(json.dumps(values), flush=True)

    # Rendered by the world: the scores of a perfect model.
    requested = tables.split(",")
    if "truth" in requested:
        for table in ("boxes", "three"):
            drawn = [draw(case.scene, FRAMES)[0] for case in chosen[table]]
            row(table, "the world", "drawn", drawn)

    for table in ("words", "boxes", "three"):
        if table not in requested:
            continue
        with_boxes = table != "words"
        for method in methods.split(",") if with_boxes else ("none",):
            for i, (name, loaded) in enumerate(models.items()):
                made = videos(loaded, chosen[table], method, seed, steps)
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    model_name = Path(name).name
                    file = keep / f"{table}-{method}-{i}-{model_name}.npy"
                    np.save(file, np.stack(made))
                row(table, name, method, made)


def _judged(case: HeldOutCase, frames: np.ndarray, detector: ToyDetector) -> dict[str, float]:
    finds = detector(frames)
    if len(case.objects) == 1:
        return judge_one(case, frames, finds)
    return judge_all(case, finds)


if __name__ == "__main__":
    typer.run(main)
