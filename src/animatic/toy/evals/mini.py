"""Accuracy of `mini`: objects, colours and motions from the prompt alone, and with boxes.

    python -m animatic.toy.evals.mini --n 100 --seed 0

Prompts are held out: none is among the captions of the training run whose `plan.json` is `--plan`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ...backbones import load
from ...benchmarks.cases import centred, middle
from ...methods import METHODS, Method
from ...methods.lvd import LVD
from ...planning.rules import plan as plan_scene
from ...prompting.english import article
from ...prompting.styles import with_background
from ...rendering import render_batch
from ...scene import Box, Scene, Track
from ...video import Video
from .. import grid_world as toyworld
from ..detector import ToyDetector, same_colour
from ..grid_captions import ING, VERBS
from ..residual import Detection
from ..wording import PLACES, WAYS, capitalised

STRAIGHT = ("right", "left", "up", "down")
BATCH = 10
FAR = 0.15  # smallest motion that counts, as a fraction of the frame


@dataclass(frozen=True)
class SingleObjectCase:
    """A prompt about one object, and what it names; colour and motion are "" where it names none."""

    scene: Scene
    noun: str
    colour: str
    motion: str = ""


def prompts(rng: random.Random, count: int, known: set[str], moving: bool) -> list[SingleObjectCase]:
    """`count` prompts about one object, each with a background; none is in `known` (lower case)."""
    cases: list[SingleObjectCase] = []
    used = set(known)
    while len(cases) < count:
        noun = rng.choice(tuple(toyworld.NOUNS))
        colour = rng.choice(tuple(toyworld.COLOURS)) if noun in toyworld.COLOURABLE else ""
        motion = rng.choice(STRAIGHT) if moving else ""
        background = rng.choice(toyworld.BACKGROUNDS)

        # Noun phrase, motion and place, as captions have them.
        prompt = article(f"{colour} {noun}".strip())
        if motion:
            verb = ING[VERBS.get(noun, "move")]
            words = rng.choice(WAYS[motion])
            prompt += f" {verb} {words}"
        prompt += rng.choice((" " + PLACES[background], f", {background} background"))

        if prompt.lower() not in used:
            used.add(prompt.lower())
            scene = Scene(capitalised(prompt), background=background)
            cases.append(SingleObjectCase(scene, noun, colour, motion))
    return cases


def with_random_box(rng: random.Random, case: SingleObjectCase) -> SingleObjectCase:
    """The case with a box that moves straight between two random places, which the prompt does not imply."""
    w, h = toyworld.aspect(case.noun)
    side = rng.choice((3, 4, 5)) / toyworld.GRID
    width = w * side
    height = h * side

    # Both ends anywhere inside the frame.
    boxes: list[Box] = []
    for _ in range(2):
        x = rng.random() * (1 - width)
        y = rng.random() * (1 - height)
        boxes.append((x, y, x + width, y + height))
    phrase = f"{case.colour} {case.noun}".strip()
    track = Track(phrase, tuple(boxes))
    return replace(case, scene=replace(case.scene, tracks=(track,)))


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


def score(case: SingleObjectCase, video: Video, detector: ToyDetector) -> dict[str, float | None]:
    """Scores of a case, in 0..1. Noun and colour are 1 where the best detection is right in half of the frames."""
    finds = detector.surest(video.frames)

    # Frame by frame, by the best detection.
    nouns = [d is not None and d.noun == case.noun for d in finds]
    colours = [d is not None and same_colour(d.noun, case.colour, d.colour) for d in finds]

    # None where the prompt does not name it.
    has_noun = np.mean(nouns) >= 0.5
    result: dict[str, float | None] = {"noun": float(has_noun), "colour": None, "way": None}
    if case.colour:
        result["colour"] = float(np.mean(colours) >= 0.5)
    if case.motion:
        result["way"] = float(moved(finds) == case.motion)

    if case.scene.tracks:
        boxes = case.scene.at(len(video)).tracks[0].boxes
        hits = []
        for found, box in zip(finds, boxes, strict=True):
            hits.append(bool(found and box and centred(found.box, box)))
        result["in box"] = float(np.mean(hits))
        result["noun frames"] = float(np.mean(nouns))
    return result


def moved(finds: Sequence[Detection | None]) -> str:
    """Direction of the best detection, from the first third of the frames to the last; "" below `FAR`."""
    third = max(1, len(finds) // 3)
    first = [middle(d.box) for d in finds[:third] if d]
    last = [middle(d.box) for d in finds[-third:] if d]
    if not (first and last):
        return ""

    # From mean to mean, so that one wrong detection does not decide.
    begin = np.mean(first, 0)
    end = np.mean(last, 0)
    dx, dy = end - begin
    if max(abs(dx), abs(dy)) < FAR:
        return ""
    if abs(dx) >= abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"


def seen_captions(plan: Path) -> set[str]:
    """Every caption of a training run in lower case, generated again from its `plan.json`."""
    from ...training.checkpoints import renamed_keys
    from ..curriculum import RENAMED, CurriculumConfig

    written = json.loads(plan.read_text())
    curriculum = CurriculumConfig(**renamed_keys(written, CurriculumConfig.__dict__, RENAMED))

    # Batches follow from seed and step: the captions need not be stored.
    captions: set[str] = set()
    for step in range(curriculum.steps):
        batch = curriculum.batch(step)
        captions.update(scene.prompt.lower() for scene in batch.scenes)
    return captions


def main(
    model: str = "mini",
    n: Annotated[int, typer.Option(help="Prompts, and scenes.")] = 100,
    seed: int = 0,
    steps: int = 25,
    plan: Annotated[
        Path | None, typer.Option(help="plan.json of the training run, whose captions are excluded.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep every video in.")] = None,
    tables: Annotated[str, typer.Option(help="Which to measure, of words,plan,boxes.")] = "words,plan,boxes",
    methods: Annotated[str, typer.Option(help="Which rows to measure; all if not given.")] = "",
) -> None:
    """Print one line of JSON per table row: settings, n, and the mean of every score."""
    backbone = load(model)
    detector = ToyDetector()
    rng = random.Random(seed)
    known = seen_captions(plan) if plan else set()

    # The cases of the tables: in words, with the boxes of the rules planner, with random boxes.
    moving = prompts(rng, n, known, moving=True)
    boxed = [with_random_box(rng, case) for case in prompts(rng, n, known, moving=False)]
    planned = [replace(case, scene=plan_scene(case.scene.prompt)) for case in moving]
    published = [name for name in METHODS if name.endswith(":published")]
    rows: dict[str, list[tuple[str, list[SingleObjectCase], Method]]] = {
        "words": [("none", moving, METHODS["none"])],
        "plan": [("lvd", planned, METHODS["lvd"])],
        "boxes": [(name, boxed, METHODS[name]) for name in METHODS if name not in published],
    }
    rows["boxes"].append((WRONG_TOKEN.name, boxed, WRONG_TOKEN))

    # Rows of one table have the same cases and seeds.
    requested = methods.split(",") if methods else []
    for table in tables.split(","):
        for name, cases, method in rows[table]:
            if requested and name not in requested:
                continue
            results = []
            for i in range(0, n, BATCH):
                scenes = [case.scene for case in cases[i : i + BATCH]]
                seeds = range(seed + i, seed + i + len(scenes))
                videos = render_batch(scenes, backbone, method, seeds, steps=steps)
                for k, video in enumerate(videos, i):
                    results.append(score(cases[k], video, detector))
                    if keep:
                        file = f"{table}-{name.replace(' ', '-')}-{k:03d}.webp"
                        video.save(keep / file)
            row = {"table": table, "method": name, "model": model, "n": n, "seed": seed, "steps": steps}
            print(json.dumps({**row, **means(results)}), flush=True)


def means(results: Sequence[Mapping[str, float | None]], digits: int = 3) -> dict[str, float]:
    """Mean of every score over the cases that have it, with their number where it is not all."""
    out: dict[str, float] = {}
    for key in {**results[0], **results[-1]}:
        values = [value for result in results if (value := result.get(key)) is not None]
        if not values:
            continue
        mean = float(np.mean(values))
        out[key] = round(mean, digits)
        if len(values) < len(results):
            out[f"{key} n"] = len(values)
    return out


if __name__ == "__main__":
    typer.run(main)
