"""Words of a prompt with their places in it: contractions and hyphenated directions are taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import lexicon
from .lexicon import DIRECTIONS

_WORD = re.compile(r"\d+(?:\.\d+)?(?![^\W_])|[^\W_]+(?:['\u2019-][^\W_]+)*['\u2019]?|[.,;:!?()\u2014\u2013|]|\n")
_CONTRACTED = frozenset("it he she that there here who what where let".split())
_JOINED = DIRECTIONS | frozenset("to hand most and".split())
_SPLITTING = frozenset("to left right".split())
_ABBREVIATIONS = frozenset("mr mrs ms dr st vs".split())
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
        start, end = found.span()
        low = text.lower().replace("\u2019", "'")

        # "Mr." is no end of a sentence
        if text == "." and out and out[-1].low in _ABBREVIATIONS and out[-1].end == start:
            continue
        if low.endswith("n't") and len(low) > 3:
            out += [Token(text, {"ca": "can", "wo": "will"}.get(low[:-3], low[:-3]), start, end)]
            out += [Token(text, "not", start, end)]
        elif low == "cannot":
            out += [Token(text, "can", start, end), Token(text, "not", start, end)]
        elif low.endswith("'s") and low[:-2] in _CONTRACTED:
            out += [Token(text, low[:-2], start, end), Token(text, "is", start, end)]
        elif low.endswith(("'re", "'ll", "'ve")):
            out.append(Token(text, low[:-3], start, end))
        elif low.endswith(("'s", "'")):
            possessor = low[:-2] if low.endswith("'s") else low[:-1]
            is_possessive = low.endswith("'s") or possessor.endswith("s")
            shown = text if is_possessive else text[:-1]
            out.append(Token(shown, possessor, start, start + len(shown), is_possessive))
        elif "-" in low and set(low.split("-")) <= _JOINED and not _SPLITTING.isdisjoint(low.split("-")):
            offset = start
            for part in text.split("-"):
                out.append(Token(part, part.lower(), offset, offset + len(part)))
                offset += len(part) + 1
        else:
            out.append(Token(text, low, start, end))
    return out
