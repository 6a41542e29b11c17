"""Objects with motions and relations to boxes, placed by a search that minimises overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..scene import Box, Track
from .lexicon import TALL, WIDE
from .motions import MOTIONS, Path, Spot, in_turn, line, until

SIDES = (0.5, 0.42, 0.375, 0.35, 0.32, 0.32, 0.28, 0.28, 0.28, 0.25, 0.25, 0.25)  # of the frame, by number of objects
STOP = 0.6  # of the time: when a motion that "stops" does
GRID = 9  # places tried along a free axis
SHRINK = (1.0, 0.85, 0.7, 0.55)  # tried in turn while objects overlap
GAP = 0.02
OPPOSITE = {None: None, 0.0: 1.0, 0.5: 0.0, 1.0: 0.0}


@dataclass
class SceneObject:
    """What a phrase names: `count` objects alike. `moves` in turn, each to a spot or along a path named in MOTIONS.

    Spots are in 0..1 of the range that the object can move in (see motions.py), None where the prompt does not say.
    """

    phrase: str
    noun: str
    count: int = 1
    size: float = 1.0
    action: str = ""  # the verb or participle that implies a motion
    start: Spot = (None, None)
    moves: list[Spot | str] = field(default_factory=list)
    stops: bool = False
    visible: tuple[float, float] = (0.0, 1.0)  # of the time
    x_range: tuple[float, float] = (0.0, 1.0)  # along x, for objects that move one behind the other


@dataclass(frozen=True)
class Relation:
    """`kind` is "left" or "above" (`a` of `b`) or "beside"; `a` and `b` are indices of objects."""

    kind: str
    a: int
    b: int


def arrange(objects: Sequence[SceneObject], relations: Sequence[Relation], keys: int) -> tuple[Track, ...]:
    """Place objects: a track of `keys` boxes for each single one.

    Sizes are reduced step by step until nothing overlaps and every relation holds; what no size solves remains.
    """
    if not objects:
        return ()

    # "three cats" are three single objects; a relation holds between all members of its groups
    group_of = [i for i, group in enumerate(objects) for _ in range(group.count)]
    single = [objects[i] for i in group_of]
    members = [[j for j, i in enumerate(group_of) if i == group] for group in range(len(objects))]
    pairs = [Relation(r.kind, a, b) for r in relations for a in members[r.a] for b in members[r.b]]

    # the largest size without conflict, else the one with the least
    times = np.linspace(0, 1, keys) if keys > 1 else np.array([0.5])
    best = np.zeros((0, keys, 4))
    least = float("inf")
    for shrink in SHRINK:
        boxes, conflict = _settle(single, pairs, times, shrink)
        if conflict < least - 0.01:
            best = boxes
            least = conflict
        if least < 0.01:
            break

    tracks = []
    for item, row in zip(single, best, strict=True):
        begin, end = item.visible
        boxes = (_box(box) if begin <= u <= end else None for box, u in zip(row, times, strict=True))
        tracks.append(Track(item.phrase, tuple(boxes)))
    return tuple(tracks)


def _box(sides: np.ndarray) -> Box:
    x0, y0, x1, y1 = (round(v, 3) for v in sides.clip(0, 1).tolist())
    return x0, y0, x1, y1


def _settle(
    objects: Sequence[SceneObject], relations: Sequence[Relation], times: np.ndarray, shrink: float
) -> tuple[np.ndarray, float]:
    """Coordinate descent over the candidate placements of each object.

    Returns boxes `[object, key, 4]` and the largest remaining conflict: an overlap, or the violation of an order.
    """
    side = SIDES[min(len(objects), len(SIDES)) - 1] * shrink
    candidates = [_candidates(item, side, times) for item in objects]

    # begin with the candidate nearest to where the relations would have the object
    homes = _homes(len(objects), relations)
    distances = []
    for boxes, home in zip(candidates, homes, strict=True):
        offsets = _middle(boxes).mean(1) - home
        distances.append(np.hypot(*offsets.T))
    nearest = [boxes[d.argmin()] for boxes, d in zip(candidates, distances, strict=True)]
    chosen = np.stack(nearest)

    # each object in turn takes its cheapest candidate, given the others
    for _ in range(4):
        for i, boxes in enumerate(candidates):
            overlaps = sum(_overlap(boxes, other) for j, other in enumerate(chosen) if j != i)
            cost = 0.1 * distances[i] + 10 * overlaps
            for r in relations:
                if i == r.a:
                    cost = cost + _relation_cost(r.kind, boxes, chosen[r.b])
                elif i == r.b:
                    cost = cost + _relation_cost(r.kind, chosen[r.a], boxes)
            chosen[i] = boxes[cost.argmin()]

    conflicts = [float(_overlap(a, b)) for i, a in enumerate(chosen) for b in chosen[:i]]
    for r in relations:
        if r.kind != "beside":
            conflicts.append(float(_order_violation(r.kind, chosen[r.a], chosen[r.b])))
    return chosen, max(conflicts, default=0.0)


def _homes(count: int, relations: Sequence[Relation]) -> list[tuple[float, float]]:
    """The centre of each object in a layout that has all relations: in a row, or one above the other."""
    row = list(range(count))
    level = [0] * count
    for _ in range(count):
        for r in relations:
            if r.kind == "left" and row.index(r.a) > row.index(r.b):
                row.remove(r.a)
                row.insert(row.index(r.b), r.a)
            if r.kind == "above":
                level[r.b] = min(count, max(level[r.b], level[r.a] + 1))

    # what stands above another object has its x
    xs = [(row.index(i) + 0.5) / count for i in range(count)]
    for r in relations:
        if r.kind == "above":
            xs[r.b] = xs[r.a]
    levels = max(level) + 1
    return [(x, (depth + 0.5) / levels) for x, depth in zip(xs, level, strict=True)]


def path(item: SceneObject) -> Path:
    """The object's moves as one path, each taking an equal part of the time."""
    here = _start(item)
    paths: list[Path] = []
    for move in item.moves or ["still"]:
        if isinstance(move, str):
            paths.append(_at(here, MOTIONS[move]))
        else:
            goal = _filled(move, here)
            paths.append(line(here, goal))
            here = goal
    whole = in_turn(paths)
    return until(whole, STOP) if item.stops else whole


