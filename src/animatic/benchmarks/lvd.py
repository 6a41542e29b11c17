"""LVD's benchmark (Lian et al. 2024, section 4): 500 prompts of moving scenes in five tasks, with their predicates.

Predicates look at six frames.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from ..english import article, number, plurals
from ..scene import Box
from .cases import Case, Layout, Named, Rules, first, middle
from .lmd import coloured_pairs

PREFIX = "A realistic lively video of a scene"
TOP_DOWN = "A realistic lively video of a top-down viewed scene"
THINGS = (("moving", "car"), ("lively", "cat"), ("flying", "bird"), ("moving", "ball"), ("walking", "dog"))
NOUNS = [noun for _, noun in THINGS]
FRAMES = 6
WAYS = (("left", "right"), ("right", "left"))
CORNERS = (
    ("lower left", "lower right", "upper right"),
    ("lower left", "upper left", "upper right"),
    ("lower right", "lower left", "upper left"),
    ("lower right", "upper right", "upper left"),
)


def cases() -> list[Case]:
    """The 500 cases in their published order."""
    return [*_numeracy(), *_attribution(), *_visibility(), *_dynamic(), *_sequential()]


def _numeracy() -> list[Case]:
    made = []
    for count in range(1, 5):
        for adjective, noun in THINGS:
            name = f"{adjective} {noun if count == 1 else plurals(noun)[0]}"
            prompt = f"{PREFIX} with {number(count)} {name}"
            holds = partial(_counts, noun=noun, count=count)
            made += [Case("numeracy", prompt, holds, (noun,), several=True)] * 5
    return made


def _attribution() -> list[Case]:
    made = []
    for colours, nouns in coloured_pairs(NOUNS):
        names = tuple(f"{c} {n}" for c, n in zip(colours, nouns, strict=True))
        prompt = f"{PREFIX} with {article(names[0])} and {article(names[1])}"
        made.append(Case("attribution", prompt, partial(_has_all, names=names), names))
    return made


def _visibility() -> list[Case]:
    made = []
    for adjective, noun in THINGS:
        for half in ("second", "first"):
            prompt = f"{PREFIX} in which {article(f'{adjective} {noun}')} appears only in the {half} half of the video"
            made += [Case("visibility", prompt, partial(_half, noun=noun, half=half), (noun,))] * 10
    return made


def _dynamic() -> list[Case]:
    made = []
    for noun in NOUNS:
        for a, b in WAYS:
            prompt = f"{PREFIX} with {article(noun)} moving from the {a} to the {b}"
            made += [Case("dynamic", prompt, partial(_moves, noun=noun, goal=b), (noun,))] * 5
    for seed in range(25):
        rng = np.random.RandomState(seed)
        for a, b in WAYS:
            one, two = (str(n) for n in rng.choice(NOUNS, 2, replace=False))
            prompt = f"{PREFIX} with {article(one)} moving from the {a} of {article(two)} to its {b}"
            made.append(Case("dynamic", prompt, partial(_passes, names=(one, two), goal=b), (one, two)))
    return made


def _sequential() -> list[Case]:
    made = []
    for noun in NOUNS:
        for stops in CORNERS:
            prompt = (
                f"{TOP_DOWN} in which {article(noun)} initially on the {stops[0]} of the scene. It first moves to the "
                f"{stops[1]} of the scene and then moves to the {stops[2]} of the scene."
            )
            made += [Case("sequential", prompt, partial(_visits, noun=noun, stops=stops), (noun,))] * 5
    return made


def _counts(layout: Layout, rules: Rules, noun: str, count: int) -> bool:
    """How many boxes most frames show (the smaller number on a tie); names count only where they must."""
    tracks = [t for t in layout.tracks if not rules.named or noun in t.phrase.split()]
    seen = Counter(sum(rules.sees(t.boxes[f]) for t in tracks) for f in range(FRAMES))
    return max(seen, key=lambda n: (seen[n], -n)) == count


def _has_all(layout: Layout, rules: Rules, names: tuple[str, ...]) -> bool:
    tracks = [first(layout, name) for name in names]
    return all(t is not None and sum(map(rules.sees, t.boxes)) >= FRAMES / 2 for t in tracks)


def _half(layout: Layout, rules: Rules, noun: str, half: str) -> bool:
    """Seen in some frame of its half and in none of the other; the two middle frames do not count."""
    track = first(layout, noun)
    if track is None:
        return False
    early, late = (any(rules.sees(track.boxes[f]) for f in frames) for frames in ((0, 1), (4, 5)))
    return early and not late if half == "first" else late and not early


def _ends(track: Named | None, rules: Rules) -> tuple[Box, Box] | None:
    """The first and the last box, where both are seen."""
    if track is None:
        return None
    a, b = track.boxes[0], track.boxes[-1]
    return (a, b) if a is not None and b is not None and rules.sees(a) and rules.sees(b) else None


def _moves(layout: Layout, rules: Rules, noun: str, goal: str) -> bool:
    ends = _ends(first(layout, noun), rules)
    if ends is None:
        return False
    a, b = (middle(box)[0] for box in ends)
    return rules.before(a, b) if goal == "right" else rules.before(b, a)


def _passes(layout: Layout, rules: Rules, names: tuple[str, str], goal: str) -> bool:
    """The first thing begins on one side of the second and ends on the other."""
    one, two = (_ends(first(layout, name), rules) for name in names)
    if one is None or two is None:
        return False
    (a, b), (p, q) = ([middle(box)[0] for box in ends] for ends in (one, two))
    if goal == "right":
        return rules.before(a, p) and rules.before(q, b)
    return rules.before(p, a) and rules.before(b, q)


def _visits(layout: Layout, rules: Rules, noun: str, stops: tuple[str, ...]) -> bool:
    """In the right quarter in frames 1, 4 and 6."""
    track = first(layout, noun)
    if track is None:
        return False
    for f, stop in zip((0, FRAMES // 2, FRAMES - 1), stops, strict=True):
        box = track.boxes[f]
        if box is None or not rules.sees(box):
            return False
        x, y = middle(box)
        if not (rules.before(x, 0.5) if "left" in stop else rules.before(0.5, x)):
            return False
        if not (rules.before(y, 0.5) if "upper" in stop else rules.before(0.5, y)):
            return False
    return True
