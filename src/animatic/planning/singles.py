"""Single objects with their sizes, and those that share a line, a support or a way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from . import lexicon
from .lexicon import is_any
from .paths import Move
from .scene_objects import Relation, SceneObject

SIDES = (0.5, 0.42, 0.375, 0.35, 0.32, 0.32, 0.28, 0.28, 0.28, 0.25, 0.25, 0.25)  # of the frame, by number of objects
EDGES = ((0.01, 0.99), (0.02, 0.94))  # of the frame: where objects are, along x and y
GAP = 0.02
WIDEST = 0.46  # of the frame: so that what crosses it ends beyond its quarter
CONVOY = 0.62  # of the frame's width: how much those that go in a line take together
ABREAST = 0.9  # the same of those side by side
LARGEST = 0.72  # of the frame: an object alone leaves room to move
SMALLEST = 0.12  # of the frame: about a cell of an attention map of 8 x 8
FLATTEST = 0.6  # how much lower an object becomes where it gets narrower, at most
OVERHANG = 1.15  # widths of a support that those on it take together at most
ROW = 4  # objects in a line at most
WATERS = frozenset("sea ocean water underwater lake river pond pool".split())
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
    # the size of its kind: that of "fire truck", or else that of "truck"
    kinds = lexicon.sizes("kind")
    last_word = item.noun.split()[-1]
    kind = kinds.get(item.noun, kinds.get(last_word, 1.0))
    index = min(number, len(SIDES)) - 1
    side = SIDES[index] * shrink * kind * item.size
    side = min(LARGEST, max(SMALLEST, side))

    # its aspect
    w = side
    h = side
    if is_any(item.noun, "tall", "human"):
        w = 0.6 * w
    elif is_any(item.noun, "wide"):
        h = 0.7 * h
    if any(move.goal[0] is not None for move in item.moves):
        w = min(w, WIDEST)

    # what keeps to a part of the frame has room to move there
    low, high = item.x_range
    fitting = 0.55 * (high - low)
    if fitting < w:
        h *= max(FLATTEST, fitting / w)
        w = fitting
    height = LEVELS[level(item, background)]
    return Single(item, w, h, low, high, height)


def level(item: SceneObject, background: str) -> str:
    """Where an object of this kind stays: in the air, in the water or on the ground."""
    last = background.split()[-1] if background else ""
    is_floater = is_any(item.noun, "floater")
    is_flyer = is_any(item.noun, "flyer") and not is_floater
    if is_flyer or item.action in ("fly", "hover", "soar", "float up", "levitate"):
        # a bird that sits is a bird on the ground
        on_ground = item.action in ("land", "sit", "stand", "walk", "perch", "swim", "hop")
        return "ground" if on_ground else "air"
    if is_floater or last in WATERS:
        return "water"
    if last in ("sky", "space", "air", "universe", "galaxy"):
        return "middle"

    # without a place and a motion nothing says that there is a ground
    if last or item.moves:
        return "ground"
    return "middle"


def implied_lines(items: Sequence[SceneObject], taken: set[int]) -> list[list[int]]:
    """Objects that move alike go in lines: cars to the right one behind the other, balloons upwards side by side."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for j, item in enumerate(items):
        if j in taken or item.x_range != (0.0, 1.0) or item.company is not None:
            continue
        travels = any(move.goal != (None, None) or move.path == "circle" for move in item.moves)
        if not travels:
            continue
        key = (item.start, tuple(item.moves), item.stops, item.leaves, item.visible, level(item, "road"))
        alike.setdefault(key, []).append(j)

    # several lines, one above the other, where the height is free
    lines = []
    for group in alike.values():
        sample = items[group[0]]
        rows = 1
        if sample.start[1] is None and all(map(_is_level, sample.moves)):
            rows = ceil(len(group) / ROW)
        size = ceil(len(group) / rows)
        for k in range(0, len(group), size):
            lines.append(group[k : k + size])
    return [line for line in lines if len(line) > 1]


def _is_level(move: Move) -> bool:
    """Whether a move leads straight to the side, at any height."""
    x, y = move.goal
    return move.path == "line" and x is not None and y is None


def line_up(line: Sequence[Single]) -> None:
    """Give each its part of the frame's width, so that they keep their distance; the last one comes first."""
    moves = [move for single in line for move in single.item.moves]
    goals = [move.goal[0] for move in moves if move.goal[0] is not None]
    if not goals and any(move.path == "circle" for move in moves):
        for k, single in enumerate(line):
            single.phase = k / len(line)
        return

    # smaller, where there is not room for all; heights are reduced less, or flat strips would remain
    total = sum(single.w for single in line)
    most = CONVOY if goals else ABREAST
    if total > most:
        factor = most / total
        for single in line:
            single.w *= factor
            single.h *= max(FLATTEST, factor)
        total = most
    gap = max(1.2 * GAP, 0.15 * total / len(line))

    # from the left to the right; those side by side share the width evenly
    if not goals:
        for k, single in enumerate(line):
            single.low = k / len(line)
            single.high = (k + 1) / len(line)
        return
    ordered = list(line)
    if goals[0] < 0.5:
        ordered.reverse()
    for k, single in enumerate(ordered):
        behind = ordered[:k]
        ahead = ordered[k + 1 :]
        single.low = sum(other.w + gap for other in behind)
        single.high = 1 - sum(other.w + gap for other in ahead)


def stack(singles: Sequence[Single], relations: Sequence[Relation]) -> None:
    """What stands on one object has room on it, side by side."""
    standing: dict[int, list[int]] = {}
    for r in relations:
        if r.kind in ("on", "mounted"):
            standing.setdefault(r.b, []).append(r.a)
    for base, above in standing.items():
        total = sum(singles[i].w for i in above)
        support = singles[base]
        room = OVERHANG * support.w
        if len(above) > 1 and total > room:
            # first the support gets wider, then what stands on it narrower
            wider = min(1.5, total / room)
            support.w = min(LARGEST, support.w * wider)
            factor = OVERHANG * support.w / total
            factor = max(0.45, min(1.0, factor))
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
        single.low = max(left, host.low) + margin
        single.high = min(right, host.high) - margin
        single.attached = True
