"""LVD's benchmark (arXiv 2309.17444, section 4): 500 prompts of moving scenes in five tasks, with their predicates.

Predicates are given the boxes of six frames.
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
OBJECTS = (("moving", "car"), ("lively", "cat"), ("flying", "bird"), ("moving", "ball"), ("walking", "dog"))
NOUNS = [noun for _, noun in OBJECTS]
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
    cases = []
    for count in range(1, 5):
        for adjective, noun in OBJECTS:
            form = noun if count == 1 else plurals(noun)[0]
            name = f"{adjective} {form}"

            # Five cases of each prompt, with other seeds.
            prompt = f"{PREFIX} with {number(count)} {name}"
            holds = partial(_counts, noun=noun, count=count)
            cases += [Case("numeracy", prompt, holds, (noun,), all_boxes=True)] * 5
    return cases


def _attribution() -> list[Case]:
    cases = []
    for colours, nouns in coloured_pairs(NOUNS):
        # The same draws as LMD's, from LVD's nouns.
        one, two = (f"{colour} {noun}" for colour, noun in zip(colours, nouns, strict=True))
        prompt = f"{PREFIX} with {article(one)} and {article(two)}"
        holds = partial(_has_all, names=(one, two))
        cases.append(Case("attribution", prompt, holds, (one, two)))
    return cases


def _visibility() -> list[Case]:
    cases = []
    for adjective, noun in OBJECTS:
        for half in ("second", "first"):
            # Ten cases of each prompt.
            name = article(f"{adjective} {noun}")
            prompt = f"{PREFIX} in which {name} appears only in the {half} half of the video"
            case = Case("visibility", prompt, partial(_half, noun=noun, half=half), (noun,))
            cases += [case] * 10
    return cases


def _dynamic() -> list[Case]:
    cases = []

    # One object crosses the frame.
    for noun in NOUNS:
        for a, b in WAYS:
            prompt = f"{PREFIX} with {article(noun)} moving from the {a} to the {b}"
            crossing = Case("dynamic", prompt, partial(_moves, noun=noun, goal=b), (noun,))
            cases += [crossing] * 5

    # One object passes another.
    for seed in range(25):
        rng = np.random.RandomState(seed)
        for a, b in WAYS:
            one, two = (str(noun) for noun in rng.choice(NOUNS, 2, replace=False))
            prompt = f"{PREFIX} with {article(one)} moving from the {a} of {article(two)} to its {b}"
            holds = partial(_passes, names=(one, two), goal=b)
            cases.append(Case("dynamic", prompt, holds, (one, two)))
    return cases


def _sequential() -> list[Case]:
    cases = []
    for noun in NOUNS:
        for stops in CORNERS:
            # The corners in LVD's words.
            first, second, third = (f"the {stop} of the scene" for stop in stops)
            opening = f"{TOP_DOWN} in which {article(noun)} initially on {first}."
            prompt = f"{opening} It first moves to {second} and then moves to {third}."
            case = Case("sequential", prompt, partial(_visits, noun=noun, stops=stops), (noun,))
            cases += [case] * 5
    return cases


def _counts(layout: Layout, rules: Rules, noun: str, count: int) -> bool:
    """Whether most frames have `count` boxes (the smaller number on a tie); names count with `rules.named` only."""
    tracks = list(layout.tracks)
    if rules.named:
        tracks = [track for track in tracks if noun in track.phrase.split()]
    if not tracks:
        return count == 0
    votes = Counter[int]()
    for boxes in zip(*(track.boxes for track in tracks), strict=True):
        present = sum(map(rules.is_present, boxes))
        votes[present] += 1

    return max(votes, key=lambda number: (votes[number], -number)) == count


def _has_all(layout: Layout, rules: Rules, names: tuple[str, ...]) -> bool:
    """Whether each object is present in half of the frames or more."""
    for name in names:
        # A detection that flickers counts where it is there half of the time.
        track = first_track(layout, name)
        if track is None:
            return False
        present = sum(map(rules.is_present, track.boxes))
        if present < len(track.boxes) / 2:
            return False
    return True


def _half(layout: Layout, rules: Rules, noun: str, half: str) -> bool:
    """Whether the object is present in a frame of its half and in none of the other; the middle two do not count."""
    track = first_track(layout, noun)
    if track is None:
        return False

    # Six frames: two at the beginning, two that do not count, two at the end.
    centre = len(track.boxes) // 2
    boxes = track.boxes
    early = any(map(rules.is_present, boxes[: centre - 1]))
    late = any(map(rules.is_present, boxes[centre + 1 :]))
    return early and not late if half == "first" else late and not early


def _spots(layout: Layout, rules: Rules, noun: str, *frames: int) -> list[tuple[float, float]]:
    """Centres of an object in some frames; empty where it is not present in all of them."""
    track = first_track(layout, noun)

    # A missing box anywhere spoils the comparison.
    boxes = [track.boxes[f] for f in frames] if track else []
    spots = [middle(box) for box in boxes if box and rules.is_present(box)]
    return spots if len(spots) == len(boxes) else []


def _moves(layout: Layout, rules: Rules, noun: str, goal: str) -> bool:
    spots = _spots(layout, rules, noun, 0, -1)
    if not spots:
        return False

    # From the first frame to the last.
    (begin, _), (end, _) = spots
    return rules.is_on_side(end, goal, begin)


def _passes(layout: Layout, rules: Rules, names: tuple[str, str], goal: str) -> bool:
    """Whether the first object begins on one side of the second and ends on the other."""
    one = _spots(layout, rules, names[0], 0, -1)
    two = _spots(layout, rules, names[1], 0, -1)
    if not one or not two:
        return False

    # Only the horizontal places are compared.
    (one_begin, _), (one_end, _) = one
    (two_begin, _), (two_end, _) = two
    begins_before = rules.is_on_side(two_begin, goal, one_begin)
    return begins_before and rules.is_on_side(one_end, goal, two_end)


def _visits(layout: Layout, rules: Rules, noun: str, stops: tuple[str, ...]) -> bool:
    """Whether the object is in the right quarter in the first frame, the middle one (the 4th of 6) and the last."""
    track = first_track(layout, noun)
    if track is None:
        return False

    # The corners, in order.
    centre = len(track.boxes) // 2
    spots = _spots(layout, rules, noun, 0, centre, -1)
    if not spots:
        return False
    for (x, y), stop in zip(spots, stops, strict=True):
        height, side = stop.split()
        is_there = rules.is_on_side(x, side, 0.5) and rules.is_on_side(y, height, 0.5)
        if not is_there:
            return False
    return True
