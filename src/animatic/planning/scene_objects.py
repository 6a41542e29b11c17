"""Objects, relations and lines as a prompt gives them, before they have boxes."""

from __future__ import annotations

from dataclasses import dataclass, field

from .motions import Spot
from .paths import Move


@dataclass
class SceneObject:
    """What a phrase names: `count` objects alike, with their moves in turn (see paths.py)."""

    phrase: str
    noun: str
    count: int = 1
    size: float = 1.0
    action: str = ""  # the verb or participle that implies a motion
    start: Spot = (None, None)
    moves: list[Move] = field(default_factory=list)
    stops: bool = False
    leaves: bool = False  # out of the frame
    visible: tuple[float, float] = (0.0, 1.0)  # of the time
    x_range: tuple[float, float] = (0.0, 1.0)  # of the frame, for objects that keep to a part of it
    is_vague: bool = False  # whether the count is a guess
    side: str = ""  # "the left cat"
    is_still: bool = False  # it is said to stand, sit, lie
    is_assumed: bool = False  # no direction is said: the moves are the usual ones, and give way to what is said later
    guessed: list[int] = field(default_factory=list)  # objects that stand where they do by an assumed direction
    company: int | None = None  # the object that it moves with
    action_tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Relation:
    """Of `a` to `b`, indices of objects.

    `kind` is left, above, beside; or one whose boxes may overlap: on, mounted, touch, within, under path, free.
    """

    kind: str
    a: int
    b: int


@dataclass(frozen=True)
class Convoy:
    """Objects that move one behind the other on one line, the last one first."""

    members: tuple[int, ...]
