"""Objects with motions and relations to boxes, placed by a search that minimises overlap and keeps to the ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..scene import Box, Track
from . import lexicon
from .lexicon import is_any
from .motions import Spot
from .paths import LEAVE, Move, path_of

SIDES = (0.5, 0.42, 0.375, 0.35, 0.32, 0.32, 0.28, 0.28, 0.28, 0.25, 0.25, 0.25)  # of the frame, by number of objects
GRID = 9  # places tried along a free axis
SHRINK = (1.0, 0.85, 0.7, 0.55)  # tried in turn while objects overlap
GAP = 0.02
APART = 10.0  # cost of an overlap
EDGES = ((0.01, 0.99), (0.02, 0.94))  # of the frame: where objects are, along x and y
WIDEST = 0.46  # of the frame: so that what crosses it ends beyond its quarter
CONVOY = 0.62  # of the frame's width: how much those that go in a line take together
ABREAST = 0.9  # the same of those side by side
ROW = 4  # objects in a line at most
LEVELS = {
    "air": 0.15,
    "water": 0.6,
    "ground": 1.0,
    "middle": 0.6,
}  # y in the range of an object, when nothing else says
OVERLAPPING = frozenset(("touch", "within", "free", "mounted", "under path", "on"))


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
    company: int | None = None  # the object that it moves with
    action_tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Relation:
    """Of `a` to `b`, indices of objects: left, above, on, beside; touch (near or in it), mounted, free (may overlap)."""

    kind: str
    a: int
    b: int


@dataclass(frozen=True)
class Convoy:
    """Objects that move one behind the other on one line, the last one first."""

    members: tuple[int, ...]


@dataclass
class _Single:
    """One object of a group as it is placed: width, height, the part of the frame's width it keeps to, its level."""

    item: SceneObject
    w: float = 0.0
    h: float = 0.0
    low: float = 0.0
    high: float = 1.0
    level: float = 1.0
    phase: float = 0.0  # of a circle, in turns
    attached: bool = False  # to another one, whose part of the frame it shares


def arrange(
    objects: Sequence[SceneObject], relations: Sequence[Relation], keys: int, convoys: Sequence[Convoy] = (),
    background: str = "",
) -> tuple[tuple[Track, ...], list[list[int]]]:  # fmt: skip
    """Place objects: a track of `keys` boxes for each single one, and for each object the indices of its tracks.

    Sizes are reduced step by step until nothing overlaps and every relation holds; what no size solves remains.
    """
    if not objects:
        return (), []

    # "three cats" are three single objects; a relation holds between all members of its groups
    group_of = [i for i, group in enumerate(objects) for _ in range(group.count)]
    members = [[j for j, i in enumerate(group_of) if i == group] for group in range(len(objects))]
    pairs = [Relation(r.kind, a, b) for r in relations for a in members[r.a] for b in members[r.b]]
    lines = []
    for convoy in convoys:
        line = [j for i in convoy.members for j in members[i]]
        if not any(set(line) & set(other) for other in lines):
            lines.append(line)
    lines += _implied_lines([objects[i] for i in group_of], {j for line in lines for j in line})

    # the size with the least conflict and the least height above the ground
    times = np.linspace(0, 1, keys) if keys > 1 else np.array([0.5])
    best = np.zeros((0, keys, 4))
    least = float("inf")
    for shrink in SHRINK:
        singles = [_single(objects[i], len(group_of), shrink, background) for i in group_of]
        for line in lines:
            _line_up([singles[j] for j in line])
        _stack(singles, pairs)
        _attach(singles, members)
        boxes, conflict, lift = _settle(singles, pairs, times)
        cost = 10 * conflict + lift + 0.3 * (1 - shrink)
        if cost < least - 0.01:
            best, least = boxes, cost
        if conflict < 0.01 and lift < 0.05:
            break

    tracks = []
    for i, row in zip(group_of, best, strict=True):
        begin, end = objects[i].visible
        end = min(end, LEAVE + 0.01) if objects[i].leaves else end
        boxes = (_box(box) if begin <= u <= end else None for box, u in zip(row, times, strict=True))
        tracks.append(Track(objects[i].phrase, tuple(boxes)))
    return tuple(tracks), members


