"""LemmInflect's dictionary, of which only the entries of the words that are looked up are parsed.

LemmInflect itself parses all 80,000 at the first word, which takes eight times as long as a plan does otherwise.
"""

from __future__ import annotations

import gzip
from bisect import bisect_left
from functools import cache
from itertools import islice


def lemmas(word: str) -> dict[str, tuple[str, ...]]:
    """What `lemminflect.getAllLemmas` gives for a word in small letters: the spellings of its base form by part of
    speech (NOUN, VERB, ADJ, ADV, AUX); empty where the dictionary does not have it."""
    from lemminflect.codecs.LemmaLUCodec import LemmaLUCodec
    from lemminflect.core.LexicalUtils import applyCapsStyleToDict, categoryToUPos, getCapsStyle

    # the lines of a word follow each other
    found: dict[str, tuple[str, ...]] = {}
    lines = _lines()
    first = bisect_left(lines, word, key=_word_of)
    for line in islice(lines, first, None):
        entry, category, forms = LemmaLUCodec.fromString(line)
        if entry != word:
            break
        found[categoryToUPos(category)] = forms
    found |= _overrides().get(word, {})
    return applyCapsStyleToDict(found, getCapsStyle(word))  # "okay" is "OK" in the dictionary


def _word_of(line: str) -> str:
    return line.partition(",")[0]


@cache
def _lines() -> list[str]:
    """The lines "word,category,form/form" of the dictionary, sorted by word."""
    from lemminflect.config import lemma_lu_fn

    with gzip.open(lemma_lu_fn) as file:
        text = file.read().decode()
    return text.splitlines()


@cache
def _overrides() -> dict[str, dict[str, tuple[str, ...]]]:
    """LemmInflect's own corrections, by word and part of speech."""
    from lemminflect.codecs.OverridesCodec import OverridesCodec
    from lemminflect.config import lemma_overrides_fn

    return OverridesCodec.load(lemma_overrides_fn)
