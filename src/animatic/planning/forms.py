"""Forms of English words: parts of speech and lemmas from LemmInflect's dictionary (the NIH's SPECIALIST Lexicon).

The dictionary lists what a word *can* be; which of these it is in a sentence is decided in elements.py.
"""

from __future__ import annotations

import re
from functools import cache

from ..prompting import english
from . import lexicon
from .word_dictionary import lemmas

_SINGULARS = {many: one for one, many in english.IRREGULAR.items()}
_NOT_PLURAL = re.compile(r"(ss|us|is|lens|gas|news|series|species|tennis|bus)$")
ARTICLES = frozenset("a an the his her its their".split())
_ODD_VERBS = {"lying": "lie", "dying": "die", "left": "leave", "leaving": "leave", "lay": "lie", "felled": "fall"}
_ENDINGS = (("ies", "y"), ("es", ""), ("es", "e"), ("s", ""), ("ing", ""), ("ing", "e"), ("ied", "y"), ("ed", ""),
            ("ed", "e"))  # fmt: skip


@cache
def _lemmas(word: str) -> dict[str, tuple[str, ...]]:
    return lemmas(word) if word.isascii() else {}


def parts_of_speech(word: str) -> frozenset[str]:
    """What a word can be: any of NOUN, VERB, ADJ and ADV; empty where the dictionary does not have it."""
    found = {part for part in _lemmas(word) if part in ("NOUN", "VERB", "ADJ", "ADV")}
    if word in _SINGULARS:
        found.add("NOUN")
    return frozenset(found)


@cache
def verb_lemma(word: str) -> str:
    """The base form of a word that can be a verb; "" where it cannot."""
    if word in _ODD_VERBS:
        return _ODD_VERBS[word]
    known = lexicon.verbs()
    found = _lemmas(word).get("VERB", ())
    for lemma in found:
        if lemma in known:
            return lemma

    # verbs of motion that the dictionary does not have: "skateboarding"
    if word in known:
        return word
    for ending, base in _ENDINGS:
        stem = word.removesuffix(ending) + base
        if word.endswith(ending) and stem in known:
            return stem
    return found[0] if found else ""


def is_plural(word: str) -> bool:
    """Whether a noun has the form of a plural."""
    if word in _SINGULARS:
        return _SINGULARS[word] != word
    return len(word) > 3 and word.endswith("s") and not _NOT_PLURAL.search(word)


@cache
def singular(word: str) -> str:
    """The singular of a noun, or the word as it is where it has none."""
    if word in _SINGULARS:
        return _SINGULARS[word]
    if not is_plural(word):
        return word
    found = [lemma for lemma in _lemmas(word).get("NOUN", ()) if lemma != word]
    if found:
        return found[0]

    # words that the dictionary does not have, by their endings
    if re.search(r"[^aeiou]ies$", word):
        return word[:-3] + "y"
    if re.search(r"([^aeo]us|ss|x|zz|ch|sh)es$", word):
        return word[:-2]
    return word[:-1]


def is_finite_before(word: str, following: str) -> bool:
    """Whether a word in "-s" that can be a verb has an object after it: "knocks a glass", "scores the goal"."""
    is_finite = word.endswith("s") and verb_lemma(word) not in ("", word)
    return is_finite and following in ARTICLES


def can_be_noun(word: str) -> bool:
    """Whether a word may be a noun: the dictionary says so, or does not have it."""
    found = parts_of_speech(word)
    return "NOUN" in found or not found


def is_adverb(word: str) -> bool:
    """Whether a word is an adverb and nothing else that stands in a noun phrase."""
    found = parts_of_speech(word)
    if word in lexicon.words("manner"):
        return True
    if "ADV" in found:
        return found.isdisjoint(("NOUN", "ADJ"))

    # the dictionary lacks many: "zigzaggingly", but not "fly"
    return not found and word.endswith("ly") and len(word) > 4


def is_adjective(word: str) -> bool:
    """Whether a word may stand before a noun as its attribute."""
    if word in lexicon.words("adjective") or word in lexicon.sizes("size") or is_colour(word):
        return True
    return "ADJ" in parts_of_speech(word)


def is_colour(word: str) -> bool:
    colours = lexicon.words("colour")
    if word in colours:
        return True

    # "black-and-white", "blue-green"
    return colours.issuperset(re.split("-and-|-", word))
