"""Objects with motions and relations to boxes: the largest sizes at which they fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scene import Box, Track
from .paths import LEAVE
from .placement import settle
from .scene_objects import Convoy, Relation, SceneObject
from .singles import attach, implied_lines, line_up, single, stack

SHRINK = (1.0, 0.85, 0.7, 0.55)  # tried in turn while objects overlap


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
    members: list[list[int]] = [[] for _ in objects]
    for j, group in enumerate(group_of):
        members[group].append(j)
    pairs = [Relation(r.kind, a, b) for r in relations for a in members[r.a] for b in members[r.b]]

    # lines that are said, each object in one of them alone; then those that follow from like motions
    lines: list[list[int]] = []
    for convoy in convoys:
        line = [j for i in convoy.members for j in members[i]]
        if not any(set(line) & set(other) for other in lines):
            lines.append(line)
    in_lines = {j for line in lines for j in line}
    lines += implied_lines([objects[i] for i in group_of], in_lines)

    # the size with the least conflict and the least height above the ground
    times = np.linspace(0, 1, keys) if keys > 1 else np.array([0.5])
    best = np.zeros((0, keys, 4))
    least = float("inf")
    for shrink in SHRINK:
        singles = [single(objects[i], len(group_of), shrink, background) for i in group_of]
        for line in lines:
            line_up([singles[j] for j in line])
        stack(singles, pairs)
        attach(singles, members)
        boxes, conflict, lift = settle(singles, pairs, times)

        # smaller objects are worse by themselves, and a gain that rounding could make counts for nothing
        cost = 10 * conflict + lift + 0.3 * (1 - shrink)
        if cost < least - 0.01:
            best = boxes
            least = cost
        if conflict < 0.01 and lift < 0.05:
            break

    # an object has no box while it is not there, nor once it has left the frame
    tracks = []
    for i, row in zip(group_of, best, strict=True):
        item = objects[i]
        begin, end = item.visible
        if item.leaves:
            end = min(end, LEAVE + 0.01)
        own: list[Box | None] = []
        for sides, u in zip(row, times, strict=True):
            own.append(_box(sides) if begin <= u <= end else None)
        tracks.append(Track(item.phrase, tuple(own)))
    return tuple(tracks), members


def _box(sides: np.ndarray) -> Box:
    # three decimals are readable in a file, and a quarter of a pixel at 256
    x0, y0, x1, y1 = (round(v, 3) for v in sides.clip(0, 1).tolist())
    return x0, y0, x1, y1
