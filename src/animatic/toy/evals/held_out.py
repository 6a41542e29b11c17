"""Prompts of the toy world whose triples of noun, colour and background no training scene shows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from ...benchmarks.detect import overlap
from ...planning.motions import line
from ...prompting.english import article
from ...scene import Scene, Track
from ..captions import ING, VERBS, held_out
from ..objects import EASES, ToyObject
from ..wording import PLACES, WAYS, capitalised, enumeration
from ..world import BACKGROUNDS, COLOURABLE, COLOURS, FRAMES

STRAIGHT = ("right", "left", "up", "down")
SIDES = {1: (20, 36), 3: (16, 24)}  # pixels, by the number of objects


@dataclass(frozen=True)
class HeldOutCase:
    """A prompt with the (noun, colour) of each object, and the motion of a single one; "" where none is named."""

    scene: Scene
    objects: tuple[tuple[str, str], ...]
    motion: str = ""


def held_out_cases(
    rng: random.Random, count: int, nouns: Sequence[str], objects: int = 1, boxes: bool = True
) -> list[HeldOutCase]:
    """Held-out cases.

    With `boxes` objects move between two places that the prompt does not imply; without, the prompt names a motion.
    """
    made: list[HeldOutCase] = []
    while len(made) < count:
        background = rng.choice(BACKGROUNDS)
        chosen = _unseen(rng, nouns, objects, background)
        if chosen is None:
            continue

        # With boxes the prompt names no motion: what moves an object is the box.
        motion = "" if boxes else rng.choice(STRAIGHT)
        tracks = _apart(rng, chosen) if boxes else ()
        names = [f"{colour} {noun}".strip() for noun, colour in chosen]
        prompt = enumeration([article(name) for name in names])
        if motion:
            verb = VERBS.get(chosen[0][0], "move")
            words = rng.choice(WAYS[motion])
            prompt += f" {ING[verb]} {words}"
        prompt += rng.choice((" " + PLACES[background], f", {background} background"))
        scene = Scene(capitalised(prompt), tracks, background)
        made.append(HeldOutCase(scene, tuple(chosen), motion))
    return made


def _unseen(rng: random.Random, nouns: Sequence[str], objects: int, background: str) -> list[tuple[str, str]] | None:
    """`objects` held-out pairs of noun and colour, no noun twice; None where the draw has a noun twice, or too few."""
    pairs = []
    for noun in nouns:
        colours = tuple(COLOURS) if noun in COLOURABLE else ("",)
        pairs += [(noun, colour) for colour in colours]

    # Other backgrounds hold out other pairs.
    unseen = [(noun, colour) for noun, colour in pairs if held_out(noun, colour, background)]
    if len({noun for noun, _ in unseen}) < objects:
        return None
    chosen = rng.sample(unseen, objects)
    return chosen if len({noun for noun, _ in chosen}) == objects else None


def _apart(rng: random.Random, objects: Sequence[tuple[str, str]]) -> tuple[Track, ...]:
    """A track for each object between two random places, with easing; boxes never overlap."""
    while True:
        tracks = []
        for noun, colour in objects:
            start = (rng.random(), rng.random())
            end = (rng.random(), rng.random())
            side = rng.randint(*SIDES[len(objects)])
            ease = rng.choice(EASES[:2])
            moving = ToyObject(noun, colour, side, start, line(start, end), ease)
            tracks.append(moving.track(FRAMES))
        if not _any_overlap(tracks):
            return tuple(tracks)


def _any_overlap(tracks: Sequence[Track]) -> bool:
    """Whether two boxes overlap in any frame."""
    for one, other in combinations(tracks, 2):
        for p, q in zip(one.boxes, other.boxes, strict=True):
            if p and q and overlap(p, q) > 0:
                return True
    return False