def _box(sides: np.ndarray) -> Box:
    x0, y0, x1, y1 = (round(v, 3) for v in sides.clip(0, 1).tolist())
    return x0, y0, x1, y1


def _single(item: SceneObject, number: int, shrink: float, background: str) -> _Single:
    """An object with its size: from the number of objects, its kind, its own size and its aspect."""
    kinds = lexicon.sizes("kind")
    side = SIDES[min(number, len(SIDES)) - 1] * shrink * kinds.get(item.noun, kinds.get(item.noun.split()[-1], 1.0))
    w = h = min(0.72, max(0.12, side * item.size))
    if is_any(item.noun, "tall", "human"):
        w = 0.6 * w
    elif is_any(item.noun, "wide"):
        h = 0.7 * h

    if any(move.goal[0] is not None for move in item.moves):
        w = min(w, WIDEST)

    # what keeps to a part of the frame has room to move there
    low, high = item.x_range
    if (fitting := 0.55 * (high - low)) < w:
        w, h = fitting, h * max(0.6, fitting / w)
    return _Single(item, w, h, low, high, LEVELS[_level(item, background)])


def _level(item: SceneObject, background: str) -> str:
    """Where an object of this kind stays: in the air, in the water or on the ground."""
    last = background.split()[-1] if background else ""
    if (is_any(item.noun, "flyer") and not is_any(item.noun, "floater")) or item.action in (
        "fly",
        "hover",
        "soar",
        "float up",
        "levitate",
    ):
        return "air" if item.action not in ("land", "sit", "stand", "walk", "perch", "swim", "hop") else "ground"
    if is_any(item.noun, "floater") or last in ("sea", "ocean", "water", "underwater", "lake", "river", "pond", "pool"):
        return "water"
    if last in ("sky", "space", "air", "universe", "galaxy"):
        return "middle"
    return "ground" if last or item.moves else "middle"


# ---- lines


def _implied_lines(items: Sequence[SceneObject], taken: set[int]) -> list[list[int]]:
    """Objects that move alike go in lines: "two cars drive to the right" one behind the other, balloons side by side."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for j, item in enumerate(items):
        travels = any(move.goal != (None, None) or move.path == "circle" for move in item.moves)
        if j in taken or not travels or item.x_range != (0.0, 1.0) or item.company is not None:
            continue
        key = (item.start, tuple(item.moves), item.stops, item.leaves, item.visible, _level(item, "road"))
        alike.setdefault(key, []).append(j)

    # several lines, one above the other, where the height is free
    lines = []
    for group in alike.values():
        sample = items[group[0]]
        is_high = sample.start[1] is not None or any(
            move.goal[0] is None or move.goal[1] is not None or move.path != "line" for move in sample.moves
        )
        rows = 1 if is_high else -(-len(group) // ROW)
        size = -(-len(group) // rows)
        lines += [group[k : k + size] for k in range(0, len(group), size)]
    return [line for line in lines if len(line) > 1]


def _line_up(line: Sequence[_Single]) -> None:
    """Give each its part of the frame's width, so that they keep their distance; the last one comes first."""
    moves = [move for single in line for move in single.item.moves]
    goals = [move.goal[0] for move in moves if move.goal[0] is not None]
    if not goals and any(move.path == "circle" for move in moves):
        for k, single in enumerate(line):
            single.phase = k / len(line)
        return
    total = sum(single.w for single in line)
    most = CONVOY if goals else ABREAST
    if total > most:
        for single in line:
            single.w *= most / total
            single.h *= max(0.6, most / total)
        total = most
    gap = max(1.2 * GAP, 0.15 * total / len(line))

    # from the left to the right; those side by side share the width evenly
    if not goals:
        for k, single in enumerate(line):
            single.low, single.high = k / len(line), (k + 1) / len(line)
        return
    ordered = list(reversed(line)) if goals[0] < 0.5 else list(line)
    for k, single in enumerate(ordered):
        single.low = sum(other.w + gap for other in ordered[:k])
        single.high = 1 - sum(other.w + gap for other in ordered[k + 1 :])


