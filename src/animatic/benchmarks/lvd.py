"""LVD's benchmark (Lian et al. 2024, section 4): 500 prompts of moving scenes in five tasks, with their predicates.

Predicates look at six frames.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from ..prompting.english import article, number, plurals
from .cases import Case, Layout, Rules, first_track, middle
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
            made += [Case("numeracy", prompt, holds, (noun,), all_boxes=True)] * 5
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
    if not tracks:
        return count == 0
    seen = Counter(sum(map(rules.is_present, boxes)) for boxes in zip(*(t.boxes for t in tracks), strict=True))
    return max(seen, key=lambda n: (seen[n], -n)) == count


def _has_all(layout: Layout, rules: Rules, names: tuple[str, ...]) -> bool:
    tracks = [first_track(layout, name) for name in names]
    return all(t is not None and sum(map(rules.is_present, t.boxes)) >= len(t.boxes) / 2 for t in tracks)


def _half(layout: Layout, rules: Rules, noun: str, half: str) -> bool:
    """Seen in some frame of its half and in none of the other; the two middle frames do not count."""
    track = first_track(layout, noun)
    if track is None:
        return False
    centre = len(track.boxes) // 2
    early, late = (any(map(rules.is_present, part)) for part in (track.boxes[: centre - 1], track.boxes[centre + 1 :]))
    return early and not late if half == "first" else late and not early


def _spots(layout: Layout, rules: Rules, noun: str, *frames: int) -> list[tuple[float, float]]:
    """The middles of a thing in some frames; none where it is not seen in all of them."""
    track = first_track(layout, noun)
    boxes = [track.boxes[f] for f in frames] if track else []
    spots = [middle(box) for box in boxes if box and rules.is_present(box)]
    return spots if len(spots) == len(boxes) else []


def _moves(layout: Layout, rules: Rules, noun: str, goal: str) -> bool:
    spots = _spots(layout, rules, noun, 0, -1)
    return bool(spots) and rules.is_on_side(spots[-1][0], goal, spots[0][0])


def _passes(layout: Layout, rules: Rules, names: tuple[str, str], goal: str) -> bool:
    """The first thing begins on one side of the second and ends on the other."""
    one, two = (_spots(layout, rules, name, 0, -1) for name in names)
    if not one or not two:
        return False
    return rules.is_on_side(two[0][0], goal, one[0][0]) and rules.is_on_side(one[-1][0], goal, two[-1][0])


def _visits(layout: Layout, rules: Rules, noun: str, stops: tuple[str, ...]) -> bool:
    """In the right quarter in the first frame, the middle one (the 4th of 6) and the last."""
    track = first_track(layout, noun)
    spots = _spots(layout, rules, noun, 0, len(track.boxes) // 2, -1) if track else []
    return bool(spots) and all(
        rules.is_on_side(x, side, 0.5) and rules.is_on_side(y, height, 0.5)
        for (x, y), (height, side) in zip(spots, map(str.split, stops), strict=True)
    )
