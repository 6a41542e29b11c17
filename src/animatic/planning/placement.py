"""The search for places of objects that minimises overlap, holds relations and keeps to the ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .lexicon import is_any
from .paths import path_of
from .scene_objects import Relation, SceneObject
from .singles import EDGES, GAP, Single

GRID = 9  # places tried along a free axis
APART = 10.0  # cost of an overlap
OVERLAPPING = frozenset(("touch", "within", "free", "mounted", "under path", "on"))


def settle(
    singles: Sequence[Single], relations: Sequence[Relation], times: np.ndarray
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


def _lift(boxes: np.ndarray, single: Single) -> np.ndarray:
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


def _candidates(single: Single, times: np.ndarray) -> np.ndarray:
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
