"""Things with motions and relations to boxes: free places are searched for, so that nothing stands in another's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..scene import Box, Track
from .lexicon import TALL, WIDE
from .motions import MOTIONS, Path, Spot, in_turn, line, until

SIDES = (0.5, 0.42, 0.375, 0.35, 0.32, 0.32, 0.28, 0.28, 0.28, 0.25, 0.25, 0.25)  # by how many things there are
STOP = 0.6  # of the time: when a motion that "stops" does
GRID = 9  # places tried along a free axis
SHRINK = (1.0, 0.85, 0.7, 0.55)  # tried in turn while things overlap
GAP = 0.02
OPPOSITE = {None: None, 0.0: 1.0, 0.5: 0.0, 1.0: 0.0}


@dataclass
class SceneObject:
    """What a phrase names: `count` things alike. `moves` in turn, each to a spot or along a path named in MOTIONS.

    Spots are in 0..1 of the room the thing has (see motions.py), None where nothing is said.
    """

    phrase: str
    noun: str
    count: int = 1
    size: float = 1.0
    action: str = ""  # the word that says so
    start: Spot = (None, None)
    moves: list[Spot | str] = field(default_factory=list)
    stops: bool = False
    visible: tuple[float, float] = (0.0, 1.0)  # of the time
    x_range: tuple[float, float] = (0.0, 1.0)  # part of the room along x, for things that go one behind the other


@dataclass(frozen=True)
class Relation:
    """`kind` is "left" or "above" (`a` of `b`) or "beside"; `a` and `b` are indices of things."""

    kind: str
    a: int
    b: int


def arrange(things: Sequence[SceneObject], relations: Sequence[Relation], keys: int) -> tuple[Track, ...]:
    """A track of `keys` boxes for each single thing. Overlap that no place and no smaller size avoids is left."""
    if not things:
        return ()
    whose = [i for i, thing in enumerate(things) for _ in range(thing.count)]
    single = [things[i] for i in whose]
    members = [[j for j, i in enumerate(whose) if i == kind] for kind in range(len(things))]
    pairs = [Relation(r.kind, a, b) for r in relations for a in members[r.a] for b in members[r.b]]
    times = np.linspace(0, 1, keys) if keys > 1 else np.array([0.5])
    best, least = np.zeros((0, keys, 4)), float("inf")
    for shrink in SHRINK:
        boxes, trouble = _settle(single, pairs, times, shrink)
        if trouble < least - 0.01:
            best, least = boxes, trouble
        if least < 0.01:
            break
    tracks = []
    for thing, row in zip(single, best, strict=True):
        low, high = thing.visible
        boxes = (_box(box) if low <= u <= high else None for box, u in zip(row, times, strict=True))
        tracks.append(Track(thing.phrase, tuple(boxes)))
    return tuple(tracks)


def _box(sides: np.ndarray) -> Box:
    x0, y0, x1, y1 = (round(v, 3) for v in sides.clip(0, 1).tolist())
    return x0, y0, x1, y1


def _settle(
    things: Sequence[SceneObject], relations: Sequence[Relation], times: np.ndarray, shrink: float
) -> tuple[np.ndarray, float]:
    """Coordinate descent: each thing in turn takes the place that suits the others best. Also returns what is amiss."""
    side = SIDES[min(len(things), len(SIDES)) - 1] * shrink
    offers = [_offers(thing, side, times) for thing in things]
    homes = _homes(len(things), relations)
    far = [np.hypot(*(_middle(offer).mean(1) - home).T) for offer, home in zip(offers, homes, strict=True)]
    chosen = np.stack([offer[f.argmin()] for offer, f in zip(offers, far, strict=True)])
    for _ in range(4):
        for i, offer in enumerate(offers):
            cost = 0.1 * far[i] + 10 * sum(_overlap(offer, other) for j, other in enumerate(chosen) if j != i)
            for r in relations:
                if i in (r.a, r.b):
                    a, b = (offer, chosen[r.b]) if i == r.a else (chosen[r.a], offer)
                    cost = cost + _strain(r.kind, a, b)
            chosen[i] = offer[cost.argmin()]
    trouble = [float(_overlap(a, b)) for i, a in enumerate(chosen) for b in chosen[:i]]
    trouble += [float(_short(r.kind, chosen[r.a], chosen[r.b])) for r in relations if r.kind != "beside"]
    return chosen, max(trouble, default=0.0)


def _homes(count: int, relations: Sequence[Relation]) -> list[tuple[float, float]]:
    """Where each thing would stand if it were as the relations order them: in a row, or one above the other."""
    row, level = list(range(count)), [0] * count
    for _ in range(count):
        for r in relations:
            if r.kind == "left" and row.index(r.a) > row.index(r.b):
                row.remove(r.a)
                row.insert(row.index(r.b), r.a)
            if r.kind == "above":
                level[r.b] = min(count, max(level[r.b], level[r.a] + 1))
    places = [(row.index(i) + 0.5) / count for i in range(count)]
    for r in relations:
        if r.kind == "above":
            places[r.b] = places[r.a]
    return [(x, (deep + 0.5) / (max(level) + 1)) for x, deep in zip(places, level, strict=True)]


def _offers(thing: SceneObject, side: float, times: np.ndarray) -> np.ndarray:
    """Every way to place a thing: boxes `[way, key, 4]`."""
    w = h = min(0.72, max(0.12, side * thing.size))
    w, h = (0.6 * w, h) if thing.noun in TALL else (w, 0.7 * h) if thing.noun in WIDE else (w, h)
    go, (low, high) = path(thing), thing.x_range
    xs, ys, scale = np.array([go(u) for u in times.tolist()], float).T
    x = ((low + (high - low) * _ways(xs)) * (1 - w) + w / 2)[:, None]
    y = (_ways(ys) * (1 - h) + h / 2)[None]
    right, down = w * scale / 2, h * scale / 2
    boxes = np.broadcast_arrays(x - right, y - down, x + right, y + down)
    return np.stack(boxes, -1).reshape(-1, len(times), 4)


def _ways(places: np.ndarray) -> np.ndarray:
    """Places over time (NaN: anywhere) with every choice made for those that are free: `[way, key]`."""
    free = np.isnan(places)
    return np.where(free, np.linspace(0, 1, GRID)[:, None], places) if free.any() else places[None]


def path(thing: SceneObject) -> Path:
    """The thing's moves as one path, each taking an equal part of the time."""
    here = _start(thing)
    paths: list[Path] = []
    for move in thing.moves or ["still"]:
        if isinstance(move, str):
            paths.append(_at(here, MOTIONS[move]))
        else:
            goal = _filled(move, here)
            paths.append(line(here, goal))
            here = goal
    return until(in_turn(paths), STOP) if thing.stops else in_turn(paths)


