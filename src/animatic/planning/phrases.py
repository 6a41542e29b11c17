"""Noun phrases without a dictionary of nouns: "three small red cars" is 3 x car, red, small.

A phrase is determiner or number, adjectives, nouns; it ends at the first function word, adverb or verb.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .lexicon import (
    ADJECTIVES,
    COLOURS,
    COMPOUNDS,
    FUNCTION,
    IRREGULAR_VERBS,
    KINDS,
    NOT_ADVERBS,
    NOT_PARTICIPLES,
    NOT_THINGS,
    NUMBERS,
    SINGULARS,
    SIZES,
)  # fmt: skip

MOST = 12  # things of one kind; more cannot be told apart in a small frame
SOME = 3  # what "several" or a bare plural means

_DETERMINER = re.compile(r"(?:(?P<the>the|this|that|these|those|its|his|her|their|my|your|our|both) )?")
_QUANTITIES: tuple[tuple[str, int], ...] = (
    (r"(?:an? )?(?:pair|couple) of", 2),
    (r"a few|few|some|several|(?:an? )?(?:group|bunch|handful|set|number|pack|team|herd) of", SOME),
    (r"(?:an? )?(?:flock|school|swarm|crowd|fleet) of|many|(?:lots|a lot|plenty) of", 5),
    (r"(?:a )?dozen(?: of)?", 12),
    *((rf"{word}", number) for word, number in NUMBERS.items()),
    (r"an?(?: single| second| third)?|another|each|every", 1),
)
_QUANTITY = tuple((re.compile(rf"(?:{words})(?= |$)"), count) for words, count in _QUANTITIES)


@dataclass(frozen=True)
class Phrase:
    """A noun phrase that took `length` words. `noun` is singular ("" where elided), `said` the head as it stands."""

    noun: str
    said: str
    count: int
    definite: bool  # "the car": may name a thing that is there already
    colour: str
    size: float
    words: str  # from the first colour or unknown modifier to the noun, singular
    doing: str  # a participle before the noun: "flying"
    length: int


def tokens(prompt: str) -> list[str]:
    """Lower-case words and punctuation. Hyphenated directions are taken apart, colour pairs put together."""
    low = re.sub(
        r"\b(left|right|top|bottom|upper|lower)-(?=to|left|right|hand)|\b(to)-(?=left|right|top|bottom)",
        r"\1\2 ",
        prompt.lower(),
    )
    words = re.findall(r"[^\W_]+(?:['\u2019-][^\W_]+)*|[.,;:!?]", low)
    for i in range(len(words) - 3, 0, -1):
        if words[i] == "and" and words[i - 1] in COLOURS and words[i + 1] in COLOURS and is_content(words[i + 2]):
            words[i - 1 : i + 2] = [f"{words[i - 1]}-and-{words[i + 1]}"]
    return words


def is_content(word: str) -> bool:
    """Whether a word may stand inside a noun phrase."""
    if not word[0].isalnum() or word in FUNCTION or word.isdigit():
        return False
    return not (word.endswith("ly") and word not in NOT_ADVERBS | ADJECTIVES)


def is_colour(word: str) -> bool:
    return word in COLOURS or "-and-" in word


def is_plural(word: str) -> bool:
    return word in SINGULARS or (
        len(word) > 3 and word.endswith("s") and not re.search(r"(ss|us|is|lens|gas|news)$", word)
    )


def singular(word: str) -> str:
    if word in SINGULARS or not is_plural(word):
        return SINGULARS.get(word, word)
    if re.search(r"[^aeiou]ies$", word):
        return word[:-3] + "y"
    return word[:-2] if re.search(r"([^aeo]us|ss|x|zz|ch|sh)es$", word) else word[:-1]


def verb(word: str) -> str | None:
    """The stem of a known verb in any of its forms."""
    if word in IRREGULAR_VERBS:
        return IRREGULAR_VERBS[word]
    for end, base in (
        ("", ""),
        ("s", ""),
        ("es", ""),
        ("ies", "y"),
        ("ing", ""),
        ("ing", "e"),
        ("ed", ""),
        ("ed", "e"),
        ("ied", "y"),
    ):
        if word.endswith(end):
            found = word[: len(word) - len(end)] + base
            if found in KINDS:
                return found
            if len(end) > 1 and found[-1:] == found[-2:-1] and found[:-1] in KINDS:  # running
                return found[:-1]
    return None


def is_participle(word: str) -> bool:
    return len(word) > 4 and word.endswith(("ing", "ed")) and word not in NOT_PARTICIPLES


def noun_phrase(words: Sequence[str], bare: bool = True) -> Phrase | None:
    """The noun phrase that `words` begin with, None if they begin with something else. `bare`: needs no determiner."""
    text = " ".join(words[:12])
    the = _DETERMINER.match(text)
    assert the is not None  # every part of it is optional
    definite, at = bool(the["the"]) and the["the"] != "both", the.end()
    count, digits = 2 if the["the"] == "both" else 0, re.compile(r"\d+(?= |$)").match(text, at)
    if digits:
        count, at = max(1, int(digits[0][:4])), digits.end() + 1
    for pattern, number in _QUANTITY:
        hit = None if digits else pattern.match(text, at)
        if hit:
            count, at = number, hit.end() + 1
            break
    taken = len(text[:at].split())
    determined = at > 0
    run: list[str] = []
    for word in words[taken:]:
        if not is_content(word):
            # "the left shoe" but not "a ball left": such words are adjectives only at the start
            break
        if run and word in ("left", "right", "top", "bottom"):
            break
        run.append(word)
    if not determined and not (bare and run and _may_begin(run)):
        return None
    first, last = _noun_words(run, count)
    if run[first:last] and run[last - 1] in ADJECTIVES | frozenset(SIZES) and definite and not run[last:]:
        return None  # "the left"
    if not run:
        return None
    if not last:
        return Phrase("", "", max(1, count), definite, run[0], 1.0, run[0], "", taken + first)
    head = run[last - 1]
    many = count > 1 or (count == 0 and is_plural(head))
    noun = singular(head) if many else head
    start = first
    if last - first > 1 and " ".join((run[last - 2], noun)) in COMPOUNDS:
        noun = f"{run[last - 2]} {noun}"
    colours = [w for w in run[:last] if is_colour(w) and w != head]
    while start and (is_colour(run[start - 1]) or is_participle(run[start - 1])):
        start -= 1
    while start < last - 1 and is_participle(run[start]):
        start += 1
    doing = next(
        (w for w in run[: max(0, last - 1)] if w.endswith("ing") and KINDS.get(verb(w) or "", "other") != "other"), ""
    )
    length = taken + last
    if (
        words[length : length + 1] == ["of"]
        and noun not in NOT_THINGS
        and len(words) > length + 1
        and words[length + 1] not in ("the", "it", "them")
    ):
        inner = noun_phrase(words[length + 1 :])  # a cup of coffee
        length += 1 + inner.length if inner else 0
    size = next((SIZES[w] for w in run[:last] if w in SIZES), 1.0)
    colour = colours[0].replace("-and-", " and ") if colours else ""
    before = [w.replace("-and-", " and ") for w in run[start : last - 1] if w not in SIZES]
    spoken = " ".join([*before, *noun.split()[-1:]])
    return Phrase(noun, head, count or (SOME if many else 1), definite, colour, size, spoken, doing, length)


def _may_begin(run: list[str]) -> bool:
    """Whether a phrase without a determiner begins here: not with a verb, unless before a plural ("flying birds")."""
    if verb(run[0]) is None:
        return not is_participle(run[0]) or len(run) > 1
    return run[0].endswith("ing") and len(run) > 1 and is_plural(run[-1])


def _noun_words(run: list[str], count: int) -> tuple[int, int]:
    """Where the nouns of a run of content words begin and end; adjectives stand before, a verb may follow."""
    first = 0
    while first < len(run) - 1 and (
        is_colour(run[first]) or run[first] in SIZES or run[first] in ADJECTIVES or is_participle(run[first])
    ):
        first += 1
    if len(run) == first + 1 and is_colour(run[first]) and run[first] != "orange":
        return first + 1, 0  # "a red and a blue car": the noun is left out
    last = min(first + 1, len(run))
    while last < len(run):
        word, before = run[last], run[last - 1]
        more = last + 1 < len(run)
        if word.endswith("ing") and is_participle(word):
            if not (more and KINDS.get(verb(word) or "") == "go"):  # "a grumpy walking dog" but "a boy riding horses"
                break
        elif (
            (is_participle(word) and not more)
            or (count == 1 and is_plural(word))
            or (is_plural(before) and (verb(word) or not any(is_plural(w) for w in run[last:])))
            or (count == 0 and not is_plural(before) and verb(word) and word.endswith("s"))
        ):
            break
        last += 1
    return first, last
