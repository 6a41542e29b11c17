"""English read with patterns: which things a prompt names, how they stand and move, and what was not understood.

Things become marks in the text ("#0 walks past #1"); small patterns then read the text around the marks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from .layout import Relation, Spot, Thing
from .lexicon import FUNCTION, IMPLIED, KINDS, NOT_THINGS, PLACE_WORDS, SETTINGS
from .phrases import Phrase, is_content, noun_phrase, tokens, verb

GROUP = r"(#\d+(?:(?: ,| and| , and) #\d+)*)"
SCENES = "video|scene|photo|photograph|picture|image|painting|animation|clip|shot"
OPENER = re.compile(
    rf"^(?:(?!on |in |at |to |from )[\w-]+ ){{0,5}}?(?:{SCENES})s?\b"
    r"(?: (?:of|with|in which|where|that|which|shows?|showing|features?|featuring|contains?|containing))*\s*"
)
BEFORE_SUBJECT = re.compile(r"(?:^|[.,;:!?]|\b(?:and|while|as|but|then|first|where|which|when|is|are|there))\s*$")
NEXT = re.compile(r"(?: ,)?(?: and)? (?:then|afterwards|after that|finally|later)\b|[.;]")
OF_SCENE = r"(?: (?:of|in) the (?:scene|frame|screen|image|picture|video|view))?"
PLACE = (
    r"((?:the |its )?(?:far )?(?:(?:upper|lower|top|bottom) (?:left|right)|left|right|top|bottom|middle|center|centre)"
    r"(?: hand)?(?: (?:corner|side|edge|part|half|end))?)" + OF_SCENE
)
ANYWHERE = ("in", "on", "at", "over", "across", "through", "along", "inside", "into")
INSIDE = {"house": ("in", "inside")}  # a thing as well: "a car beside a house"
RELATIONS = (  # pattern before the other thing, kind, whether the other thing comes first
    (r"(?:(?:to|on|at) )?(?:the |its )?left(?: hand)?(?: side)? of", "left", False),
    (r"(?:(?:to|on|at) )?(?:the |its )?right(?: hand)?(?: side)? of", "left", True),
    (r"above|over|on top of|atop|on|upon|onto", "above", False),
    (r"below|under|beneath|underneath", "above", True),
    (
        r"next to|beside|besides|near|by|alongside|together with|with|behind|in front of|inside|in|and its",
        "beside",
        False,
    ),
)
SIDES: dict[str, tuple[str, bool]] = {
    "left": ("left", False), "right": ("left", True), "top": ("above", False), "above": ("above", False),
    "bottom": ("above", True), "below": ("above", True),
}  # fmt: skip
SLANTED = (
    r"(?:diagonally )?(up|down)(?:wards?)?,? (?:diagonally )?(?:and )?(?:to )?(?:the )?(left|right)(?:wards?)?(?! of)"
)
GOALS: tuple[tuple[str, Spot], ...] = (
    (r"diagonally", (1.0, 1.0)),
    (r"rightwards?|(?<=s )right|(?<=ing )right", (1.0, None)),
    (r"leftwards?|(?<=s )left|(?<=ing )left", (0.0, None)),
    (r"up|upwards?|into the (?:sky|air)", (None, 0.0)),
    (r"down|downwards?|to the (?:ground|floor)", (None, 1.0)),
)
PATHS = (
    (r"up and down", "bounce"),
    (r"(?:around )?in (?:a )?circles?|around", "circle"),
    (r"closer|nearer|towards? (?:the (?:camera|viewer|front)|us|me|you)", "approach"),
    (r"away(?: from (?:the (?:camera|viewer)|us|me|you))?|(?:into|in) the distance|farther|further", "recede"),
)
KIND_MOVES: dict[str, Spot | str] = {
    "go": (1.0, None), "up": (None, 0.0), "down": (None, 1.0), "bounce": "bounce", "circle": "circle",
    "approach": "approach", "recede": "recede", "throw": "throw right", "join": (1.0, None),
}  # fmt: skip


@dataclass
class Kind:
    """Things of one phrase that do the same."""

    thing: Thing
    count: int
    doing: str = ""


@dataclass
class Reading:
    """What a prompt says: kinds of things, relations between kinds, and the words that were not understood."""

    kinds: list[Kind] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)  # between kinds
    background: str = ""
    negative: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read(prompt: str) -> Reading:
    """Read a prompt; the caller says what may be missing or too much."""
    reading = Reading()
    text = _mark(tokens(prompt), reading)
    for subjects, said in _segments(text) if reading.kinds else []:
        _read(reading, subjects, said)
    return reading


def _mark(words: list[str], reading: Reading) -> str:
    """The text with a mark for each thing; backgrounds and what is not wanted go to the reading."""
    out: list[str] = []
    i = 0
    elided: list[tuple[int, Phrase]] = []
    while i < len(words):
        after = bool(out) and out[-1][0] == "#"
        phrase = None if words[i] in PLACE_WORDS else noun_phrase(words[i:], bare=not after)
        if phrase is None:
            out.append(words[i])
            i += 1
            continue
        said, before = words[i : i + phrase.length], out[-1] if out else ""
        i += phrase.length
        if phrase.noun == "background":
            reading.background = phrase.words.removesuffix("background").strip() or reading.background
        elif phrase.noun in NOT_THINGS:
            out += said
        elif (phrase.said in SETTINGS or phrase.noun in SETTINGS) and before in INSIDE.get(phrase.noun, ANYWHERE):
            reading.background = phrase.said
            out += said if before == "into" else ["~"]
        elif before in ("without", "no") or (out[-2:-1] == ["~"] and before in ("or", "and", "nor")):
            reading.negative.append(phrase.said)
            out.append("~")
        elif not phrase.noun:
            elided.append((len(out), phrase))
            out.append("#")
        else:
            for place, other in elided:
                out[place] = (
                    f"#{_find(reading, replace(other, noun=phrase.noun, words=f'{other.words} {phrase.noun}'))}"
                )
            elided.clear()
            out.append(f"#{_find(reading, phrase)}")
    return " ".join(out)


def _find(reading: Reading, phrase: Phrase) -> int:
    """The index of the kind that a phrase names: one named before where it is definite, else a new one."""
    for i, kind in enumerate(reading.kinds):
        if phrase.definite and kind.thing.noun == phrase.noun and phrase.colour in kind.thing.phrase:
            return i
    words = " ".join(dict.fromkeys(phrase.words.split())) or phrase.noun
    reading.kinds.append(Kind(Thing(words, phrase.noun, phrase.size), phrase.count, phrase.doing))
    return len(reading.kinds) - 1


def _segments(text: str) -> list[tuple[list[int], str]]:
    """Subjects, and the text up to the next subjects. A thing after a preposition or a verb is no subject."""
    while opener := OPENER.match(text):
        if not opener[0] or "#" in opener[0]:
            break
        text = text[opener.end() :]
    starts: list[re.Match[str]] = []
    last = 0
    for group in re.finditer(GROUP, text):
        if BEFORE_SUBJECT.search(text[last : group.start()]):
            starts.append(group)
        last = group.end()
    if not starts:
        return [(_ids(m[0]), "") for m in re.finditer(GROUP, text)]
    ends = [m.start() for m in starts[1:]] + [len(text)]
    found = [(_ids(m[0]), text[m.end() : end]) for m, end in zip(starts, ends, strict=True)]
    found[0] = (found[0][0], f"{text[: starts[0].start()]} {found[0][1]}")
    return found


def _ids(group: str) -> list[int]:
    return [int(d) for d in re.findall(r"#(\d+)", group)]


class _Text:
    """What is still to be read of a passage."""

    def __init__(self, text: str) -> None:
        self.text = f" {text} "

    def take(self, pattern: str) -> re.Match[str] | None:
        """The first match as whole words, cut out."""
        found = re.search(rf"(?<![\w#-])(?:{pattern})(?![\w-])", self.text)
        if found:
            self.text = f"{self.text[: found.start()]} | {self.text[found.end() :]}"
        return found


def _read(reading: Reading, subjects: list[int], said: str) -> None:
    kinds = [reading.kinds[i] for i in subjects]
    for step in NEXT.split(said):
        text = _Text(step.replace(" , ", " "))
        stems = [stem for word in step.split() if (stem := verb(word))]
        _read_times(text, kinds)
        moves = _read_relations(text, reading, subjects, stems)
        moves += _read_places(text, kinds, stems)
        moves += _read_ways(text) if stems or any(kind.thing.moves for kind in kinds) else []
        verbs = [stem for stem in stems if KINDS[stem] in KIND_MOVES]
        if "throw" in [KINDS[s] for s in stems]:
            moves = ["throw left" if any(m[0] == 0.0 for m in moves if not isinstance(m, str)) else "throw right"]
        elif not moves and verbs:
            moves = _only_said(KIND_MOVES[KINDS[verbs[0]]], kinds)
        for kind in kinds:
            kind.thing.moves += moves
            kind.doing = kind.doing or next((s for s in stems if s in IMPLIED), "")
            if kind.thing.moves and any(s in ("stop", "pause", "halt") for s in stems):
                kind.thing.stops = True
        reading.unread += [w for w in re.findall(r"[\w'-]+", text.text) if _is_news(w)]


def _is_news(word: str) -> bool:
    stem = verb(word)
    if stem:
        return KINDS[stem] == "other"
    return is_content(word) and word not in NOT_THINGS | FUNCTION | SETTINGS and word not in ("halfway", "scene")


def _only_said(move: Spot | str, kinds: list[Kind]) -> list[Spot | str]:
    """A verb's usual way, where nothing was said of the place that it would overrule."""
    if isinstance(move, str):
        return [move]
    held = [any(m is not None and s is not None for m, s in zip(move, kind.thing.start, strict=True)) for kind in kinds]
    return [] if any(held) and not any(kind.thing.moves for kind in kinds) else [move]


