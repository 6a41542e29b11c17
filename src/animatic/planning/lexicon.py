"""Word classes of the offline planner, read once from `english/*.txt`, and closed classes of English.

Only words that are *not* objects are classed, or that stand in the frame in a way of their own (flyers, wide ones), so
any other noun may name an object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from ..prompting import english

FUNCTION = frozenset(
    """a an the this that these those some any no its his her their my your our it he she they them him we us i you
    each every and or but nor then while as so if when where which who whose that than because until in on at to
    from of with without by for into onto off over under above below beneath underneath behind between beside
    besides near next past around round through across along inside outside towards toward against up down upon atop
    about like after before during is are was were be been being has have had do does did will would can could not
    never don't doesn't isn't aren't first second once again away back forth only also both there here very too just
    still together apart initially finally later afterwards meanwhile now halfway closer nearer upward upwards
    downward downwards leftward leftwards rightward rightwards sideways forward forwards backward backwards
    diagonally horizontally vertically clockwise underwater indoors outdoors another one two three four five six
    seven eight nine ten eleven twelve several many few others fast straight high low everywhere home visible""".split()
)
NUMBERS = {word: i for i, word in enumerate((*english.NUMBERS, "thirteen", "fourteen", "fifteen")) if i}
DETERMINERS = frozenset(
    """a an the this that these those some any no its his her their my your our each every another both several many
    few all other various whose""".split()
)
DEFINITE = frozenset("the this that these those its his her their my your our both".split())
POSSESSIVES = frozenset("its his her their my your our whose".split())
PRONOUNS = frozenset(
    "it he she they them him we us i you one others himself herself itself themselves who which that everyone".split()
)
PREPOSITIONS = frozenset(
    """in on at to from of with without by for into onto off over under above below beneath underneath behind between
    beside besides near past around round through across along inside outside towards toward against up down upon atop
    about like during amid amidst among amongst alongside throughout beyond within via opposite after before until
    despite except out aboard toward""".split()
)
CONJUNCTIONS = frozenset("and or but nor while as when where because so if until whereas though although plus".split())
AUXILIARIES = frozenset(
    "is are was were be been being am has had did does will would can could may might must shall should do have".split()
)
NEGATIONS = frozenset("not never without no nobody none neither nor nothing cannot n't".split())
PARTICLES = frozenset("up down in out off away over around back through along by past on apart forth together".split())
DIRECTIONS = frozenset(
    """left right top bottom upper lower middle center centre leftward leftwards rightward rightwards upward upwards
    downward downwards diagonally horizontally vertically sideways forward forwards backward backwards closer nearer
    farther further away up down halfway straight overhead ahead clockwise counterclockwise""".split()
)
OBJECT_KINDS = ("animate", "human", "mount", "flyer", "floater", "immobile", "tall", "wide")
SPATIAL = frozenset("above below beneath underneath under behind between beside near inside atop around past".split())


@cache
def _read(name: str) -> Mapping[str, tuple[str, ...]]:
    """The classes of a file: its lines "class: word, word", those of one class added up."""
    classes: dict[str, list[str]] = defaultdict(list)
    text = (files("animatic.planning") / "english" / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        kind, colon, words = line.partition(":")
        if colon and not line.startswith("#"):
            classes[kind] += [word for part in words.split(",") if (word := part.strip())]
    return {kind: tuple(words) for kind, words in classes.items()}


@cache
def words(kind: str) -> frozenset[str]:
    """All words of a class of `english/words.txt`, such as "place" or "flyer"."""
    return frozenset(_read("words.txt")[kind])


@cache
def sizes(prefix: str) -> dict[str, float]:
    """Word -> number, of the classes "PREFIX NUMBER": "size" of adjectives, "kind" of nouns, "group" of collectives."""
    found = {}
    for kind, members in _read("words.txt").items():
        name, _, value = kind.partition(" ")
        if name == prefix and value:
            found.update(dict.fromkeys(members, float(value)))
    return found


def colours() -> tuple[str, ...]:
    """The names of colours, the usual ones first."""
    return _read("words.txt")["colour"]


@cache
def kinds_of(noun: str) -> frozenset[str]:
    """The classes of what an object is and how it stands in the frame: "flyer", "tall" ..."""
    return frozenset(kind for kind in OBJECT_KINDS if noun in words(kind))


@cache
def likenesses() -> dict[str, tuple[str, ...]]:
    """Noun -> nouns of the same sort, of the classes "like NOUN"."""
    prefix = "like "
    return {
        kind.removeprefix(prefix): members for kind, members in _read("words.txt").items() if kind.startswith(prefix)
    }


@cache
def verbs() -> dict[str, str]:
    """Verb, or verb and particle -> the kind of motion; the first line that has a verb decides."""
    found: dict[str, str] = {}
    for kind, members in _read("verbs.txt").items():
        for verb in members:
            found.setdefault(verb, kind)
    return found


@cache
def idioms() -> dict[tuple[str, ...], str]:
    """Expressions of several words, word by word -> their class."""
    found: dict[tuple[str, ...], str] = {}
    for kind, members in _read("idioms.txt").items():
        for expression in members:
            found[tuple(expression.replace("-", " ").split())] = kind
            found[tuple(expression.split())] = kind
    return found


def is_any(noun: str, *kinds: str) -> bool:
    """Whether a noun, alone or with the noun before it, belongs to one of some classes."""
    return any(noun in words(kind) or noun.split()[-1] in words(kind) for kind in kinds) if noun else False