def _start(item: SceneObject) -> Spot:
    """Where the moves begin; a coordinate that the prompt does not give lies opposite to the first goal."""
    goals = [move for move in item.moves if not isinstance(move, str)]
    opposite = []
    for axis in (0, 1):
        given = [goal[axis] for goal in goals if goal[axis] is not None]
        opposite.append(OPPOSITE[given[0]] if given else None)
    return _filled(item.start, (opposite[0], opposite[1]))


def _filled(spot: Spot, other: Spot) -> Spot:
    """The spot, with the coordinates of the other where its own are None."""
    x = other[0] if spot[0] is None else spot[0]
    y = other[1] if spot[1] is None else spot[1]
    return x, y


def _at(spot: Spot, motion: Path) -> Path:
    """A motion that stays at `spot` wherever it does not move."""

    def go(u: float) -> tuple[float | None, float | None, float]:
        x, y, scale = motion(u)
        return *_filled((x, y), spot), scale

    return go


def _middle(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest fraction over time of the smaller box that the other covers: `[candidate, key, 4]` or `[key, 4]`."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + GAP
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    intersection = size.clip(0).prod(-1)
    return (intersection / np.minimum(area_a, area_b)).max(-1)


def _candidates(item: SceneObject, side: float, times: np.ndarray) -> np.ndarray:
    """Every way to place an object: boxes `[candidate, key, 4]`."""
    # width and height: from the number of objects, then the object's own size and aspect
    w = h = min(0.72, max(0.12, side * item.size))
    if item.noun in TALL:
        w = 0.6 * w
    elif item.noun in WIDE:
        h = 0.7 * h

    # centres over time; a coordinate that the path leaves free is tried on a grid
    follow = path(item)
    xs, ys, scale = np.array([follow(u) for u in times.tolist()], float).T
    low, high = item.x_range
    x = ((low + (high - low) * _positions(xs)) * (1 - w) + w / 2)[:, None]
    y = (_positions(ys) * (1 - h) + h / 2)[None]

    half_w = w * scale / 2
    half_h = h * scale / 2
    boxes = np.broadcast_arrays(x - half_w, y - half_h, x + half_w, y + half_h)
    return np.stack(boxes, -1).reshape(-1, len(times), 4)


def _positions(places: np.ndarray) -> np.ndarray:
    """A coordinate over time, free entries (NaN) filled with each of GRID values: `[candidate, key]`."""
    free = np.isnan(places)
    if not free.any():
        return places[None]
    return np.where(free, np.linspace(0, 1, GRID)[:, None], places)


def _relation_cost(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cost of a relation between boxes, averaged over time; for an order, mostly its violation."""
    offset = _middle(b) - _middle(a)
    if kind == "beside":
        return np.hypot(offset[..., 0], 2 * offset[..., 1]).mean(-1)
    across = 1 if kind == "left" else 0
    return 5 * _order_violation(kind, a, b) + 0.5 * abs(offset[..., across]).mean(-1)


def _order_violation(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far `a` would have to move to stand left of `b`, or above it, averaged over time."""
    axis = 0 if kind == "left" else 1
    return (a[..., 2 + axis] + GAP - b[..., axis]).clip(0).mean(-1)
