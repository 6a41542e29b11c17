"""Moves of planned objects as paths over time: where an object is at time u in 0..1, in the range that it can move in.

The plain motions are those of motions.py, which the toy world has too; here they lead to goals and follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .motions import NEAR, Spot

STOP = 0.6  # of the time: when a motion that "stops" does
LEAVE = 0.8  # of the time: when what leaves the frame is at its edge
SWAY = 0.06  # of the frame's width: how far what sways goes to either side
GROUND = 1.0  # y of what stands on the ground
ARC = 0.8  # height of a leap, as a fraction of the range
FIRST_HEIGHT = 0.4  # y of what goes sideways before it sinks: room above and below
ZIGZAG = 0.4  # how far a zigzag goes up and down from the middle, as a fraction of the range
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
Coordinate = Callable[[float], float | None]


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
    if not moves:
        return start
    first = moves[0]
    x = _opposite(moves, 0)
    y = _opposite(moves, 1)

    # it sinks later, from the height at which it goes first
    if y == 0.0 and first.goal[1] is None:
        y = FIRST_HEIGHT

    # "the car on the right drives off to the right" would stand still at its goal
    if start[0] in (0.0, 1.0) and first.goal == (start[0], None):
        start = (0.5, start[1])

    # the shape of a path says where it begins: leaps on the ground, a fall at the top
    if any(move.path in ("arc", "bounce") for move in moves):
        y = GROUND
    if first.path == "fall":
        y = 0.0
    return filled(start, (x, y))


def merged(a: Move, b: Move) -> Move | None:
    """Two moves at the same time as one, None where both say something of the same axis."""
    if a.path not in ("line", "fall", "bounce") or b.path not in ("line", "fall", "bounce"):
        return None
    for p, q in zip(a.goal, b.goal, strict=True):
        if p is not None and q is not None and p != q:
            return None
    goal = filled(b.goal, a.goal)
    path = "bounce" if "bounce" in (a.path, b.path) else "line"
    return Move(goal, path)


def way_back(moves: Iterable[Move]) -> Move:
    """Opposite to the first goal of some moves; to the left where they have none."""
    goals = [move.goal for move in moves if move.goal != (None, None)]
    x, y = goals[0] if goals else (1.0, None)
    back_x = None if x is None else 1 - x
    back_y = None if y is None else 1 - y
    return Move((back_x, back_y))


def _opposite(moves: Sequence[Move], axis: int) -> float | None:
    """The side opposite to the first goal that an axis has; None where no move has one."""
    for move in moves:
        goal = move.goal[axis]
        if goal is not None:
            return 0.0 if goal >= 0.5 else 1.0
    return None


def _leg(start: Spot, goal: Spot, path: str, phase: float) -> Path:
    """One move as a path of its own time, 0..1."""
    x = _between(start[0], goal[0])
    y = _between(start[1], goal[1])

    def pose(u: float) -> Pose:
        turn = 2 * math.pi * u
        match path:
            case "fall":
                # under gravity: the way grows with the square of the time
                return Pose(x(u), y(u * u))
            case "bounce":
                return Pose(x(u), GROUND - abs(math.sin(turn)))
            case "approach":
                return Pose(x(u), y(u), NEAR + (1 - NEAR) * u)
            case "recede":
                return Pose(x(u), y(u), 1 - (1 - NEAR) * u)
            case "sway":
                return Pose(x(u), y(u), dx=SWAY * math.sin(turn))
        return Pose(x(u), y(u))

    match path:
        case "arc":
            return _arc(x, start[1], goal[1])
        case "zigzag":
            # without a goal it crosses the frame
            across = x if goal[0] is not None else _between(0.0, 1.0)
            return lambda u: Pose(across(u), 0.5 - ZIGZAG * math.sin(4 * math.pi * u))
        case "circle":
            return _circle(phase)
    return pose


def _arc(x: Coordinate, begin: float | None, end: float | None) -> Path:
    """A leap: a parabola over the line from one height to the other, the ground where none is given."""
    low = GROUND if begin is None else begin
    high = GROUND if end is None else end
    base = _between(low, high)

    def pose(u: float) -> Pose:
        height = 4 * ARC * u * (1 - u)
        y = (base(u) or 0.0) - height
        return Pose(x(u), max(0.0, y))

    return pose


def _circle(phase: float) -> Path:
    """Once around the middle of the range, from `phase` turns on."""

    def pose(u: float) -> Pose:
        angle = 2 * math.pi * (u + phase)
        return Pose(0.5 - CIRCLE * math.cos(angle), 0.5 - CIRCLE * math.sin(angle))

    return pose


def _between(a: float | None, b: float | None) -> Coordinate:
    if a is None or b is None:
        return lambda u: None
    return lambda u: a + (b - a) * u


def _ease_out(u: float) -> float:
    """Slowing down towards the end."""
    return 1 - (1 - u) ** 2
