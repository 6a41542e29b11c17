"""The words of toy captions: phrases of objects, motions, places and relations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from ..prompting.english import article, number, plurals

PLACES = {
    "grass": "on the grass", "sky": "in the sky", "night": "at night", "beach": "on the beach", "snow": "in the snow",
    "road": "on the road", "sea": "in the sea", "forest": "in a forest", "room": "in a room", "desert": "in the desert",
}  # fmt: skip

ADJECTIVES = {"car": "moving", "cat": "lively", "bird": "flying", "ball": "moving", "dog": "walking"}  # LVD's five

WAYS = {
    "right": ("from the left to the right", "from left to right", "to the right"),
    "left": ("from the right to the left", "from right to left", "to the left"),
    "up": ("from the bottom to the top", "up", "upwards"),
    "down": ("from the top to the bottom", "down", "downwards"),
    "down right": ("from the upper left to the lower right", "diagonally down to the right"),
    "down left": ("from the upper right to the lower left", "diagonally down to the left"),
    "up right": ("from the lower left to the upper right", "diagonally up to the right"),
    "up left": ("from the lower right to the upper left", "diagonally up to the left"),
    "circle": ("in a circle", "around in a circle"),
    "approach": ("closer", "towards the camera"),
    "recede": ("away", "away from the camera"),
}

LIVELY = "a realistic lively video of a scene"  # how LVD's benchmark opens

TOSSES = {
    "bounce": "bounces up and down",
    "throw right": "is thrown to the right",
    "throw left": "is thrown to the left",
}

WEIGHTS_OF_WAYS = (7, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1)  # in the order of WAYS: left and right most often


def mention(rng: random.Random, caption: str, background: str) -> str:
    """The caption with its background: 40 % name it as a place, 35 % in the words of LVD, the others leave it open."""
    kind = rng.random()
    if kind < 0.4:
        caption = caption.rstrip(".") + " " + PLACES[background]
    elif kind < 0.75:
        caption = caption.rstrip(".") + f", {background} background"
    return capitalised(caption) if rng.random() < 0.5 else caption


def capitalised(caption: str) -> str:
    """With a capital first letter; the others stay, unlike with `str.capitalize`."""
    return caption[0].upper() + caption[1:]


class Named(Protocol):
    """What has a noun and a colour: an object of the toy world."""

    noun: str
    colour: str


class Placed(Protocol):
    """What has a spot, (x, y) in fractions of the range of places inside the frame."""

    spot: tuple[float, float]


def phrase(o: Named, size: str = "", adjective: str = "") -> str:
    """A noun phrase with its article: "a big moving red car"."""
    words = (size, adjective, o.colour, o.noun)
    return article(" ".join(word for word in words if word))


def phrase_of_many(o: Named, count: int, is_moving: bool) -> str:
    """The phrase of several of a kind: "three moving red cars"."""
    adjective = ADJECTIVES.get(o.noun, "") if is_moving else ""
    plural = plurals(o.noun)[0]
    words = (number(count), adjective, o.colour, plural)
    return " ".join(word for word in words if word)


def place(o: Placed, axis: int, at: float) -> None:
    """Put an object at a place along one axis; along the other it stays."""
    x, y = o.spot
    o.spot = (at, y) if axis == 0 else (x, at)


def enumeration(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    if len(names) == 1:
        return names[0]
    return ", ".join(names[:-1]) + " and " + names[-1]


RELATIONS = (
    (0, "to the left of", "to the right of", ("on the left", "on the right")),
    (1, "above", "below", ("at the top", "at the bottom")),
)


def corner_caption(name: str, stops: Sequence[str]) -> str:
    """LVD's wording of a motion through three corners."""
    first, second, third = (f"the {stop} of the scene" for stop in stops)
    opening = f"a realistic lively video of a top-down viewed scene in which {name} initially on {first}."
    return f"{opening} It first moves to {second} and then moves to {third}."
