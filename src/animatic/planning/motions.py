"""Motions as paths: where an object is at time u in 0..1. The planner writes boxes and the toy world renders clips.

A path gives `(x, y, scale)`: x and y in 0..1 of the range that the object can move in (0 touches the left or top edge,
1 the right or bottom one), None where the motion leaves it alone; scale relative to the object's own size.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

Spot = tuple[float | None, float | None]
Path = Callable[[float], tuple[float | None, float | None, float]]

CORNERS = {"upper left": (0.0, 0.0), "upper right": (1.0, 0.0), "lower left": (0.0, 1.0), "lower right": (1.0, 1.0)}
NEAR = 0.5  # scale of an object that is far away


def still(u: float) -> tuple[float | None, float | None, float]:
    return None, None, 1.0


def line(start: Spot, end: Spot) -> Path:
    """Straight from start to end; a coordinate that is None in either is left alone."""

    def along(axis: int, u: float) -> float | None:
        a = start[axis]
        b = end[axis]
        if a is None or b is None:
            return None
        return a + (b - a) * u

    return lambda u: (along(0, u), along(1, u), 1.0)


def in_turn(paths: Sequence[Path]) -> Path:
    """One path after the other, in equal times."""

    def path(u: float) -> tuple[float | None, float | None, float]:
        leg = min(int(u * len(paths)), len(paths) - 1)
        return paths[leg](u * len(paths) - leg)

    return path


def legs(*stops: Spot) -> Path:
    """Straight through several stops in equal times."""
    return in_turn([line(a, b) for a, b in pairwise(stops)])


def until(path: Path, stop: float) -> Path:
    """The same path, finished at time `stop`, then standing still."""
    return lambda u: path(min(1.0, u / stop))


MOTIONS: dict[str, Path] = {
    "still": still,
    "right": line((0, None), (1, None)),
    "left": line((1, None), (0, None)),
    "up": line((None, 1), (None, 0)),
    "down": line((None, 0), (None, 1)),
    "down right": line((0, 0), (1, 1)),
    "down left": line((1, 0), (0, 1)),
    "up right": line((0, 1), (1, 0)),
    "up left": line((1, 1), (0, 0)),
    "circle": lambda u: (0.5 - 0.5 * math.cos(2 * math.pi * u), 0.5 - 0.5 * math.sin(2 * math.pi * u), 1.0),
    "approach": lambda u: (None, None, NEAR + (1 - NEAR) * u),
    "recede": lambda u: (None, None, 1 - (1 - NEAR) * u),
    "bounce": lambda u: (None, 1 - abs(math.sin(2 * math.pi * u)), 1.0),  # on the ground at 0, 1/2 and 1
    "throw right": lambda u: (u, 1 - 4 * u * (1 - u), 1.0),  # a parabola under gravity
    "throw left": lambda u: (1 - u, 1 - 4 * u * (1 - u), 1.0),
}
