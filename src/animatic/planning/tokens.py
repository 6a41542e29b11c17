"""Words of a prompt with their places in it: contractions and hyphenated directions are taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import lexicon
from .lexicon import DIRECTIONS

_WORD = re.compile(
    r"\d+(?:\.\d+)?(?: ?%|(?![^\W_]))|[^\W_]+(?:['\u2019-][^\W_]+)*['\u2019]?|[.,;:!?()\u2014\u2013|+&]|(?<= )/(?= )|\n"
)
_CONTRACTED = frozenset("it he she that there here who what where let".split())
_BEFORE_NOT = {"ca": "can", "wo": "will"}  # "can't", "won't"
_JOINED = DIRECTIONS | frozenset("to hand most and".split())
_SPLITTING = frozenset("to left right".split())
_ABBREVIATIONS = frozenset("mr mrs ms dr st vs int ext".split())
_STOPS = frozenset(".;!?|\n")


@dataclass(frozen=True)
class Token:
    """A word or mark, `prompt[start:end]` as it stands there; `low` is what the rules read."""

    text: str
    low: str
    start: int
    end: int
    is_possessive: bool = False

    @property
    def is_word(self) -> bool:
        return self.text[0].isalnum()

    @property
    def is_stop(self) -> bool:
        """Whether it ends a sentence."""
        return self.text in _STOPS

    @property
    def is_content(self) -> bool:
        """Whether it says something of its own: neither a mark nor a word of a closed class without direction."""
        if not self.is_word or self.low in lexicon.words("filler"):
            return False
        if self.low in DIRECTIONS or self.low in lexicon.NUMBERS or self.low in lexicon.SPATIAL:
            return self.low != "one"
        return self.low not in _CLOSED


_CLOSED = (
    lexicon.DETERMINERS | lexicon.PRONOUNS | lexicon.PREPOSITIONS | lexicon.CONJUNCTIONS | lexicon.AUXILIARIES
    | lexicon.NEGATIONS | lexicon.PARTICLES | frozenset("there then than mr mrs ms dr let want of am 's".split())
)  # fmt: skip


def tokens(prompt: str) -> list[Token]:
    """The words and marks of a prompt."""
    out: list[Token] = []
    for found in _WORD.finditer(prompt):
        text = found[0]
        start = found.start()

        # "Mr." is no end of a sentence
        if text == "." and out and out[-1].low in _ABBREVIATIONS and out[-1].end == start:
            continue
        out += _split(text, start)
    return out


def _split(text: str, start: int) -> list[Token]:
    """The tokens of a word that begins at `start`: a contraction has two in the same place."""
    end = start + len(text)
    low = text.lower().replace("\u2019", "'")

    # "20 %" is one word, and no number of objects
    if low.endswith("%"):
        return [Token(text, low.replace(" ", ""), start, end)]

    # contractions
    first, second = _contraction(low)
    if second:
        return [Token(text, first, start, end), Token(text, second, start, end)]
    if low.endswith(("'re", "'ll", "'ve")):
        return [Token(text, low[:-3], start, end)]

    # possessives; an apostrophe after any other letter than s is a closing quote
    if low.endswith("'s"):
        return [Token(text, low[:-2], start, end, is_possessive=True)]
    if low.endswith("'"):
        possessor = low[:-1]
        if possessor.endswith("s"):
            return [Token(text, possessor, start, end, is_possessive=True)]
        return [Token(text[:-1], possessor, start, end - 1)]

    # directions joined by hyphens: "left-to-right"
    parts = low.split("-")
    if len(parts) > 1 and _JOINED.issuperset(parts) and not _SPLITTING.isdisjoint(parts):
        out = []
        for part in text.split("-"):
            out.append(Token(part, part.lower(), start, start + len(part)))
            start += len(part) + 1
        return out
    return [Token(text, low, start, end)]


def _contraction(low: str) -> tuple[str, str]:
    """The two words of a contraction; "" and "" of any other word."""
    if low == "cannot":
        return "can", "not"
    if low.endswith("n't") and len(low) > 3:
        stem = low[:-3]
        return _BEFORE_NOT.get(stem, stem), "not"
    if low.endswith("'s") and low[:-2] in _CONTRACTED:
        return low[:-2], "is"
    return "", ""
