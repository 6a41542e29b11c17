"""Accuracy of `mini`: objects, colours and motions from the prompt alone, and with boxes.

    python -m animatic.toy.evals.accuracy --model mini --model runs/out/mini/mini --n 50

Prompts name triples of noun, colour and background that no training scene shows (`captions.held_out`); boxes are at any
pixel. Every model gets the same nouns, which all models know, and renders its own number of frames.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ...backbones import load
from ...benchmarks.cases import Tally
from ...core.backbone import Backbone
from ...methods import Method
from ...methods.lvd import LVD
from ...planning.rules import plan as plan_scene
from ...prompting.styles import with_background
from ...rendering import render_batch
from ...scene import Scene
from ..detector import ToyDetector
from ..world import FRAMES, NOUNS, draw, known_nouns
from .held_out import HeldOutCase, held_out_cases
from .judging import judge_all, judge_one

BATCH = 10


def naming_article(scene: Scene) -> Scene:
    """LVD's wording, in which the first word of the prompt, its article, stands for every object."""
    worded = with_background(scene)
    first_word = worded.prompt.split()[0]
    return replace(worded, tracks=tuple(replace(track, phrase=first_word) for track in worded.tracks))


WRONG_TOKEN = replace(
    LVD,
    name="wrong token",
    summary="LVD with the energy on the article instead of the object's name: a control experiment.",
    prompt_style=naming_article,
)


def videos(
    model: Backbone, chosen: Sequence[HeldOutCase], method: str | Method, seed: int, steps: int
) -> list[np.ndarray]:
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
    methods: Annotated[
        str, typer.Option(help=f"With boxes, with commas; {WRONG_TOKEN.name!r} is a control experiment.")
    ] = "none,lvd",
    tables: Annotated[
        str, typer.Option(help="Of truth,words,plan,boxes,three, with commas.")
    ] = "truth,words,boxes,three",
    seed: int = 1000,
    steps: int = 25,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep the frames in, as .npy.")] = None,
) -> None:
    """Print one line of JSON per row: table, model, method and every score with its n."""
    # Every model gets the same cases, of nouns that all of them know.
    models = {name: load(name) for name in model}
    shared = [set(known_nouns(loaded.words)) for loaded in models.values()]
    nouns = [noun for noun in NOUNS if all(noun in known for known in shared)]
    detector = ToyDetector()
    in_words = held_out_cases(random.Random(seed), n, nouns, boxes=False)
    chosen = {
        "words": in_words,
        "plan": [replace(case, scene=plan_scene(case.scene.prompt)) for case in in_words],
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

    for table in chosen:
        if table not in requested:
            continue
        with_boxes = table != "words"
        for method in methods.split(",") if with_boxes else ("none",):
            chosen_method = WRONG_TOKEN if method == WRONG_TOKEN.name else method
            for i, (name, loaded) in enumerate(models.items()):
                made = videos(loaded, chosen[table], chosen_method, seed, steps)
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
