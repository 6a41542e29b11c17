"""Moves of planned objects as paths over time: where an object is at time u in 0..1, in the range that it can move in.

The plain motions are those of motions.py, which the toy world has too; here they lead to goals and follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .motions import NEAR, Spot

STOP = 0.6  # of the time: when a motion that "stops" does
LEAVE = 0.8  # of the time: when what leaves the frame is at its edge
SWAY = 0.06  # of the frame's width: how far what sways goes to either side
GROUND = 1.0  # y of what stands on the ground
ARC = 0.8  # height of a leap, as a fraction of the range
CIRCLE = 0.45  # radius of a circle, as a fraction of the range


@dataclass(frozen=True)
class Move:
    """To the spot `goal` in the way `path`: line, fall, bounce, arc, zigzag; or circle, approach, recede, sway.

    Spots are in 0..1 of the range that the object can move in, None where the prompt does not say.
    """

    goal: Spot = (None, None)
    path: str = "line"


@dataclass(frozen=True)
class Pose:
    """Where an object is: x and y in 0..1 of its range (None: free), its scale, and an offset in frame widths."""

    x: float | None = None
    y: float | None = None
    scale: float = 1.0
    dx: float = 0.0


Path = Callable[[float], Pose]


def path_of(start: Spot, moves: Sequence[Move], stops: bool = False, leaves: bool = False, phase: float = 0.0) -> Path:
    """Moves in turn, each in an equal part of the time; `start` is filled from the first goals where it is open.

    `phase`: where on a circle it begins, in turns.
    """
    here = _start(start, moves)
    legs: list[Path] = []
    for move in moves:
        goal = filled(move.goal, here)
        legs.append(_leg(here, goal, move.path, phase))
        here = goal
    if not legs:
        return lambda u: Pose(*here)

    def whole(u: float) -> Pose:
        leg = min(int(u * len(legs)), len(legs) - 1)
        return legs[leg](u * len(legs) - leg)

    if stops:
        return lambda u: whole(_ease_out(min(1.0, u / STOP)))
    if leaves:
        return lambda u: whole(min(1.0, u / LEAVE))
    return whole


def filled(spot: Spot, other: Spot) -> Spot:
    """The spot, with the coordinates of the other where its own are None."""
    return (other[0] if spot[0] is None else spot[0], other[1] if spot[1] is None else spot[1])


def _start(start: Spot, moves: Sequence[Move]) -> Spot:
    """Where the moves begin; a coordinate that the prompt does not give lies opposite to the first goal."""
    opposite: list[float | None] = []
    for axis in (0, 1):
        given = [move.goal[axis] for move in moves if move.goal[axis] is not None]
        goal = given[0] if given else None
        first = moves[0].goal[axis] if moves else None
        if axis and goal is not None and first is None and goal >= 0.5:
            opposite.append(0.4)  # it sinks later, from where it goes first
        else:
            opposite.append(None if goal is None else 0.0 if goal >= 0.5 else 1.0)
    if moves and start[0] in (0.0, 1.0) and moves[0].goal == (start[0], None):
        start = (0.5, start[1])  # "the car on the right drives off to the right"
    if any(move.path in ("arc", "bounce") for move in moves):
        opposite[1] = GROUND
    if moves and moves[0].path == "fall":
        opposite[1] = 0.0
    return filled(start, (opposite[0], opposite[1]))


def _leg(start: Spot, goal: Spot, path: str, phase: float) -> Path:
    x = _between(start[0], goal[0])
    y = _between(start[1], goal[1])
    match path:
        case "fall":
            return lambda u: Pose(x(u), y(u * u))
        case "bounce":
            return lambda u: Pose(x(u), GROUND - abs(math.sin(2 * math.pi * u)))
        case "arc":
            low = _between(GROUND if start[1] is None else start[1], GROUND if goal[1] is None else goal[1])
            return lambda u: Pose(x(u), max(0.0, (low(u) or 0.0) - 4 * ARC * u * (1 - u)))
        case "zigzag":
            across = x if goal[0] is not None else _between(0.0, 1.0)
            return lambda u: Pose(across(u), 0.5 - 0.4 * math.sin(4 * math.pi * u))
        case "circle":
            return lambda u: Pose(
                0.5 - CIRCLE * math.cos(2 * math.pi * (u + phase)), 0.5 - CIRCLE * math.sin(2 * math.pi * (u + phase))
            )
        case "approach":
            return lambda u: Pose(x(u), y(u), NEAR + (1 - NEAR) * u)
        case "recede":
            return lambda u: Pose(x(u), y(u), 1 - (1 - NEAR) * u)
        case "sway":
            return lambda u: Pose(x(u), y(u), dx=SWAY * math.sin(2 * math.pi * u))
        case _:
            return lambda u: Pose(x(u), y(u))


def _between(a: float | None, b: float | None) -> Callable[[float], float | None]:
    if a is None or b is None:
        return lambda u: None
    return lambda u: a + (b - a) * u


def _ease_out(u: float) -> float:
    """Slowing down towards the end."""
    return 1 - (1 - u) ** 2
