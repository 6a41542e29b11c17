"""Stories to compare multi-prompt methods by, after MPVBench (DiTCtrl, arXiv 2412.18597), which is not published.

130 stories of ours in ten kinds of transition. There is nothing to detect: what is measured is how evenly one frame
follows another (CSCV), whether anything moves, and how well each part shows its own prompt.
"""

from __future__ import annotations

import re
from importlib.resources import files

from .cases import Case, Layout, Rules

TOY = 5  # the first of each kind can be shown by a model of the toy world


def cases() -> list[Case]:
    """A case a story, its prompts joined by " | "; `queries` is what a model must know to show it."""
    made: list[Case] = []
    lines = (files("animatic.benchmarks") / "mpv.txt").read_text("utf-8").splitlines()
    for line in lines:
        if line.startswith("#"):
            continue

        # A line is the kind of transition, and a story with its alternatives in braces.
        kind, _, text = line.partition(": ")

        # The first of each kind show objects that the toy world has, which a model may be asked for.
        number = sum(case.task == kind for case in made)
        prompts = prompts_of(text)
        queries = _toys(prompts) if number < TOY else (prompts[0],)
        made.append(Case(kind, " | ".join(prompts), _unjudged, queries))
    return made


def prompts_of(text: str) -> list[str]:
    """ "A {red|blue} car" -> "A red car", "A blue car"."""
    found = re.search(r"\{(.*?)\}", text)
    assert found is not None  # the file is ours

    # What stands around the braces is common to all parts.
    before = text[: found.start()]
    after = text[found.end() :]
    return [before + words + after for words in found[1].split("|")]


def _toys(prompts: list[str]) -> tuple[str, ...]:
    from ..toy.world import identify

    return tuple(dict.fromkeys(identify(prompt)[0] for prompt in prompts))


def _unjudged(layout: Layout, rules: Rules) -> bool:
    raise AssertionError("a story is measured, not judged")
