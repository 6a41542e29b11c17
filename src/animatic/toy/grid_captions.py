"""Random scenes of the toy world on a grid with English captions: the training data of `mini`.

Each scene is a `Scene` whose prompt is the caption; the trainer renders it with `grid_world.draw`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..planning.motions import CORNERS, MOTIONS, Path, legs, line, still, until
from ..scene import Box, Scene, Track
from .drawing import crowded
from .grid_world import BACKGROUNDS, COLOURABLE, COLOURS, GRID, LARGEST, NOUNS, SMALLEST, tight
from .wording import (
    ADJECTIVES,
    LIVELY,
    RELATIONS,
    TOSSES,
    WAYS,
    WEIGHTS_OF_WAYS,
    corner_caption,
    enumeration,
    mention,
    phrase,
    phrase_of_many,
    place,
)

VERBS = {
    "bear": "walk", "cat": "walk", "dog": "walk", "person": "walk", "turtle": "walk", "bird": "fly", "balloon": "fly",
    "fish": "swim", "car": "drive", "boat": "sail", "ball": "roll",
}  # fmt: skip
ING = {
    "walk": "walking", "fly": "flying", "swim": "swimming", "drive": "driving", "sail": "sailing", "roll": "rolling",
    "move": "moving",
}  # fmt: skip
TRIES = 20  # attempts to draw a scene whose objects do not overlap
SIDES = {"small": (3, 3), "big": (5, 5), "": (4, 4)}


@dataclass
class GridObject:
    """An object and its path, see `captions.ToyObject`; `side` is in cells."""

    noun: str
    colour: str
    side: int
    spot: tuple[float, float]
    path: Path = still
    visible: tuple[float, float] = (0.0, 1.0)

    def track(self, frames: int) -> Track:
        boxes: list[Box | None] = []
        for f in range(frames):
            # Time in 0..1; a single frame shows the middle.
            u = f / (frames - 1) if frames > 1 else 0.5
            if not self.visible[0] <= u <= self.visible[1]:
                boxes.append(None)
                continue

            # A path leaves open what the motion does not change.
            x, y, scale = self.path(u)
            side = max(SMALLEST, min(LARGEST, round(self.side * scale)))
            x = self.spot[0] if x is None else x
            y = self.spot[1] if y is None else y

            # Whole cells.
            span = GRID - side
            left, top = round(x * span), round(y * span)
            boxes.append(tight(self.noun, left, top, side))
        phrase = f"{self.colour} {self.noun}".strip()
        return Track(phrase, tuple(boxes))


def invent(rng: random.Random, frames: int) -> Scene:
    """A random scene of `frames` key frames (1: a still) and its caption."""
    compose = _still if frames == 1 else _moving
    tries = 1
    objects, caption = compose(rng)
    tracks = tuple(o.track(frames) for o in objects)
    while crowded(tracks, 3) and tries < TRIES:
        tries += 1
        objects, caption = compose(rng)
        tracks = tuple(o.track(frames) for o in objects)

    # The background is drawn last: it does not depend on the objects.
    background = rng.choice(BACKGROUNDS)
    caption = mention(rng, caption, background)
    return Scene(caption, tracks, background, seconds=2.0 if frames > 1 else 0.0)


def _object(
    rng: random.Random, excluded: Sequence[str] = (), size: str = "", sides: tuple[int, int] | None = None
) -> GridObject:
    noun = rng.choice([n for n in NOUNS if n not in excluded])

    # Three in ten have their natural colour, whatever the noun.
    has_colour = noun in COLOURABLE and rng.random() < 0.7
    colour = rng.choice(tuple(COLOURS)) if has_colour else ""
    side = rng.randint(*(sides or SIDES[size]))
    spot = (rng.random(), rng.random())
    return GridObject(noun, colour, side, spot)


_SPOTS: dict[str, tuple[float | None, float | None]] = {
    "on the left": (0.08, None), "on the right": (0.92, None), "at the top": (None, 0.08),
    "at the bottom": (None, 0.92), "in the middle": (0.5, 0.5),
    **{f"in the {name} corner": spot for name, spot in CORNERS.items()},
}  # fmt: skip


def _still(rng: random.Random) -> tuple[list[GridObject], str]:
    opener = rng.choice(("", "", "", "a photo of ", "a realistic photo of a scene with "))
    kind = rng.random()
    if kind < 0.62:
        size = rng.choice(("small", "big", "", "", ""))
        o = _object(rng, size=size)
        caption = opener + phrase(o, size)
        if rng.random() < 0.3:
            where, (x, y) = rng.choice(list(_SPOTS.items()))
            x = o.spot[0] if x is None else x
            y = o.spot[1] if y is None else y
            o.spot = (x, y)
            caption += " " + where
        return [o], caption
    return _several(rng, opener, "")


def _several(rng: random.Random, opener: str, adjective: str) -> tuple[list[GridObject], str]:
    kind = rng.random()
    if kind < 0.25:  # several of a kind
        count = rng.randint(2, 4)
        first = _object(rng, sides=(3, 3))
        spots = [(rng.random(), rng.random()) for _ in range(count)]
        objects = [GridObject(first.noun, first.colour, first.side, spot) for spot in spots]
        return objects, opener + phrase_of_many(first, count, bool(adjective))

    # Objects of different nouns.
    count = 2 if kind < 0.9 else rng.randint(3, 4)
    sides = (3, 4) if count == 2 else (3, 3)
    objects: list[GridObject] = []
    for _ in range(count):
        nouns = [o.noun for o in objects]
        objects.append(_object(rng, nouns, sides=sides))

    # Most captions list the objects.
    names = [phrase(o) for o in objects]
    if count > 2 or kind >= 0.5:
        return objects, opener + enumeration(names)

    # Two, with a spatial relation.
    a, b = objects
    one, two = names
    axis, first, second, words = rng.choice(RELATIONS)
    low = rng.uniform(0, 0.15)
    high = rng.uniform(0.85, 1)
    place(a, axis, low)
    place(b, axis, high)
    if rng.random() < 0.5:
        left, right = words
        return objects, f"{opener}{one} {left} and {two} {right}"
    if rng.random() < 0.5:
        return objects, f"{opener}{one} {first} {two}"
    return objects, f"{opener}{two} {second} {one}"


def _moving(rng: random.Random) -> tuple[list[GridObject], str]:
    lively = f"{LIVELY} with "
    kind = rng.random()
    if kind < 0.14:  # several, of which one may move, without words for the motion
        opener = rng.choice(("", lively))
        objects, caption = _several(rng, opener, "moving")
        if len(objects) <= 2 and rng.random() < 0.5:
            _drift(rng, objects[0])
        return objects, caption

    # One object, whose caption may name its size.
    size = rng.choice(("small", "big", "", "", "", ""))
    o = _object(rng, size=size)
    name = phrase(o, size)
    verb = VERBS.get(o.noun, "move") if rng.random() < 0.6 else "move"

    if kind < 0.22:  # visible in one half only
        half = rng.choice(("first", "second"))
        o.visible = (0.0, 0.5) if half == "first" else (0.5, 1.0)
        named = phrase(o, "", ADJECTIVES.get(o.noun, ""))
        return [o], f"{LIVELY} in which {named} appears only in the {half} half of the video"

    if kind < 0.29:  # a sequence of corners, in the words of LVD
        stops = rng.sample(list(CORNERS), 3)
        o.path = legs(*(CORNERS[stop] for stop in stops))
        return [o], corner_caption(phrase(o), stops)

    if kind < 0.36:  # past another object
        other = _object(rng, (o.noun,), sides=(3, 3))
        o.side = 3
        way = rng.choice(("left", "right"))
        other.spot = (0.5, rng.choice((0.0, 1.0)))
        o.spot = (0.0, 1.0 - other.spot[1])
        o.path = MOTIONS[way]
        start = "right" if way == "left" else "left"
        name = phrase(o)
        return [o, other], f"{lively}{name} moving from the {start} of {phrase(other)} to its {way}"

    if kind < 0.44:  # moving, without words for the direction
        _drift(rng, o)
        moving = phrase(o, size, "moving")
        wordings = (name, f"{name} {ING[verb]}", lively + moving)
        return [o], rng.choice(wordings)
    if kind < 0.5:
        stillness = rng.choice(("standing still", "that does not move"))
        return [o], f"{name} {stillness}"
    if kind < 0.56:
        motion = rng.choice(list(TOSSES))
        o.path = MOTIONS[motion]
        return [o], f"{name} {TOSSES[motion]}"

    # One motion, in one of many wordings.
    way = rng.choices(list(WAYS), WEIGHTS_OF_WAYS)[0]
    o.path = MOTIONS[way]
    if way in ("approach", "recede"):
        o.side = 5
        name = phrase(o)

    # The words of the motion; some say that it stops.
    words = rng.choice(WAYS[way])
    if rng.random() < 0.08:
        o.path = until(o.path, 0.6)
        words += " and stops"
    if rng.random() < 0.35:
        return [o], f"{lively}{name} {ING[verb]} {words}"
    third_person = "flies" if verb == "fly" else verb + "s"
    predicate = ING[verb] if rng.random() < 0.5 else third_person
    return [o], f"{name} {predicate} {words}"


def _drift(rng: random.Random, o: GridObject) -> None:
    start = (rng.random(), rng.random())
    end = (rng.random(), rng.random())
    o.path = line(start, end)