def _stack(singles: Sequence[_Single], relations: Sequence[Relation]) -> None:
    """What stands on one object has room on it, side by side."""
    standing: dict[int, list[int]] = {}
    for r in relations:
        if r.kind in ("on", "mounted"):
            standing.setdefault(r.b, []).append(r.a)
    for base, above in standing.items():
        total = sum(singles[i].w for i in above)
        if len(above) > 1 and total > (room := 1.15 * singles[base].w):
            singles[base].w = min(0.72, singles[base].w * min(1.5, total / room))
            factor = max(0.45, min(1.0, 1.15 * singles[base].w / total))
            for i in above:
                singles[i].w *= factor
                singles[i].h *= factor


def _attach(singles: Sequence[_Single], members: Sequence[Sequence[int]]) -> None:
    """What is carried or ridden moves in the very part of the frame that its company moves in."""
    for single in singles:
        if single.item.company is None:
            continue
        host = singles[members[single.item.company][0]]
        margin = (host.w - single.w) / 2
        left, right = EDGES[0]
        single.low, single.high = max(left, host.low) + margin, min(right, host.high) - margin
        single.attached = True


# ---- search


def _settle(
    singles: Sequence[_Single], relations: Sequence[Relation], times: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Coordinate descent over the candidate placements of each object.

    Returns boxes `[object, key, 4]`, the largest remaining conflict (an overlap, or the violation of an order) and the
    mean distance from where the objects would stay by their kind.
    """
    count = len(singles)
    candidates = [_candidates(single, times) for single in singles]
    related = {i for r in relations if r.kind in ("above", "on", "mounted") for i in (r.a, r.b)}

    # where the relations and the ground would have each object
    homes = _homes(count, relations)
    costs = []
    for i, (boxes, home) in enumerate(zip(candidates, homes, strict=True)):
        middle = _middle(boxes).mean(1)
        x_cost = abs(middle[:, 0] - home[0])
        y_cost = abs(middle[:, 1] - home[1]) if i in related else _lift(boxes, singles[i])
        costs.append(0.1 * x_cost + (0.1 if i in related else 0.3) * y_cost)
    chosen = np.stack([boxes[cost.argmin()] for boxes, cost in zip(candidates, costs, strict=True)])

    # pairs that may overlap: what is on, in or behind the other
    apart = APART * ~np.eye(count, dtype=bool)
    for r in relations:
        if r.kind in OVERLAPPING:
            apart[r.a, r.b] = apart[r.b, r.a] = 1.0 if r.kind == "touch" else 0.0
    for a, b in zip(*np.nonzero(apart), strict=True):
        if _passes(singles[a].item, singles[b].item):
            apart[a, b] = apart[b, a] = 0.0

    # each object in turn takes its cheapest candidate, given the others
    for _ in range(4):
        before = chosen.copy()
        for i, boxes in enumerate(candidates):
            if len(boxes) == 1:
                continue
            cost = costs[i] + (apart[i] * _overlap(boxes[:, None], chosen[None])).sum(1)
            for r in relations:
                if i == r.a:
                    cost = cost + _relation_cost(r.kind, boxes, chosen[r.b])
                elif i == r.b:
                    cost = cost + _relation_cost(r.kind, chosen[r.a], boxes)
            chosen[i] = boxes[cost.argmin()]
        if np.array_equal(before, chosen):
            break

    overlaps = _overlap(chosen[:, None], chosen[None])[apart == APART]
    conflicts = [float(overlaps.max())] if overlaps.size else []
    for r in relations:
        if r.kind in ("left", "above"):
            conflicts.append(float(_order_violation(r.kind, chosen[r.a], chosen[r.b])))
    lifts = [float(_lift(boxes[None], single)[0]) for boxes, single in zip(chosen, singles, strict=True)]
    free = [lift for i, lift in enumerate(lifts) if i not in related]
    return chosen, max(conflicts, default=0.0), sum(free) / max(1, len(free))


def _passes(item: SceneObject, other: SceneObject) -> bool:
    """Whether something passes in front of what cannot move out of its way."""
    sideways = any(move.goal[0] is not None for move in item.moves)
    return sideways and not other.moves and is_any(other.noun, "immobile") and other.start == (None, None)


def _lift(boxes: np.ndarray, single: _Single) -> np.ndarray:
    """How far from its level an object is that could stand there; nothing where the path says how high it is."""
    if any(
        move.goal[1] is not None or move.path not in ("line", "approach", "recede", "sway")
        for move in single.item.moves
    ):
        return np.zeros(len(boxes))
    if single.item.start[1] is not None:
        return np.zeros(len(boxes))
    top, bottom = EDGES[1]
    level = top + single.level * (bottom - top - single.h) + single.h
    return abs(boxes[..., 3] - level).mean(-1)


def _homes(count: int, relations: Sequence[Relation]) -> list[tuple[float, float]]:
    """The centre of each object in a layout that has all relations: in a row, or one above the other."""
    row = list(range(count))
    level = [0] * count
    for _ in range(count):
        for r in relations:
            if r.kind == "left" and row.index(r.a) > row.index(r.b):
                row.remove(r.a)
                row.insert(row.index(r.b), r.a)
            if r.kind in ("above", "on", "mounted"):
                level[r.b] = min(count, max(level[r.b], level[r.a] + 1))

    # what stands above another object has its x
    xs = [(row.index(i) + 0.5) / count for i in range(count)]
    for r in relations:
        if r.kind in ("above", "on", "mounted", "under path", "touch"):
            xs[r.b] = xs[r.a]
    levels = max(level) + 1
    return [(x, (depth + 0.5) / levels) for x, depth in zip(xs, level, strict=True)]


def _candidates(single: _Single, times: np.ndarray) -> np.ndarray:
    """Every way to place an object: boxes `[candidate, key, 4]`."""
    item = single.item
    follow = path_of(item.start, item.moves, item.stops, item.leaves, single.phase)
    poses = [follow(u) for u in times.tolist()]
    xs, ys, scale, dx = np.array([(p.x, p.y, p.scale, p.dx) for p in poses], float).T

    # centres over time; a coordinate that the path leaves free is tried on a grid
    (left, right), (top, bottom) = EDGES
    low, high = (single.low, single.high) if single.attached else (max(left, single.low), min(right, single.high))
    x = (
        low
        + single.w / 2
        + _positions(xs) * (high - low - single.w if single.attached else max(0.0, high - low - single.w))
        + dx
    )[:, None]
    y = (top + single.h / 2 + _positions(ys) * (bottom - top - single.h))[None]

    half_w = single.w * scale / 2
    half_h = single.h * scale / 2
    boxes = np.broadcast_arrays(x - half_w, y - half_h, x + half_w, y + half_h)
    return np.stack(boxes, -1).reshape(-1, len(times), 4)


def _positions(places: np.ndarray) -> np.ndarray:
    """A coordinate over time, free entries (NaN) filled with each of GRID values: `[candidate, key]`."""
    free = np.isnan(places)
    if not free.any():
        return places[None]
    return np.where(free, np.linspace(0, 1, GRID)[:, None], places)


def _middle(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest fraction over time of the smaller box that the other covers: `[..., key, 4]` each, broadcast."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + GAP
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    intersection = size.clip(0).prod(-1)
    return (intersection / np.minimum(area_a, area_b)).max(-1)


def _relation_cost(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cost of a relation between boxes, averaged over time; for an order, mostly its violation."""
    offset = _middle(b) - _middle(a)
    dx, dy = abs(offset[..., 0]), abs(offset[..., 1])
    match kind:
        case "free":
            return np.zeros(())
        case "beside" | "within":
            return np.hypot(dx, 2 * dy).mean(-1)
        case "touch":
            half = (a[..., 2] - a[..., 0] + b[..., 2] - b[..., 0]) / 4
            return np.hypot(abs(dx - half), 2 * dy).mean(-1)
        case "on" | "mounted":
            beyond = (dx - 0.4 * (b[..., 2] - b[..., 0])).clip(0)
            return (3 * abs(a[..., 3] - b[..., 1]) + 2 * beyond + 0.05 * dx).mean(-1)
        case "under path":
            return dx.mean(-1)
    across = dy if kind == "left" else dx
    return 5 * _order_violation(kind, a, b) + 0.5 * across.mean(-1)


def _order_violation(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far `a` would have to move to stand left of `b`, or above it, averaged over time."""
    axis = 0 if kind == "left" else 1
    return (a[..., 2 + axis] + GAP - b[..., axis]).clip(0).mean(-1)
