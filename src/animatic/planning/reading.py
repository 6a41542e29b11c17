"""English read with patterns: which things a prompt names, how they stand and move, and what was not understood.

Things become marks in the text ("#0 walks past #1"), the text is cut into clauses at its subjects, and each clause is
read by itself (clauses.py). At last comes what words imply without saying.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .clauses import GROUP, Clause, numbers
from .layout import Relation, SceneObject
from .lexicon import IMPLIED, NOT_OBJECTS, PLACE_WORDS, SETTINGS, USUAL
from .phrases import Phrase, motion, noun_phrase, tokens, verb

SCENES = "video|scene|photo|photograph|picture|image|painting|animation|clip|shot"
OPENERS = re.compile(
    rf"^(?:(?:(?!on |in |at |to |from )[\w-]+ ){{0,5}}?(?:{SCENES})s?\b"
    r"(?: (?:of|with|in which|where|that|which|shows?|showing|features?|featuring|contains?|containing))*\s*)+"
)
BEFORE_SUBJECT = re.compile(r"(?:^|[.,;:!?]|\b(?:and|while|as|but|then|first|where|which|when|is|are|there))\s*$")
NEXT = re.compile(r"(?: ,)?(?: and)? (?:then|afterwards|after that|finally|later)\b|[.;]")
PLACED, UNWANTED = "~", "^"  # marks of what stands for no thing: "on the grass", "without people"
INSIDE = ("in", "inside")
ANYWHERE = (*INSIDE, "on", "at", "over", "across", "through", "along", "into")


@dataclass
class Reading:
    """What a prompt says: things, relations between them, and the words that were not understood."""

    objects: list[SceneObject] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    background: str = ""
    negative: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read(prompt: str) -> Reading:
    """Read a prompt; the caller says what may be missing or too much."""
    reading = Reading()
    for subjects, said in _clauses(_marked(tokens(prompt), reading)):
        for step in NEXT.split(said):
            reading.unread += Clause(reading.objects, reading.relations, subjects, step).read()
    _imply(reading)
    return reading


def _marked(words: list[str], reading: Reading) -> str:
    """The text with a mark for each thing; backgrounds and what is not wanted go to the reading."""
    out: list[str] = []
    nameless: list[tuple[int, Phrase]] = []
    while words:
        before = out[-1] if out else ""
        phrase = None if words[0] in PLACE_WORDS else noun_phrase(words, bare=before[:1] != "#")
        length = phrase.length if phrase else 1
        said, words = words[:length], words[length:]
        if phrase and phrase.noun == "background":
            reading.background = phrase.words.removesuffix("background").strip() or reading.background
        elif phrase is None or phrase.noun in NOT_OBJECTS:
            out += said
        elif not SETTINGS.isdisjoint((phrase.head, phrase.noun)) and before in (
            INSIDE if phrase.noun == "house" else ANYWHERE  # "a car beside a house" has two things
        ):
            reading.background = phrase.head
            out += said if before == "into" else [PLACED]
        elif before in ("without", "no") or (out[-2:-1] == [UNWANTED] and before in ("or", "and", "nor")):
            reading.negative.append(phrase.head)
            out.append(UNWANTED)
        else:
            nameless.append((len(out), phrase))
            out.append("#")
            if phrase.noun:
                for place, other in nameless:
                    out[place] = f"#{_number(reading.objects, other, phrase.noun)}"
                nameless = []
    return " ".join(out)


def _number(things: list[SceneObject], phrase: Phrase, noun: str) -> int:
    """Which thing a phrase names: one named before where it is definite, else a new one. `noun` is its own or lent."""
    for i, thing in enumerate(things):
        if phrase.definite and thing.noun == noun and phrase.colour in thing.phrase:
            return i
    words = phrase.words.split() if phrase.noun else [phrase.words, *noun.split()]
    name = " ".join(dict.fromkeys(words)) or noun
    things.append(SceneObject(name, noun, phrase.count, phrase.size, phrase.action))
    return len(things) - 1


def _clauses(text: str) -> list[tuple[list[int], str]]:
    """Subjects, and the text up to the next subjects. A thing after a preposition or a verb is no subject."""
    text = OPENERS.sub("", text)
    groups = list(re.finditer(GROUP, text))
    ends = [0, *(group.end() for group in groups)]
    starts = [g for g, last in zip(groups, ends, strict=False) if BEFORE_SUBJECT.search(text[last : g.start()])]
    if not starts:
        return [(numbers(group[0]), "") for group in groups]
    stops = [*(start.start() for start in starts[1:]), len(text)]
    found = [(numbers(start[0]), text[start.end() : stop]) for start, stop in zip(starts, stops, strict=True)]
    found[0] = (found[0][0], f"{text[: starts[0].start()]} {found[0][1]}")
    return found


def _imply(reading: Reading) -> None:
    """What words imply without saying: "a flying bird" goes somewhere, and is in the sky."""
    related = {i for relation in reading.relations for i in (relation.a, relation.b)}
    for i, thing in enumerate(reading.objects):
        stem = verb(thing.action) or ""
        free = thing.count == 1 and not thing.moves and thing.start == (None, None) and i not in related
        if free and motion(thing.action) in USUAL:
            thing.moves.append(USUAL[motion(thing.action)])
            reading.notes.append(f"{thing.phrase}: no way is told, taken as the usual one")
        if not reading.background and stem in IMPLIED:
            reading.background = IMPLIED[stem]
            reading.notes.append(f"background {IMPLIED[stem]} from {thing.action!r}")