def _read_times(text: _Text, kinds: list[Kind]) -> None:
    half = text.take(
        r"(?:appears? |appearing |visible |seen |shown )?(?:only )?in the (first|second|last) half" + OF_SCENE
    )
    gone = text.take(r"(?:disappears?|vanish(?:es)?|disappearing|vanishing)(?: halfway| in the middle)?")
    come = text.take(r"(?:appears?|appearing|emerges?)(?: halfway| in the middle| later| suddenly)?")
    for kind in kinds:
        if half:
            kind.thing.shown = (0.0, 0.5) if half[1] == "first" else (0.5, 1.0)
        elif gone or come:
            kind.thing.shown = (0.0, 0.5) if gone else (0.5, 1.0)


def _read_relations(text: _Text, reading: Reading, subjects: list[int], stems: list[str]) -> list[Spot | str]:
    """Relations to other things in the passage; a motion past one of them is returned."""
    kinds = [reading.kinds[i] for i in subjects]
    moves: list[Spot | str] = []
    sides = "left|right|top|above|bottom|below"
    past = text.take(
        rf"from (?:the |its )?({sides})(?: side)? of {GROUP} to (?:the |its )?({sides})(?: side)?(?: of (?:it|#\d+))?"
    )
    if past:
        moves.append(_spot(past[3]))
        for other in _ids(past[2]):
            axis = 0 if past[3] in ("left", "right") else 1
            reading.kinds[other].thing.start = (0.5, None) if axis == 0 else (None, 0.5)
    between = text.take(rf"between {GROUP}(?: and {GROUP})?")
    if between:
        a, *rest = _ids(between[0])
        b = rest[-1] if rest else a
        for i in subjects:
            reading.relations += (
                [Relation("left", a, i), Relation("left", i, b)] if a != b else [Relation("beside", i, a)]
            )
    for words, name, swap in RELATIONS:
        while found := text.take(rf"(?:{words}) (?:{GROUP}|it|them)"):
            for other in _ids(found[1]) if found[1] else range(max(0, subjects[0] - 1), subjects[0]):
                reading.relations += [
                    Relation(name, *((other, i) if swap else (i, other))) for i in subjects if i != other
                ]
    if found := text.take(rf"(?:throw|toss|kick|hurl|fling|lob)\w* {GROUP}"):
        left = text.take(r"to the left|leftwards?")
        text.take(r"to the right|rightwards?")
        for other in _ids(found[1]):
            reading.kinds[other].thing.moves.append("throw left" if left else "throw right")
            reading.relations += [Relation("beside", i, other) for i in subjects]
        stems[:] = []
    if found := text.take(rf"(chas|follow|push|pull|carr|drag|rid)\w* {GROUP}"):
        others = _ids(found[2])
        moves += _convoy(text, kinds, [reading.kinds[i] for i in others], mounted=found[1] == "rid")
        if found[1] == "rid":
            reading.relations += [Relation("above", i, other) for i in subjects for other in others]
    while found := text.take(GROUP):  # any other object of a verb
        reading.relations += [Relation("beside", i, other) for other in _ids(found[1]) for i in subjects if i != other]
    return moves


