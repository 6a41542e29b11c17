"""Noun phrases without a dictionary of nouns: "three small red cars" is 3 x car, red, small.

A phrase is determiner or number, adjectives, nouns; it ends at the first function word, adverb or verb.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from . import lexicon
from .lexicon import ADJECTIVES, COLOURS, IRREGULAR_VERBS, KINDS, NOT_OBJECTS, SINGULARS, SIZES

MAX_OBJECTS = 12  # objects of a scene; more cannot be distinguished in a small frame
PLURAL_COUNT = 3  # what "several" or a bare plural means

_DETERMINER = re.compile(r"(?:(?P<the>the|this|that|these|those|its|his|her|their|my|your|our)|(?P<both>both)) ")
_QUANTITIES: tuple[tuple[str, int], ...] = (
    (r"\d+", 0),  # as it says
    (r"(?:an? )?(?:pair|couple) of", 2),
    (r"a few|few|some|several|(?:an? )?(?:group|bunch|handful|set|number|pack|team|herd) of", PLURAL_COUNT),
    (r"(?:an? )?(?:flock|school|swarm|crowd|fleet) of|many|(?:lots|a lot|plenty) of", 5),
    (r"(?:a )?dozen(?: of)?", 12),
    *lexicon.NUMBERS.items(),
    (r"an?(?: single| second| third)?|another|each|every", 1),
)
_ENDINGS = (
    ("", ""), ("s", ""), ("es", ""), ("ies", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("ied", "y"),
)  # fmt: skip


@dataclass(frozen=True)
class Phrase:
    """A noun phrase that took `length` words. `noun` is singular ("" where elided), `head` the noun as it stands."""

    noun: str
    head: str
    count: int
    definite: bool  # "the car": may name an object that was named before
    words: str  # from the first colour or unknown modifier to the noun, singular
    length: int
    colour: str = ""
    size: float = 1.0
    action: str = ""  # a participle before the noun: "flying"


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
    if not word[0].isalnum() or word in lexicon.FUNCTION or word.isdigit():
        return False
    return not word.endswith("ly") or word in lexicon.NOT_ADVERBS | ADJECTIVES


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
    for end, base in _ENDINGS:
        if word.endswith(end):
            stem = word.removesuffix(end) + base
            if stem in KINDS:
                return stem
            if len(end) > 1 and stem[-1:] == stem[-2:-1] and stem[:-1] in KINDS:  # running
                return stem[:-1]
    return None


def motion(word: str) -> str:
    """The kind of motion of a verb in any of its forms; "" where it is not known."""
    return KINDS.get(verb(word) or "", "")


def is_participle(word: str) -> bool:
    return len(word) > 4 and word.endswith(("ing", "ed")) and word not in lexicon.NOT_PARTICIPLES


def noun_phrase(words: Sequence[str], bare: bool = True) -> Phrase | None:
    """The noun phrase that `words` begin with, None if they begin with something else. `bare`: needs no determiner."""
    definite, count, taken = _determined(" ".join(words[:12]))

    # content words up to the end; "left" and the like are adjectives at the start only ("the left shoe", "a ball left")
    run: list[str] = []
    for word in words[taken:]:
        if not is_content(word) or (run and word in ("left", "right", "top", "bottom")):
            break
        run.append(word)
    if not run or not (taken or (bare and _may_begin(run))):
        return None

    # an elided noun: "a red and a blue car"
    first, last = _noun_words(run, count)
    size = next((SIZES[w] for w in run[: last or first] if w in SIZES), 1.0)
    if not last:
        return Phrase("", "", max(1, count), definite, run[-1], taken + first, run[-1], size)

    head = run[last - 1]
    if definite and head in ADJECTIVES | SIZES.keys() and last == len(run):
        return None  # "the left"

    # the noun in the singular, and the words that name the object
    many = count > 1 or (count == 0 and is_plural(head))
    noun = singular(head) if many else head
    spoken = [*_modifiers(run[:last], first), noun]
    if last - first > 1 and f"{run[last - 2]} {noun}" in lexicon.COMPOUNDS:
        noun = f"{run[last - 2]} {noun}"
    name = " ".join(spoken).replace("-and-", " and ")

    # "a cup of coffee" is one phrase
    length = taken + last
    match words[length:]:
        case ["of", other, *_] if noun not in NOT_OBJECTS and other not in ("the", "it", "them"):
            inner = noun_phrase(words[length + 1 :])
            if inner:
                length += 1 + inner.length

    colours = [w.replace("-and-", " and ") for w in run[:last] if is_colour(w) and w != head]
    actions = [w for w in run[: last - 1] if w.endswith("ing") and motion(w) not in ("", "other")]
    count = count or (PLURAL_COUNT if many else 1)
    colour = colours[0] if colours else ""
    action = actions[0] if actions else ""
    return Phrase(noun, head, count, definite, name, length, colour, size, action)


def _determined(text: str) -> tuple[bool, int, int]:
    """What a text begins with: whether it is definite, its number (0: none), and how many words that takes."""
    determiner = _DETERMINER.match(text)
    start = determiner.end() if determiner else 0
    count = 2 if determiner and determiner["both"] else 0
    end = start
    for quantity, number in _QUANTITIES:
        hit = re.compile(rf"(?:{quantity})(?= |$)").match(text, start)
        if hit:
            count = max(1, int(hit[0][:4])) if hit[0].isdigit() else number
            end = hit.end()
            break
    definite = bool(determiner and determiner["the"])
    return definite, count, len(text[:end].split())


def _modifiers(run: Sequence[str], first: int) -> list[str]:
    """The words before the head that belong to the name: colours and nouns, neither sizes nor leading participles."""
    start = first
    while start and (is_colour(run[start - 1]) or is_participle(run[start - 1])):
        start -= 1
    while start < len(run) - 1 and is_participle(run[start]):
        start += 1
    return [word for word in run[start:-1] if word not in SIZES]


def _may_begin(run: list[str]) -> bool:
    """Whether a phrase without a determiner begins here: not with a verb, unless before a plural ("flying birds")."""
    if verb(run[0]) is None:
        return not is_participle(run[0]) or len(run) > 1
    return run[0].endswith("ing") and len(run) > 1 and is_plural(run[-1])


def _noun_words(run: list[str], count: int) -> tuple[int, int]:
    """Where the nouns of a run of content words begin and end; adjectives stand before, a verb may follow.

    The end is 0 where the noun is elided: "a red and a blue car".
    """
    first = 0
    while first < len(run) - 1 and _is_modifier(run[first]):
        first += 1
    if len(run) == first + 1 and is_colour(run[first]) and run[first] != "orange":
        return first + 1, 0
    last = first + 1
    while last < len(run) and not _ends(run, last, count):
        last += 1
    return first, last


def _ends(run: list[str], at: int, count: int) -> bool:
    """Whether the nouns of a phrase end before the word `at` of its run."""
    word, before, after = run[at], run[at - 1], run[at + 1 :]

    # "a grumpy walking dog" but "a boy riding horses"
    if is_participle(word) and word.endswith("ing"):
        return not (after and motion(word) == "go")
    if is_participle(word) and not after:
        return True
    if count == 1 and is_plural(word):
        return True
    if is_plural(before) and not any(is_plural(w) for w in run[at:]):
        return True

    # a verb after a plural ("dogs run"), or with the ending of the third person ("dog runs")
    if verb(word) is None:
        return False
    return is_plural(before) or (count == 0 and word.endswith("s"))


def _is_modifier(word: str) -> bool:
    return is_colour(word) or word in SIZES or word in ADJECTIVES or is_participle(word)
