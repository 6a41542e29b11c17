"""English read with patterns: which objects a prompt names, how they stand and move, and what was not understood.

Objects become marks in the text ("#0 walks past #1"), the text is cut into clauses at its subjects, and each clause is
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
PLACED, UNWANTED = "~", "^"  # marks of phrases that are no objects: "on the grass", "without people"
INSIDE = ("in", "inside")
ANYWHERE = (*INSIDE, "on", "at", "over", "across", "through", "along", "into")


@dataclass
class Reading:
    """What a prompt says: objects, relations between them, and the words that were not understood."""

    objects: list[SceneObject] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    background: str = ""
    negative: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read(prompt: str) -> Reading:
    """Read a prompt; the caller checks what may be missing or too much."""
    reading = Reading()
    text = _marked(tokens(prompt), reading)
    for subjects, passage in _clauses(text):
        for step in NEXT.split(passage):
            clause = Clause(reading.objects, reading.relations, subjects, step)
            reading.unread += clause.read()
    _imply(reading)
    return reading


def _marked(words: list[str], reading: Reading) -> str:
    """The text with a mark for each object; backgrounds and absent objects go to the reading."""
    out: list[str] = []
    nameless: list[tuple[int, Phrase]] = []
    while words:
        # the next noun phrase, or the next word
        before = out[-1] if out else ""
        phrase = None if words[0] in PLACE_WORDS else noun_phrase(words, bare=before[:1] != "#")
        length = phrase.length if phrase else 1
        taken, words = words[:length], words[length:]

        if phrase and phrase.noun == "background":
            reading.background = phrase.words.removesuffix("background").strip() or reading.background
        elif phrase is None or phrase.noun in NOT_OBJECTS:
            out += taken
        elif _is_setting(phrase, before):
            reading.background = phrase.head
            out += taken if before == "into" else [PLACED]
        elif before in ("without", "no") or (out[-2:-1] == [UNWANTED] and before in ("or", "and", "nor")):
            reading.negative.append(phrase.head)
            out.append(UNWANTED)
        else:
            nameless.append((len(out), phrase))
            out.append("#")

            # an elided noun ("a red and a blue car") is the next one
            if phrase.noun:
                for place, other in nameless:
                    out[place] = f"#{_number(reading.objects, other, phrase.noun)}"
                nameless = []
    return " ".join(out)


def _number(objects: list[SceneObject], phrase: Phrase, noun: str) -> int:
    """Index of the object that a phrase names: an earlier one where it is definite, else a new one.

    `noun` is the phrase's own, or that of the phrase after it where its own is elided.
    """
    for i, item in enumerate(objects):
        if phrase.definite and item.noun == noun and phrase.colour in item.phrase:
            return i
    words = phrase.words.split() if phrase.noun else [phrase.words, *noun.split()]
    name = " ".join(dict.fromkeys(words)) or noun
    objects.append(SceneObject(name, noun, phrase.count, phrase.size, phrase.action))
    return len(objects) - 1


def _clauses(text: str) -> list[tuple[list[int], str]]:
    """Subjects, and the text up to the next subjects. An object after a preposition or a verb is no subject."""
    text = OPENERS.sub("", text)
    groups = list(re.finditer(GROUP, text))
    ends = [0, *(group.end() for group in groups)]
    subjects = []
    for group, end in zip(groups, ends, strict=False):
        if BEFORE_SUBJECT.search(text[end : group.start()]):
            subjects.append(group)
    if not subjects:
        return [(numbers(group[0]), "") for group in groups]

    stops = [*(subject.start() for subject in subjects[1:]), len(text)]
    clauses = [(numbers(s[0]), text[s.end() : stop]) for s, stop in zip(subjects, stops, strict=True)]

    # what comes before the first subject belongs to it
    first, rest = clauses[0]
    clauses[0] = (first, f"{text[: subjects[0].start()]} {rest}")
    return clauses


def _imply(reading: Reading) -> None:
    """What words imply without saying: "a flying bird" goes somewhere, and is in the sky."""
    related = {i for relation in reading.relations for i in (relation.a, relation.b)}
    for i, item in enumerate(reading.objects):
        # a participle alone moves a single object that no relation holds in place
        kind = motion(item.action)
        is_free = item.count == 1 and not item.moves and item.start == (None, None) and i not in related
        if is_free and kind in USUAL:
            item.moves.append(USUAL[kind])
            reading.notes.append(f"{item.phrase}: no direction is given, the usual one is assumed")

        stem = verb(item.action) or ""
        if not reading.background and stem in IMPLIED:
            reading.background = IMPLIED[stem]
            reading.notes.append(f"background {IMPLIED[stem]} from {item.action!r}")


def _is_setting(phrase: Phrase, before: str) -> bool:
    """Whether a phrase is the background: "in a house" is, but "a car beside a house" has two objects."""
    prepositions = INSIDE if phrase.noun == "house" else ANYWHERE
    return not SETTINGS.isdisjoint((phrase.head, phrase.noun)) and before in prepositions
