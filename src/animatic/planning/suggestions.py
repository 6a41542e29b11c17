"""Words that a model knows in place of one that it does not: of the same kind, or spelled alike."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from ..core.text import find
from .lexicon import kinds_of, likenesses

MOST = 3  # suggestions for a phrase
ALIKE = 3.0  # classes in common that a listed likeness outweighs


def suggestions(phrases: Sequence[str], known: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Phrase -> at most three of the `known` words, the nearest first; phrases that name a known word are left out.

    Without `known` words a model can show anything, and nothing is suggested.
    """
    found = {}
    for phrase in phrases:
        if known and phrase.strip() and not any(find(phrase, word) for word in known):
            noun = phrase.lower().split()[-1]
            ordered = sorted(known, key=lambda word: -_likeness(noun, word))
            found[phrase] = tuple(ordered[:MOST])
    return found


def _likeness(noun: str, word: str) -> float:
    """How near a known word is to a noun: a listed likeness, then classes in common, then spelling."""
    listed = ALIKE if noun in likenesses().get(word, ()) else 0.0
    kinds = kinds_of(noun)
    shared = len(kinds & kinds_of(word)) / max(1, len(kinds))
    spelling = SequenceMatcher(None, noun, word).ratio()
    return listed + shared + 0.5 * spelling
