"""Single objects with their sizes, and those that share a line, a support or a way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import lexicon
from .lexicon import is_any
from .scene_objects import Relation, SceneObject

SIDES = (0.5, 0.42, 0.375, 0.35, 0.32, 0.32, 0.28, 0.28, 0.28, 0.25, 0.25, 0.25)  # of the frame, by number of objects
EDGES = ((0.01, 0.99), (0.02, 0.94))  # of the frame: where objects are, along x and y
GAP = 0.02
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


@dataclass
class Single:
    """One object of a group as it is placed: width, height, the part of the frame's width it keeps to, its level."""

    item: SceneObject
    w: float = 0.0
    h: float = 0.0
    low: float = 0.0
    high: float = 1.0
    level: float = 1.0
    phase: float = 0.0  # of a circle, in turns
    attached: bool = False  # to another one, whose part of the frame it shares


def single(item: SceneObject, number: int, shrink: float, background: str) -> Single:
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
    return Single(item, w, h, low, high, LEVELS[level(item, background)])


def level(item: SceneObject, background: str) -> str:
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


def implied_lines(items: Sequence[SceneObject], taken: set[int]) -> list[list[int]]:
    """Objects that move alike go in lines: cars to the right one behind the other, balloons upwards side by side."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for j, item in enumerate(items):
        travels = any(move.goal != (None, None) or move.path == "circle" for move in item.moves)
        if j in taken or not travels or item.x_range != (0.0, 1.0) or item.company is not None:
            continue
        key = (item.start, tuple(item.moves), item.stops, item.leaves, item.visible, level(item, "road"))
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


def line_up(line: Sequence[Single]) -> None:
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


def stack(singles: Sequence[Single], relations: Sequence[Relation]) -> None:
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


def attach(singles: Sequence[Single], members: Sequence[Sequence[int]]) -> None:
    """What is carried or ridden moves in the very part of the frame that its company moves in."""
    for single in singles:
        if single.item.company is None:
            continue
        host = singles[members[single.item.company][0]]
        margin = (host.w - single.w) / 2
        left, right = EDGES[0]
        single.low, single.high = max(left, host.low) + margin, min(right, host.high) - margin
        single.attached = True
