"""A little English: articles and plurals."""

import re

IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "goose": "geese",
    "foot": "feet", "tooth": "teeth", "fish": "fish", "sheep": "sheep", "deer": "deer", "ox": "oxen", "wolf": "wolves",
    "knife": "knives", "leaf": "leaves", "calf": "calves", "elf": "elves", "shelf": "shelves", "scarf": "scarves",
    "loaf": "loaves", "thief": "thieves", "wife": "wives", "potato": "potatoes", "tomato": "tomatoes",
    "hero": "heroes",
}  # fmt: skip
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def article(words: str) -> str:
    """The words with "a" or "an" before them."""
    return ("an " if words[0].lower() in "aeiou" else "a ") + words


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