def _start(thing: SceneObject) -> Spot:
    """Where the moves begin: what nobody said of it lies opposite to the first goal."""
    goals = [move for move in thing.moves if not isinstance(move, str)]
    x, y = (next((OPPOSITE[goal[axis]] for goal in goals if goal[axis] is not None), None) for axis in (0, 1))
    return _filled(thing.start, (x, y))


def _filled(spot: Spot, other: Spot) -> Spot:
    """The spot, and where it says nothing the other one."""
    return other[0] if spot[0] is None else spot[0], other[1] if spot[1] is None else spot[1]


def _at(spot: Spot, motion: Path) -> Path:
    """A motion that stays at `spot` wherever it does not move."""

    def go(u: float) -> tuple[float | None, float | None, float]:
        x, y, scale = motion(u)
        return *_filled((x, y), spot), scale

    return go


def _middle(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest share over time of the smaller box that the other covers: boxes `[way, key, 4]` or `[key, 4]`."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + GAP
    area = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (a, b)]
    return (size.clip(0).prod(-1) / np.minimum(*area)).max(-1)


def _strain(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far a relation is from holding (0 where it does), averaged over time."""
    off = _middle(b) - _middle(a)
    if kind == "beside":
        return np.hypot(off[..., 0], 2 * off[..., 1]).mean(-1)
    return 5 * _short(kind, a, b) + 0.5 * abs(off[..., 1 if kind == "left" else 0]).mean(-1)


def _short(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far `a` would have to move to stand left of `b`, or above it, averaged over time."""
    axis = 0 if kind == "left" else 1
    return (a[..., 2 + axis] + GAP - b[..., axis]).clip(0).mean(-1)
