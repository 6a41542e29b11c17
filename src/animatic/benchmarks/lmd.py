"""LMD's benchmark (arXiv 2305.13655, section 4): 400 prompts of still scenes in four tasks, with their predicates."""

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
    cases = []
    for noun in OBJECTS:
        # Ten prompts of one wording: they differ in the seeds of their videos.
        plural = plurals(noun)[0]
        case = _counted("negation", f"without {plural}", noun, 0)
        cases += [case] * 10
    return cases


def _numeracy() -> list[Case]:
    cases = []
    for count in range(1, 6):
        for noun in OBJECTS:
            # One to five objects, in words.
            name = noun if count == 1 else plurals(noun)[0]
            case = _counted("numeracy", f"with {number(count)} {name}", noun, count)
            cases += [case] * 2
    return cases


def _counted(task: str, words: str, noun: str, count: int) -> Case:
    holds = partial(_counts, noun=noun, count=count)
    return Case(task, f"{PREFIX} {words}", holds, (article(noun),), all_boxes=True)


def _attribution() -> list[Case]:
    cases = []
    for colours, nouns in coloured_pairs(OBJECTS):
        one, two = (article(f"{colour} {noun}") for colour, noun in zip(colours, nouns, strict=True))
        names = (one, two)
        prompt = f"{PREFIX} with {one} and {two}"
        holds = partial(_has_all, names=names)
        cases.append(Case("attribution", prompt, holds, names, all_boxes=True))
    return cases


def coloured_pairs(nouns: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """Two colours and two nouns for each seed 0..99, as both papers draw them (NumPy's legacy generator)."""
    drawn = []
    for seed in range(100):
        # RandomState, not default_rng: other draws would be other prompts.
        rng = np.random.RandomState(seed)
        colours = [str(colour) for colour in rng.choice(COLOURS, 2, replace=False)]
        pair = [str(noun) for noun in rng.choice(nouns, 2, replace=False)]
        drawn.append((colours, pair))
    return drawn


def _spatial() -> list[Case]:
    cases = []
    for seed in range(25):
        rng = np.random.RandomState(seed)
        for a, b in SIDES:
            # Two objects for each seed and direction.
            nouns = rng.choice(OBJECTS, 2, replace=False)
            names = tuple(article(str(noun)) for noun in nouns)
            one, two = names
            prompt = f"{PREFIX} with {one} on the {a} and {two} on the {b}"
            holds = partial(_stand, names=names, side=a)
            cases.append(Case("spatial", prompt, holds, names, all_boxes=True))
    return cases


def _box(track: LayoutTrack | None, rules: Rules) -> Box | None:
    """An object's box where it counts as present; in the published evaluation, wherever there is one."""
    # Stills have one frame.
    box = track.boxes[0] if track else None
    if rules.positive and not rules.is_present(box):
        return None
    return box


def _counts(layout: Layout, rules: Rules, noun: str, count: int) -> bool:
    """Whether `count` phrases contain the noun; with `rules.named`, end in it or in its plural."""
    phrases = _present(layout, rules)
    if rules.named:
        # "an apple" ends in its noun; "apple pie" does not.
        forms = (noun, *plurals(noun))
        heads = [phrase.split()[-1] for phrase in phrases]
        return sum(head in forms for head in heads) == count
    return sum(noun in phrase for phrase in phrases) == count


def _has_all(layout: Layout, rules: Rules, names: tuple[str, ...]) -> bool:
    # A phrase may say more than the name.
    phrases = _present(layout, rules)
    return all(any(name in phrase for phrase in phrases) for name in names)


def _stand(layout: Layout, rules: Rules, names: tuple[str, ...], side: str) -> bool:
    """Whether the first object stands on the given side of the second one."""
    one, other = (_box(first_track(layout, name), rules) for name in names)
    if one is None or other is None:
        return False

    # Compared are the centres.
    axis = 0 if side in ("left", "right") else 1
    place = middle(one)[axis]
    return rules.is_on_side(place, side, middle(other)[axis])


def _present(layout: Layout, rules: Rules) -> list[str]:
    return [track.phrase for track in layout.tracks if _box(track, rules)]