def _convoy(text: _Text, kinds: list[Kind], others: list[Kind], mounted: bool) -> list[Spot | str]:
    """One thing goes behind another, or upon it."""
    goal = _from_to(text) or text.take(rf"(?:to|towards?) {PLACE}")
    to_left = goal is not None and _spot(goal[goal.lastindex or 1])[0] == 0.0
    moves: list[Spot | str] = [(0.0, None)] if to_left else [(1.0, None)]
    for kind in others:
        kind.thing.moves = list(moves)
    for kind, low in [(k, 0.0 if to_left else 0.65) for k in others] + [(k, 0.65 if to_left else 0.0) for k in kinds]:
        kind.thing.reach = kind.thing.reach if mounted else (low, low + 0.35)
    return moves


def _from_to(text: _Text) -> re.Match[str] | None:
    return text.take(rf"from {PLACE} to {PLACE}")


def _read_places(text: _Text, kinds: list[Kind], stems: list[str]) -> list[Spot | str]:
    """Where things are or start, and the places they go to, which are returned."""
    moves: list[Spot | str] = []
    if found := text.take(SLANTED):
        moves.append((float(found[2] == "right"), float(found[1] == "down")))
    if found := _from_to(text):
        start, goal = _spot(found[1]), _spot(found[2])
        for kind in kinds:
            kind.thing.start = start
        moves.append(goal)
    elif found := text.take(
        rf"(?:initially |starts? |starting |begins? |beginning )[^#|]{{0,12}}?(?:on|at|in|from) {PLACE}|from {PLACE}"
    ):
        for kind in kinds:
            kind.thing.start = _spot(found[1] or found[2])
        if found[2] and not re.search(r"(?:to|towards?) (?:the )?(?:upper|lower|left|right|top|bottom)", text.text):
            moves.append(tuple(None if v is None else 1 - v for v in _spot(found[2])))  # type: ignore[arg-type]
    if text.take(r"back and forth|from side to side|left and right"):
        moves += [(1.0, None), (0.0, None)]
    while found := text.take(rf"(?:in)?to {PLACE}|towards? {PLACE}"):
        moves.append(_spot(found[1] or found[2]))
    if found := text.take(rf"(?:on|at|in) {PLACE}"):
        if any(KINDS[s] == "arrive" for s in stems):
            moves.append(_spot(found[1]))
        for kind in [] if moves else kinds:
            kind.thing.start = _spot(found[1])
    return moves


def _spot(words: str) -> Spot:
    """Places in words: the middle says nothing of the other axis unless it stands alone."""
    x = 0.0 if "left" in words else 1.0 if "right" in words else None
    y = 0.0 if re.search("upper|top|above", words) else 1.0 if re.search("lower|bottom|below", words) else None
    return (0.5, 0.5) if x is None and y is None else (x, y)


def _read_ways(text: _Text) -> list[Spot | str]:
    """Ways told without a place: "up", "in a circle", "closer"."""
    moves: list[Spot | str] = [move for pattern, move in PATHS if text.take(pattern)]
    if moves:
        return moves
    for pattern, spot in GOALS:
        if text.take(pattern):
            return [spot]
    return []
