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
HOME_WEIGHT = 0.1  # cost of a distance from home: it only decides between places without conflict
LIFT_WEIGHT = 0.3  # cost of a distance from an object's level
LEVEL_PATHS = ("line", "approach", "recede", "sway")  # along which an object keeps its height
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
        if i in related:
            y_cost = abs(middle[:, 1] - home[1])
            y_weight = HOME_WEIGHT
        else:
            # nothing holds it up: away from its level it would float
            y_cost = _lift(boxes, singles[i])
            y_weight = LIFT_WEIGHT
        costs.append(HOME_WEIGHT * x_cost + y_weight * y_cost)
    chosen = np.stack([boxes[cost.argmin()] for boxes, cost in zip(candidates, costs, strict=True)])

    # pairs that may overlap: what is on, in or behind the other
    apart = APART * ~np.eye(count, dtype=bool)
    for r in relations:
        if r.kind in OVERLAPPING:
            weight = 1.0 if r.kind == "touch" else 0.0
            apart[r.a, r.b] = weight
            apart[r.b, r.a] = weight
    for a, b in zip(*np.nonzero(apart), strict=True):
        if _passes(singles[a].item, singles[b].item):
            apart[a, b] = 0.0
            apart[b, a] = 0.0

    # each object in turn takes its cheapest candidate, given the others
    for _ in range(4):
        before = chosen.copy()
        for i, boxes in enumerate(candidates):
            if len(boxes) == 1:
                continue
            overlap = _overlap(boxes[:, None], chosen[None])
            cost = costs[i] + (apart[i] * overlap).sum(1)
            for r in relations:
                if i == r.a:
                    cost = cost + _relation_cost(r.kind, boxes, chosen[r.b])
                elif i == r.b:
                    cost = cost + _relation_cost(r.kind, chosen[r.a], boxes)
            chosen[i] = boxes[cost.argmin()]
        if np.array_equal(before, chosen):
            break

    # what could not be solved
    overlaps = _overlap(chosen[:, None], chosen[None])
    overlaps = overlaps[apart == APART]
    conflict = float(overlaps.max()) if overlaps.size else 0.0
    for r in relations:
        if r.kind in ("left", "above"):
            violation = _order_violation(r.kind, chosen[r.a], chosen[r.b])
            conflict = max(conflict, float(violation))

    lifts = []
    for i, (boxes, single) in enumerate(zip(chosen, singles, strict=True)):
        if i not in related:
            lift = _lift(boxes[None], single)
            lifts.append(float(lift[0]))
    return chosen, conflict, sum(lifts) / max(1, len(lifts))


def _passes(item: SceneObject, other: SceneObject) -> bool:
    """Whether something passes in front of what cannot move out of its way."""
    if other.moves or other.start != (None, None):
        return False
    sideways = any(move.goal[0] is not None for move in item.moves)
    return sideways and is_any(other.noun, "immobile")


def _lift(boxes: np.ndarray, single: Single) -> np.ndarray:
    """How far from its level an object is that could stand there; nothing where the path says how high it is."""
    nothing = np.zeros(len(boxes))
    if single.item.start[1] is not None:
        return nothing
    for move in single.item.moves:
        if move.goal[1] is not None or move.path not in LEVEL_PATHS:
            return nothing

    # level 1 puts the bottom edge on the ground, level 0 the top edge under the upper border
    top, bottom = EDGES[1]
    height = bottom - top - single.h
    level = top + single.level * height + single.h
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
                # at most `count`: relations that contradict each other go round in circles
                below = max(level[r.b], level[r.a] + 1)
                level[r.b] = min(count, below)

    # what stands above another object has its x
    xs = [(row.index(i) + 0.5) / count for i in range(count)]
    for r in relations:
        if r.kind in ("above", "on", "mounted", "under path", "touch"):
            xs[r.b] = xs[r.a]
    levels = max(level) + 1
    ys = [(depth + 0.5) / levels for depth in level]
    return list(zip(xs, ys, strict=True))


def _candidates(single: Single, times: np.ndarray) -> np.ndarray:
    """Every way to place an object: boxes `[candidate, key, 4]`."""
    item = single.item
    follow = path_of(item.start, item.moves, item.stops, item.leaves, single.phase)
    poses = [follow(u) for u in times.tolist()]
    xs, ys, scale, dx = np.array([(p.x, p.y, p.scale, p.dx) for p in poses], float).T

    # centres over time; a coordinate that the path leaves free is tried on a grid
    (left, right), (top, bottom) = EDGES
    low = single.low
    high = single.high
    if not single.attached:
        low = max(left, low)
        high = min(right, high)

    # what is attached may be wider than its part: then it moves against it, and stays on its company
    width = high - low - single.w
    if not single.attached:
        width = max(0.0, width)
    height = bottom - top - single.h
    x = low + single.w / 2 + _positions(xs) * width + dx
    y = top + single.h / 2 + _positions(ys) * height
    x = x[:, None]
    y = y[None]

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
    near = np.maximum(a[..., :2], b[..., :2])
    far = np.minimum(a[..., 2:], b[..., 2:])
    size = far - near + GAP
    intersection = size.clip(0).prod(-1)

    # of the smaller one: a mouse behind an elephant is hidden, though most of the elephant shows
    smaller = np.minimum(_area(a), _area(b))
    return (intersection / smaller).max(-1)


def _area(boxes: np.ndarray) -> np.ndarray:
    sides = boxes[..., 2:] - boxes[..., :2]
    return sides.prod(-1)


def _relation_cost(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cost of a relation between boxes, averaged over time; for an order, mostly its violation."""
    offset = _middle(b) - _middle(a)
    dx = abs(offset[..., 0])
    dy = abs(offset[..., 1])
    width_a = a[..., 2] - a[..., 0]
    width_b = b[..., 2] - b[..., 0]
    match kind:
        case "free":
            return np.zeros(())
        case "beside" | "within":
            return np.hypot(dx, 2 * dy).mean(-1)
        case "touch":
            # side by side with half of each overlapping
            half = (width_a + width_b) / 4
            return np.hypot(abs(dx - half), 2 * dy).mean(-1)
        case "on" | "mounted":
            # its bottom edge lies on the other's top edge, and it does not stand over the end
            beyond = (dx - 0.4 * width_b).clip(0)
            above = abs(a[..., 3] - b[..., 1])
            cost = 3 * above + 2 * beyond + 0.05 * dx
            return cost.mean(-1)
        case "under path":
            return dx.mean(-1)

    # an order leaves the other axis open; objects in one line show it best
    across = dy if kind == "left" else dx
    return 5 * _order_violation(kind, a, b) + 0.5 * across.mean(-1)


def _order_violation(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far `a` would have to move to stand left of `b`, or above it, averaged over time."""
    axis = 0 if kind == "left" else 1
    end = a[..., 2 + axis]
    begin = b[..., axis]
    return (end + GAP - begin).clip(0).mean(-1)
