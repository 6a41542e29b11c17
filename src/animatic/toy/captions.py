"""Random scenes of the toy world with English captions: the training data of `mini-2`.

Each scene is a `Scene` whose prompt is the caption; the trainer renders it with `world.draw`.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Collection, Sequence

from ..planning.motions import CORNERS, MOTIONS, legs, line, until
from ..scene import Scene
from .drawing import crowded
from .objects import EASES, WEIGHTS_OF_EASES, Ease, ToyObject
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
from .world import BACKGROUNDS, COLOURABLE, COLOURS, LARGEST, NOUNS

VERBS = {
    "bear": "walk", "cat": "walk", "dog": "walk", "person": "walk", "turtle": "walk", "bird": "fly", "balloon": "fly",
    "fish": "swim", "car": "drive", "boat": "sail", "ball": "roll", "horse": "run", "rabbit": "hop", "duck": "swim",
    "plane": "fly", "rocket": "fly", "butterfly": "fly", "train": "drive", "bicycle": "roll", "cloud": "float",
}  # fmt: skip
ING = {
    "walk": "walking", "fly": "flying", "swim": "swimming", "drive": "driving", "sail": "sailing", "roll": "rolling",
    "move": "moving", "run": "running", "hop": "hopping", "float": "floating",
}  # fmt: skip
THIRD = {"fly": "flies", "hop": "hops"}  # person singular, where it is not verb + s

SIDES = {"small": (16, 23), "big": (36, LARGEST), "": (22, 36)}  # pixels, by the adjective of size in the caption
SIDES_OF_MANY = {2: (18, 32), 3: (16, 26), 4: (16, 24), 5: (16, 20)}  # by the number of objects
HELD_OUT = 16  # one in HELD_OUT triples of noun, colour and background is never trained on
COARSE = 8  # pixels; a network that is told neither place nor size learns sooner where there are few
TRIES = 30  # attempts to draw a scene whose objects do not overlap

WEIGHTS_OF_WAYS_TOGETHER = (*WEIGHTS_OF_WAYS[:8], 0, 0, 0)  # of several objects none circles, approaches or recedes

SPOTS: dict[str, tuple[float | None, float | None]] = {
    "on the left": (0.06, None), "on the right": (0.94, None), "at the top": (None, 0.06),
    "at the bottom": (None, 0.94), "in the middle": (0.5, 0.5),
    **{f"in the {name} corner": spot for name, spot in CORNERS.items()},
}  # fmt: skip


def held_out(noun: str, colour: str, background: str) -> bool:
    """Whether this triple is reserved for evaluation: no training scene shows it."""
    # A hash that is the same on every machine and in every version of Python.
    triple = f"{noun}/{colour}/{background}"
    return zlib.crc32(triple.encode()) % HELD_OUT == 0


def invent(rng: random.Random, frames: int, is_coarse: bool = False, nouns: Sequence[str] = tuple(NOUNS)) -> Scene:
    """A random scene of `frames` key frames (1: a still) and its caption.

    Where `is_coarse`, sizes and places are multiples of `COARSE` pixels. All its objects are of `nouns`.
    """
    compose = _still if frames == 1 else _moving
    kind = rng.random()

    # Further attempts are of the same kind, so that scenes with many objects do not become rarer.
    tries = 0
    while True:
        objects, caption = compose(rng, kind, nouns)
        if is_coarse:
            for o in objects:
                o.snap(COARSE)
        tracks = tuple(o.track(frames) for o in objects)
        tries += 1

        # Held-out triples are never shown: some objects leave no background.
        backgrounds = [b for b in BACKGROUNDS if not any(held_out(o.noun, o.colour, b) for o in objects)]
        if backgrounds and (tries >= TRIES or not crowded(tracks, 4)):
            break

    background = rng.choice(backgrounds)
    caption = mention(rng, caption, background)
    return Scene(caption, tracks, background, seconds=2.0 if frames > 1 else 0.0)


def _object(rng: random.Random, sides: tuple[int, int], nouns: Sequence[str]) -> ToyObject:
    noun = rng.choice(nouns)

    # Three in ten have their natural colour, whatever the noun.
    has_colour = noun in COLOURABLE and rng.random() < 0.7
    colour = rng.choice(tuple(COLOURS)) if has_colour else ""
    side = rng.randint(*sides)
    spot = (rng.random(), rng.random())
    return ToyObject(noun, colour, side, spot)


def _objects(rng: random.Random, count: int, nouns: Sequence[str]) -> list[ToyObject]:
    """`count` objects of different nouns."""
    objects: list[ToyObject] = []
    for _ in range(count):
        # A second object of a noun would make the caption ambiguous.
        taken = [o.noun for o in objects]
        objects.append(_object(rng, SIDES_OF_MANY[count], _without(nouns, taken)))
    return objects


def _without(nouns: Sequence[str], taken: Collection[str]) -> list[str]:
    return [noun for noun in nouns if noun not in taken]


def _still(rng: random.Random, kind: float, nouns: Sequence[str]) -> tuple[list[ToyObject], str]:
    opener = rng.choice(("", "", "", "a photo of ", "a realistic photo of a scene with "))
    if kind >= 0.5:
        return _several(rng, opener, "", (kind - 0.5) / 0.5, nouns)

    # One object; a third of the captions say where it is.
    size = rng.choice(("small", "big", "", "", ""))
    o = _object(rng, SIDES[size], nouns)
    caption = opener + phrase(o, size)
    if rng.random() < 0.3:
        where, (x, y) = rng.choice(list(SPOTS.items()))
        x = o.spot[0] if x is None else x
        y = o.spot[1] if y is None else y
        o.spot = (x, y)
        caption += " " + where
    return [o], caption


def _several(
    rng: random.Random, opener: str, adjective: str, kind: float, nouns: Sequence[str]
) -> tuple[list[ToyObject], str]:
    if kind < 0.2:  # several of a kind
        count = rng.randint(2, 5)
        first = _object(rng, SIDES_OF_MANY[count], nouns)
        spots = [(rng.random(), rng.random()) for _ in range(count)]
        objects = [ToyObject(first.noun, first.colour, first.side, spot) for spot in spots]
        return objects, opener + phrase_of_many(first, count, bool(adjective))

    if kind < 0.4:  # two, with a spatial relation
        a, b = objects = _objects(rng, 2, nouns)
        axis, first, second, words = rng.choice(RELATIONS)
        low = rng.uniform(0, 0.15)
        high = rng.uniform(0.85, 1)
        place(a, axis, low)
        place(b, axis, high)

        # Both directions of a relation are said, and the absolute places.
        one = phrase(a)
        two = phrase(b)
        wording = rng.random()
        if wording < 0.5:
            left, right = words
            return objects, f"{opener}{one} {left} and {two} {right}"
        if wording < 0.75:
            return objects, f"{opener}{one} {first} {two}"
        return objects, f"{opener}{two} {second} {one}"

    count = rng.randint(4, 5) if kind >= 0.88 else 2 if kind < 0.65 else 3
    objects = _objects(rng, count, nouns)
    names = [phrase(o) for o in objects]
    return objects, opener + enumeration(names)


def _moving(rng: random.Random, kind: float, nouns: Sequence[str]) -> tuple[list[ToyObject], str]:
    lively = f"{LIVELY} with "
    if kind < 0.2:  # several, some of which move, without words for the motion
        opener = rng.choice(("", lively))
        objects, caption = _several(rng, opener, "moving", kind / 0.2, nouns)
        for o in objects:
            if rng.random() < 0.5:
                _drift(rng, o)
        return objects, caption

    if kind < 0.32:  # two or three, each with its own motion
        count = 2 if rng.random() < 0.7 else 3
        objects = _objects(rng, count, nouns)
        clauses = []
        for o in objects:
            # Each object with a motion, an easing and words of its own.
            way = rng.choices(list(WAYS), WEIGHTS_OF_WAYS_TOGETHER)[0]
            o.path = MOTIONS[way]
            o.ease = _ease(rng)
            verb = _verb(rng, o)
            words = rng.choice(WAYS[way])
            clauses.append(f"{phrase(o)} {ING[verb]} {words}")
        return objects, enumeration(clauses)

    # Two in three captions are of one moving object.
    return _one_moving(rng, (kind - 0.32) / 0.68, nouns)


def _one_moving(rng: random.Random, kind: float, nouns: Sequence[str]) -> tuple[list[ToyObject], str]:
    lively = f"{LIVELY} with "

    # What several kinds of caption need is drawn first, whether or not it is used.
    size = rng.choice(("small", "big", "", "", "", ""))
    o = _object(rng, SIDES[size], nouns)
    o.ease = _ease(rng)
    name = phrase(o, size)
    verb = _verb(rng, o)

    if kind < 0.1:  # visible in one half only
        half = rng.choice(("first", "second"))
        o.visible = (0.0, 0.5) if half == "first" else (0.5, 1.0)
        named = phrase(o, "", ADJECTIVES.get(o.noun, ""))
        return [o], f"{LIVELY} in which {named} appears only in the {half} half of the video"

    if kind < 0.19:  # a sequence of corners, in the words of LVD
        stops = rng.sample(list(CORNERS), 3)
        o.path = legs(*(CORNERS[stop] for stop in stops))
        o.ease = EASES[0]
        return [o], corner_caption(phrase(o), stops)

    if kind < 0.28:  # past another object
        other = _object(rng, (16, 26), _without(nouns, (o.noun,)))
        o.side = rng.randint(16, 26)
        way = rng.choice(("left", "right"))
        top = rng.uniform(0.0, 0.1)
        bottom = rng.uniform(0.9, 1.0)
        other.spot = (0.5, rng.choice((top, bottom)))
        o.spot = (0.0, 1.0 - other.spot[1])
        o.path = MOTIONS[way]
        start = "right" if way == "left" else "left"
        name = phrase(o)
        return [o, other], f"{lively}{name} moving from the {start} of {phrase(other)} to its {way}"

    if kind < 0.42:  # moving, without words for the direction
        _drift(rng, o)
        moving = phrase(o, size, "moving")
        wordings = (name, f"{name} {ING[verb]}", lively + moving)
        return [o], rng.choice(wordings)
    if kind < 0.49:
        stillness = rng.choice(("standing still", "that does not move"))
        return [o], f"{name} {stillness}"
    if kind < 0.57:
        toss = rng.choice(list(TOSSES))
        o.path = MOTIONS[toss]
        o.ease = EASES[0]
        return [o], f"{name} {TOSSES[toss]}"

    # One motion, in one of many wordings.
    way = rng.choices(list(WAYS), WEIGHTS_OF_WAYS)[0]
    o.path = MOTIONS[way]
    if way in ("approach", "recede"):
        o.side = LARGEST
        name = phrase(o)

    # The words of the motion; some say that it stops.
    words = rng.choice(WAYS[way])
    if rng.random() < 0.08:
        o.path = until(o.path, 0.6)
        words += " and stops"
    if rng.random() < 0.35:
        return [o], f"{lively}{name} {ING[verb]} {words}"
    predicate = ING[verb] if rng.random() < 0.5 else THIRD.get(verb, verb + "s")
    return [o], f"{name} {predicate} {words}"


def _verb(rng: random.Random, o: ToyObject) -> str:
    """What such an object does, or "move"."""
    return VERBS.get(o.noun, "move") if rng.random() < 0.6 else "move"


def _bezier(u: float, start: float, bend: float, end: float) -> float:
    """A coordinate of a quadratic Bezier curve at `u` in 0..1."""
    return start * (1 - u) ** 2 + 2 * bend * u * (1 - u) + end * u**2


def _ease(rng: random.Random) -> Ease:
    return rng.choices(EASES, WEIGHTS_OF_EASES)[0]


def _drift(rng: random.Random, o: ToyObject) -> None:
    """A random path: straight with constant size, or a curve on which the object grows or shrinks a little."""
    start = (rng.random(), rng.random())
    bend = (rng.random(), rng.random())
    end = (rng.random(), rng.random())
    o.ease = _ease(rng)
    if rng.random() < 0.5:
        # Half of the paths are straight.
        o.path = line(start, end)
        return
    size = rng.uniform(0.75, 1.25)

    def arc(u: float) -> tuple[float, float, float]:
        """A quadratic Bezier curve."""
        points = zip(start, bend, end, strict=True)
        x, y = (_bezier(u, *coordinates) for coordinates in points)
        return x, y, 1 + (size - 1) * u

    o.path = arc
