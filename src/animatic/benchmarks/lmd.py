"""LMD's benchmark (Lian et al. 2023, section 4): 400 prompts of still scenes in four tasks, with their predicates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..prompting.english import article, number, plurals
from ..scene import Box
from .cases import Case, Layout, LayoutTrack, Rules, first_track, middle

PREFIX = "A realistic photo of a scene"
OBJECTS = "backpack book bottle bowl car cat chair cup dog laptop".split()
COLOURS = "red orange yellow green blue purple pink brown black white gray".split()
SIDES = (("left", "right"), ("right", "left"), ("top", "bottom"), ("bottom", "top"))


def cases() -> list[Case]:
    """The 400 cases in their published order."""
    return [*_negation(), *_numeracy(), *_attribution(), *_spatial()]


def _negation() -> list[Case]:
    return [_counted("negation", f"without {plurals(noun)[0]}", noun, 0) for noun in OBJECTS for _ in range(10)]


def _numeracy() -> list[Case]:
    return [
        _counted("numeracy", f"with {number(count)} {noun if count == 1 else plurals(noun)[0]}", noun, count)
        for count in range(1, 6)
        for noun in OBJECTS
        for _ in range(2)
    ]


def _counted(task: str, words: str, noun: str, count: int) -> Case:
    return Case(task, f"{PREFIX} {words}", partial(_counts, noun=noun, count=count), (article(noun),), all_boxes=True)


def _attribution() -> list[Case]:
    made = []
    for colours, nouns in coloured_pairs(OBJECTS):
        names = tuple(article(f"{c} {n}") for c, n in zip(colours, nouns, strict=True))
        prompt = f"{PREFIX} with {' and '.join(names)}"
        made.append(Case("attribution", prompt, partial(_has_all, names=names), names, all_boxes=True))
    return made


def coloured_pairs(nouns: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """Two colours and two nouns per seed 0..99, as both papers draw them (NumPy's legacy generator)."""
    drawn = []
    for seed in range(100):
        rng = np.random.RandomState(seed)
        colours = [str(c) for c in rng.choice(COLOURS, 2, replace=False)]
        drawn.append((colours, [str(n) for n in rng.choice(nouns, 2, replace=False)]))
    return drawn


def _spatial() -> list[Case]:
    made = []
    for seed in range(25):
        rng = np.random.RandomState(seed)
        for a, b in SIDES:
            names = tuple(article(str(n)) for n in rng.choice(OBJECTS, 2, replace=False))
            prompt = f"{PREFIX} with {names[0]} on the {a} and {names[1]} on the {b}"
            made.append(Case("spatial", prompt, partial(_stand, names=names, side=a), names, all_boxes=True))
    return made


def _box(track: LayoutTrack | None, rules: Rules) -> Box | None:
    """A thing's box where it counts as present; published: wherever there is one."""
    box = track.boxes[0] if track else None
    return box if not rules.positive or rules.is_present(box) else None


def _seen(layout: Layout, rules: Rules) -> list[str]:
    return [track.phrase for track in layout.tracks if _box(track, rules)]


def _counts(layout: Layout, rules: Rules, noun: str, count: int) -> bool:
    """How many names contain the noun; strictly, end in it or in its plural."""
    names = _seen(layout, rules)
    if rules.named:
        return sum(name.split()[-1] in (noun, *plurals(noun)) for name in names) == count
    return sum(noun in name for name in names) == count


def _has_all(layout: Layout, rules: Rules, names: tuple[str, ...]) -> bool:
    return all(any(name in phrase for phrase in _seen(layout, rules)) for name in names)


def _stand(layout: Layout, rules: Rules, names: tuple[str, ...], side: str) -> bool:
    """The first thing stands on its side of the second one."""
    a, b = (_box(first_track(layout, name), rules) for name in names)
    axis = 0 if side in ("left", "right") else 1
    return a is not None and b is not None and rules.is_on_side(middle(a)[axis], side, middle(b)[axis])
