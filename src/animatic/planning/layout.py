"""Things with motions and relations to boxes: free places are searched for, so that nothing stands in another's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..scene import Box
from .lexicon import TALL, WIDE
from .motions import MOTIONS, Path, line, still, until

Spot = tuple[float | None, float | None]  # of the room a thing has, see motions.py; None is free
SIDES = (0.5, 0.42, 0.375, 0.35, 0.32, 0.32, 0.28, 0.28, 0.28, 0.25, 0.25, 0.25)  # by how many things there are
STOP = 0.6  # of the time: when a motion that "stops" does
GRID = 9  # places tried along a free axis
SHRINK = (1.0, 0.85, 0.7, 0.55)  # tried in turn while things overlap
GAP = 0.02


@dataclass
class Thing:
    """One thing to place. `moves` in turn, each towards a spot or along a path named in MOTIONS."""

    phrase: str
    noun: str
    size: float = 1.0
    start: Spot = (None, None)
    moves: list[Spot | str] = field(default_factory=list)
    stops: bool = False
    shown: tuple[float, float] = (0.0, 1.0)  # of the time
    reach: tuple[float, float] = (0.0, 1.0)  # part of the room along x, for things that go one behind the other


@dataclass(frozen=True)
class Relation:
    """`kind` is "left" or "above" (`a` of `b`) or "beside"; `a` and `b` are indices of things."""

    kind: str
    a: int
    b: int


def arrange(things: Sequence[Thing], relations: Sequence[Relation], keys: int) -> list[tuple[Box | None, ...]]:
    """Boxes per thing and key frame. Overlap that no place and no smaller size avoids is left."""
    best, least = np.zeros((0, keys, 4)), float("inf")
    for shrink in SHRINK:
        boxes, trouble = _settle(things, relations, keys, shrink)
        if trouble < least - 0.01:
            best, least = boxes, trouble
        if least < 0.01:
            break
    times = np.linspace(0, 1, keys) if keys > 1 else np.array([0.5])
    return [
        tuple(_tuple(box) if thing.shown[0] <= u <= thing.shown[1] else None for box, u in zip(row, times, strict=True))
        for thing, row in zip(things, best, strict=True)
    ]


def _tuple(box: np.ndarray) -> Box:
    x0, y0, x1, y1 = (round(float(min(1.0, max(0.0, v))), 3) for v in box)
    return x0, y0, x1, y1


def _settle(
    things: Sequence[Thing], relations: Sequence[Relation], keys: int, shrink: float
) -> tuple[np.ndarray, float]:
    """Coordinate descent: each thing in turn takes the place that suits the others best. Also returns what is amiss."""
    side = SIDES[min(len(things), len(SIDES)) - 1] * shrink
    offers = [_offers(thing, side, keys) for thing in things]
    homes = _homes(len(things), relations)
    far = [np.hypot(*(_middle(o).mean(1) - home).T) for o, home in zip(offers, homes, strict=True)]
    chosen = np.stack([o[f.argmin()] for o, f in zip(offers, far, strict=True)])
    for _ in range(4):
        for i, offer in enumerate(offers):
            others = [j for j in range(len(things)) if j != i]
            cost = 0.1 * far[i] + 10 * sum((_overlap(offer, chosen[j]) for j in others), np.zeros(len(offer)))
            for r in relations:
                if i in (r.a, r.b):
                    a, b = (offer, chosen[r.b]) if i == r.a else (chosen[r.a], offer)
                    cost = cost + _strain(r.kind, a, b)
            chosen[i] = offer[cost.argmin()]
    trouble = [float(_overlap(chosen[i], chosen[j])) for i in range(len(things)) for j in range(i)]
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
    deep = max(level) + 1
    return [(x, (lv + 0.5) / deep) for x, lv in zip(places, level, strict=True)]


def _offers(thing: Thing, side: float, keys: int) -> np.ndarray:
    """Every way to place a thing: boxes `[way, key, 4]`."""
    w = h = min(0.72, max(0.12, side * thing.size))
    w, h = (0.6 * w, h) if thing.noun in TALL else (w, 0.7 * h) if thing.noun in WIDE else (w, h)
    go, free = path(thing), np.linspace(0, 1, GRID)
    times = np.linspace(0, 1, keys) if keys > 1 else np.array([0.5])
    steps = [go(float(u)) for u in times]
    xs, ys = ([0.0] if all(s[axis] is not None for s in steps) else free for axis in (0, 1))
    low, high = thing.reach
    ways = []
    for x in xs:
        for y in ys:
            row = []
            for px, py, scale in steps:
                cx = (low + (high - low) * (x if px is None else px)) * (1 - w) + w / 2
                cy = (y if py is None else py) * (1 - h) + h / 2
                row.append((cx - w * scale / 2, cy - h * scale / 2, cx + w * scale / 2, cy + h * scale / 2))
            ways.append(row)
    return np.array(ways)


def path(thing: Thing) -> Path:
    """The thing's moves as one path, each taking an equal part of the time."""
    spots = [m for m in thing.moves if not isinstance(m, str)]
    here: list[float | None] = list(thing.start)
    for axis in (0, 1):  # what nobody said of the start lies opposite to the first goal
        goals = [s[axis] for s in spots if s[axis] is not None]
        if here[axis] is None and goals and goals[0] is not None:
            here[axis] = 1 - goals[0] if goals[0] != 0.5 else 0.0
    legs: list[Path] = []
    for move in thing.moves or ["still"]:
        if isinstance(move, str):
            legs.append(_from((here[0], here[1]), MOTIONS[move]))
            continue
        goal = [h if m is None else m for h, m in zip(here, move, strict=True)]
        legs.append(line((here[0], here[1]), (goal[0], goal[1])))
        here = goal

    def whole(u: float) -> tuple[float | None, float | None, float]:
        leg = min(int(u * len(legs)), len(legs) - 1)
        return legs[leg](u * len(legs) - leg)

    return until(whole, STOP) if thing.stops else whole


def _from(spot: Spot, motion: Path) -> Path:
    """A motion that leaves alone what it does not move; `spot` says where that is."""
    if motion is still:
        return lambda u: (*spot, 1.0)

    def go(u: float) -> tuple[float | None, float | None, float]:
        x, y, scale = motion(u)
        return (spot[0] if x is None else x), (spot[1] if y is None else y), scale

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
