"""A little English: articles, plurals and counts."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "goose": "geese",
    "foot": "feet", "tooth": "teeth", "fish": "fish", "sheep": "sheep", "deer": "deer", "ox": "oxen", "wolf": "wolves",
    "knife": "knives", "leaf": "leaves", "calf": "calves", "elf": "elves", "shelf": "shelves", "scarf": "scarves",
    "loaf": "loaves", "thief": "thieves", "wife": "wives", "potato": "potatoes", "tomato": "tomatoes",
    "hero": "heroes",
}  # fmt: skip
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
ARTICLES = ("a", "an", "the")
DETERMINERS = {
    *ARTICLES, *NUMBERS, *"this that these those some any no each every another several many few both".split(),
    *"my your his her its our their".split(),
}  # fmt: skip


def article(words: str) -> str:
    """The words with "a" or "an" before them, or as they are where an article, a number or the like is there."""
    first = words.split(maxsplit=1)[0].lower()
    if first in DETERMINERS or first.isdigit():
        return words
    return ("an " if first[0] in "aeiou" else "a ") + words


def bare(words: str) -> str:
    """The words without the article that they begin with."""
    first, _, rest = words.partition(" ")
    return rest if rest and first.lower() in ARTICLES else words


@cache
def inflection() -> Any:
    """The engine of `inflect`, which LMD and LVD use too; imported late, for it takes half a second."""
    import inflect

    return inflect.engine()


def counted(words: str, count: int) -> str:
    """So many of a noun phrase that has no article: "two apples", "three people on bikes"."""
    return f"{inflection().number_to_words(count)} {inflection().plural_noun(words)}"


def listing(phrases: Sequence[str]) -> str:
    """Phrases as a sentence lists them: "a", "a and b", "a, b and c"."""
    *others, last = phrases
    return f"{', '.join(others)} and {last}" if others else last


def number(count: int) -> str:
    """A count in words up to twelve, in digits beyond."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def plurals(words: str) -> tuple[str, ...]:
    """Possible plurals of a noun phrase, the likeliest first."""
    head, _, noun = words.rpartition(" ")
    head = head + " " if head else ""
    low = noun.lower()
    if low in IRREGULAR:
        return (head + IRREGULAR[low], words + "s")
    if re.search(r"[^aeiou]y$", low):
        return (words[:-1] + "ies", words + "s")
    if re.search(r"(s|x|z|ch|sh)$", low):
        return (words + "es",)
    if re.search(r"(?<!f)fe?$", low):
        return (re.sub(r"fe?$", "ves", words), words + "s")
    return (words + "s",)
