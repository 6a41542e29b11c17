"""Motions as paths: where a thing is at time u in 0..1. The planner writes boxes with them, the toy world films them.

A path gives `(x, y, scale)`: x and y in 0..1 of the room the thing has (0 touches the left or top edge, 1 the
right or bottom one), None where the motion leaves it alone; scale relative to the thing's own size.
"""

import math
from collections.abc import Callable

Path = Callable[[float], tuple[float | None, float | None, float]]

CORNERS = {"upper left": (0.0, 0.0), "upper right": (1.0, 0.0), "lower left": (0.0, 1.0), "lower right": (1.0, 1.0)}
NEAR = 0.5  # how small a thing is when far away


def still(u: float) -> tuple[float | None, float | None, float]:
    return None, None, 1.0


def line(start: tuple[float | None, float | None], end: tuple[float | None, float | None]) -> Path:
    """Straight from start to end; a coordinate that is None in both is left alone."""

    def along(a: float | None, b: float | None, u: float) -> float | None:
        return None if a is None or b is None else a + (b - a) * u

    return lambda u: (along(start[0], end[0], u), along(start[1], end[1], u), 1.0)


def legs(*stops: tuple[float | None, float | None]) -> Path:
    """Through several stops in equal times."""

    def path(u: float) -> tuple[float | None, float | None, float]:
        leg = min(int(u * (len(stops) - 1)), len(stops) - 2)
        return line(stops[leg], stops[leg + 1])(u * (len(stops) - 1) - leg)

    return path


def until(path: Path, stop: float) -> Path:
    """The same path, finished at time `stop`, then standing still."""
    return lambda u: path(min(1.0, u / stop))


def circle(u: float) -> tuple[float | None, float | None, float]:
    return 0.5 - 0.5 * math.cos(2 * math.pi * u), 0.5 - 0.5 * math.sin(2 * math.pi * u), 1.0


def approach(u: float) -> tuple[float | None, float | None, float]:
    return None, None, NEAR + (1 - NEAR) * u


def recede(u: float) -> tuple[float | None, float | None, float]:
    return None, None, 1 - (1 - NEAR) * u


def bounce(u: float) -> tuple[float | None, float | None, float]:
    """Two arcs on the spot: down on the ground at 0, 1/2 and 1."""
    return None, 1 - abs(math.sin(2 * math.pi * u)), 1.0


def throw(u: float) -> tuple[float | None, float | None, float]:
    """A parabola under gravity, left to right."""
    return u, 1 - 4 * u * (1 - u), 1.0


def mirrored(path: Path) -> Path:
    def flip(u: float) -> tuple[float | None, float | None, float]:
        x, y, scale = path(u)
        return (None if x is None else 1 - x), y, scale

    return flip


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
    "circle": circle,
    "approach": approach,
    "recede": recede,
    "bounce": bounce,
    "throw right": throw,
    "throw left": mirrored(throw),
}
