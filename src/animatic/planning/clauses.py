"""Reads a clause about its subjects: when they are visible, where they stand, how they move, what is next to them.

Clauses have marks for objects ("#0 walks past #1"). Patterns cut out what they match, the most specific first; what
remains was not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from .layout import Relation, SceneObject
from .lexicon import IMPLIED, KINDS, NOT_OBJECTS, SETTINGS, USUAL
from .motions import Spot
from .phrases import is_content, motion, verb

GROUP = r"(#\d+(?:(?: ,| and| , and) #\d+)*)"
OF_SCENE = r"(?: (?:of|in) the (?:scene|frame|screen|image|picture|video|view))?"
SIDE = "(left|right|top|above|bottom|below)"
PLACE = (
    r"((?:the |its )?(?:far )?(?:(?:upper|lower|top|bottom) (?:left|right)|left|right|top|bottom|middle|center|centre)"
    r"(?: hand)?(?: (?:corner|side|edge|part|half|end))?)" + OF_SCENE
)
VISIBLE = r"(?:appears? |appearing |visible |seen |shown )?(?:only )?in the "
TIMES = (  # pattern, fraction of the time
    (rf"{VISIBLE}first half{OF_SCENE}", (0.0, 0.5)),
    (rf"{VISIBLE}(?:second|last) half{OF_SCENE}", (0.5, 1.0)),
    (r"(?:disappears?|vanish(?:es)?|disappearing|vanishing)(?: halfway| in the middle)?", (0.0, 0.5)),
    (r"(?:appears?|appearing|emerges?)(?: halfway| in the middle| later| suddenly)?", (0.5, 1.0)),
)
RELATIONS = (  # pattern before the other object, kind, whether the other object comes first
    (r"(?:(?:to|on|at) )?(?:the |its )?left(?: hand)?(?: side)? of", "left", False),
    (r"(?:(?:to|on|at) )?(?:the |its )?right(?: hand)?(?: side)? of", "left", True),
    (r"above|over|on top of|atop|on|upon|onto", "above", False),
    (r"below|under|beneath|underneath", "above", True),
    (r"next to|besides?|near|by|alongside|(?:together )?with|behind|in front of|inside|in|and its", "beside", False),
)
PAST = rf"from (?:the |its )?{SIDE}(?: side)? of {GROUP} to (?:the |its )?{SIDE}(?: side)?(?: of (?:it|#\d+))?"
FROM_TO = rf"from {PLACE} to {PLACE}"
SOMEWHERE = r"(?:to|towards?) (?:the )?(?:upper|lower|left|right|top|bottom)"
SLANTED = (
    r"(?:diagonally )?(up|down)(?:wards?)?,? (?:diagonally )?(?:and )?(?:to )?(?:the )?(left|right)(?:wards?)?(?! of)"
)
BEGINS = rf"(?:initially |starts? |starting |begins? |beginning )[^#|]{{0,12}}?(?:on|at|in|from) {PLACE}|from {PLACE}"
PATHS = (
    (r"up and down", "bounce"),
    (r"(?:around )?in (?:a )?circles?|around", "circle"),
    (r"closer|nearer|towards? (?:the (?:camera|viewer|front)|us|me|you)", "approach"),
    (r"away(?: from (?:the (?:camera|viewer)|us|me|you))?|(?:into|in) the distance|farther|further", "recede"),
)
GOALS: tuple[tuple[str, Spot], ...] = (
    (r"diagonally", (1.0, 1.0)),
    (r"rightwards?|(?<=s )right|(?<=ing )right", (1.0, None)),
    (r"leftwards?|(?<=s )left|(?<=ing )left", (0.0, None)),
    (r"up|upwards?|into the (?:sky|air)", (None, 0.0)),
    (r"down|downwards?|to the (?:ground|floor)", (None, 1.0)),
)


def numbers(text: str) -> list[int]:
    """Indices of the objects that are marked in a text."""
    return [int(digits) for digits in re.findall(r"#(\d+)", text)]


def spot(words: str) -> Spot:
    """A place in words; an axis that the words do not give is None, unless the place is the middle alone."""
    x = 0.0 if "left" in words else 1.0 if "right" in words else None
    y = 0.0 if re.search("upper|top|above", words) else 1.0 if re.search("lower|bottom|below", words) else None
    return (0.5, 0.5) if x is None and y is None else (x, y)


class Clause:
    """A passage about the objects `indices`. `read` adds what it says to `objects` and `relations`."""

    def __init__(self, objects: list[SceneObject], relations: list[Relation], indices: list[int], text: str) -> None:
        self.objects = objects
        self.relations = relations
        self.indices = indices
        self.subjects = [objects[i] for i in indices]
        self.text = f" {text.replace(' , ', ' ')} "
        self.verbs = [stem for word in text.split() if (stem := verb(word))]
        self.moves: list[Spot | str] = []

    def read(self) -> list[str]:
        """Read all that can be read; returns the words that were not understood."""
        self._times()
        self._neighbours()
        self._verb_objects()
        self._places()
        if self.verbs or any(subject.moves for subject in self.subjects):
            self._directions()
        self._usual()

        for subject in self.subjects:
            subject.moves += self.moves
            subject.action = subject.action or next((stem for stem in self.verbs if stem in IMPLIED), "")
            subject.stops |= bool(subject.moves) and not {"stop", "pause", "halt"}.isdisjoint(self.verbs)
        return [word for word in re.findall(r"[\w'-]+", self.text) if _is_news(word)]

    def _take(self, pattern: str) -> list[str]:
        """The first match as whole words, cut out: all of it, then its groups. Empty where there is none."""
        found = re.search(rf"(?<![\w#-])(?:{pattern})(?![\w-])", self.text)
        if not found:
            return []
        self.text = f"{self.text[: found.start()]} | {self.text[found.end() :]}"
        return [found[0], *(group for group in found.groups() if group)]

    def _relate(self, kind: str, others: Iterable[int], swap: bool = False) -> None:
        for other in others:
            for i in self.indices:
                if i == other:
                    continue
                a, b = (other, i) if swap else (i, other)
                self.relations.append(Relation(kind, a, b))

    def _times(self) -> None:
        """When the subjects are visible."""
        found = [part for pattern, part in TIMES if self._take(pattern)]
        if not found:
            return
        for subject in self.subjects:
            subject.visible = found[0]

    def _neighbours(self) -> None:
        """Where the subjects stand relative to other objects, or move past them."""
        if past := self._take(PAST):
            x, y = spot(past[3])
            self.moves.append((x, y))
            for other in numbers(past[2]):
                self.objects[other].start = (None if x is None else 0.5, None if y is None else 0.5)

        if between := self._take(rf"between {GROUP}(?: and {GROUP})?"):
            ends = numbers(between[0])
            if ends[0] == ends[-1]:
                self._relate("beside", ends)
            else:
                self._relate("left", ends[:1], swap=True)
                self._relate("left", ends[-1:])

        # "it" and "them" are the object before
        for words, kind, swap in RELATIONS:
            while found := self._take(rf"(?:{words}) (?:{GROUP}|it|them)"):
                others = numbers(found[0]) or range(max(0, self.indices[0] - 1), self.indices[0])
                self._relate(kind, others, swap)

    def _verb_objects(self) -> None:
        """What the subjects throw, chase or ride. Any other grammatical object stands beside them."""
        if thrown := self._take(rf"(?:throw|toss|kick|hurl|fling|lob)\w* {GROUP}"):
            left = self._take(r"to the left|leftwards?")
            self._take(r"to the right|rightwards?")
            for other in numbers(thrown[0]):
                self.objects[other].moves.append("throw left" if left else "throw right")
            self._relate("beside", numbers(thrown[0]))
            self.verbs = []  # who throws does not move

        if found := self._take(rf"(chas|follow|push|pull|carr|drag|rid)\w* {GROUP}"):
            others = numbers(found[0])
            mounted = found[1] == "rid"
            self._convoy([self.objects[i] for i in others], mounted)
            if mounted:
                self._relate("above", others)

        while found := self._take(GROUP):
            self._relate("beside", numbers(found[0]))

    def _convoy(self, others: list[SceneObject], mounted: bool) -> None:
        """The subjects move behind other objects, or on top of them."""
        goal = self._take(FROM_TO) or self._take(rf"(?:to|towards?) {PLACE}")
        to_left = bool(goal) and spot(goal[-1])[0] == 0.0
        go: Spot = (0.0, None) if to_left else (1.0, None)
        self.moves.append(go)
        for item in others:
            item.moves = [go]
        if mounted:
            return

        # one behind the other: each in its part of the frame's width
        ahead, behind = (0.65, 1.0), (0.0, 0.35)
        if to_left:
            ahead, behind = behind, ahead
        for item in others:
            item.x_range = ahead
        for subject in self.subjects:
            subject.x_range = behind

    def _places(self) -> None:
        """Where they are or start, and the places they go to."""
        moves: list[Spot | str] = []
        if slanted := self._take(SLANTED):
            moves.append((float(slanted[2] == "right"), float(slanted[1] == "down")))
        if found := self._take(FROM_TO):
            self._start(spot(found[1]))
            moves.append(spot(found[2]))
        elif found := self._take(BEGINS):
            x, y = spot(found[-1])
            self._start((x, y))
            if found[0].startswith("from") and not re.search(SOMEWHERE, self.text):  # to the other side
                moves.append((None if x is None else 1 - x, None if y is None else 1 - y))
        if self._take(r"back and forth|from side to side|left and right"):
            moves += [(1.0, None), (0.0, None)]
        while found := self._take(rf"(?:(?:in)?to|towards?) {PLACE}"):
            moves.append(spot(found[1]))
        if found := self._take(rf"(?:on|at|in) {PLACE}"):
            if any(KINDS[stem] == "arrive" for stem in self.verbs):
                moves.append(spot(found[1]))
            elif not moves:
                self._start(spot(found[1]))
        self.moves += moves

    def _start(self, place: Spot) -> None:
        for subject in self.subjects:
            subject.start = place

    def _directions(self) -> None:
        """Directions without a place: "up", "in a circle", "closer"."""
        paths = [name for pattern, name in PATHS if self._take(pattern)]
        goals = (goal for pattern, goal in GOALS if self._take(pattern))
        self.moves += paths or list(islice(goals, 1))

    def _usual(self) -> None:
        """The usual motion of the verb, unless it would contradict the place that is given."""
        kinds = [KINDS[stem] for stem in self.verbs]
        if "throw" in kinds:
            to_left = any(move[0] == 0.0 for move in self.moves)
            self.moves = ["throw left" if to_left else "throw right"]
            return

        usual = next((USUAL[kind] for kind in kinds if kind in USUAL), None)
        if not usual or self.moves:
            return
        placed = any(None not in pair for item in self.subjects for pair in zip(usual, item.start, strict=False))
        if isinstance(usual, str) or not placed or any(item.moves for item in self.subjects):
            self.moves = [usual]


def _is_news(word: str) -> bool:
    """Whether a word that was left over has content: an action without a path, or an object."""
    kind = motion(word)
    if kind:
        return kind == "other"
    return is_content(word) and word not in NOT_OBJECTS | SETTINGS
