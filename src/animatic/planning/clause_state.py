"""Clauses and their complements, and where the reading of a sentence stands between two elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .account import Ledger
from .cast import Cast
from .elements import Element
from .lexicon import is_any
from .motions import Spot
from .verb_groups import VerbGroup


@dataclass
class Complement:
    """A preposition with its objects or place, a set phrase, or a particle. `tokens` are its words without the noun."""

    kind: str
    tokens: list[int]
    objects: list[int] = field(default_factory=list)
    spots: tuple[Spot, ...] = ()
    place: str = ""  # the noun, where it is a place or a part of the frame
    value: str = ""
    is_next: bool = False  # after "then"


@dataclass
class Clause:
    """What is said of `subjects`, indices of objects. `joined`: at the same time as the clause before."""

    subjects: list[int]
    verb: VerbGroup | None = None
    direct: list[int] = field(default_factory=list)
    complements: list[Complement] = field(default_factory=list)
    joined: bool = False
    of: str = ""  # "camera" or "weather" where the subject is no object
    extra: list[int] = field(default_factory=list)  # abstract direct objects: "takes a nap"


class ClauseState:
    """What the elements so far have said; `clauses`, `backgrounds` and `negative` are the result."""

    def __init__(self, elements: Sequence[Element], cast: Cast, ledger: Ledger) -> None:
        self.elements = elements
        self.cast = cast
        self.ledger = ledger
        self.clauses: list[Clause] = []
        self.backgrounds: list[str] = []
        self.time = ""
        self.negative: list[str] = []
        self.current: Clause | None = None
        self.lead: list[Complement] = []  # set phrases and prepositions before the subject
        self.preposition: Element | None = None
        self.last: list[int] = []  # objects of the noun before
        self.last_role = ""  # subject, direct, complement, place or ""
        self.is_next = False
        self.before = "stop"  # the kind of the element before the noun phrase
        self.is_unwanted = False
        self.is_replaced = False  # after "instead of", up to a comma
        self.refused = 0  # phrases with a "no" of their own
        self.relative: list[int] | None = None
        self.joins = False  # after "while" and the like
        self.inverted: VerbGroup | None = None  # a verb whose subject comes after it
        self.describes = False  # after a participle such as "filled", "dressed": what follows is an attribute

    def _peek(self, k: int) -> str:
        """The kind of the next element."""
        return self.elements[k].kind if k < len(self.elements) else "stop"

    def _before(self, k: int) -> str:
        return self.elements[k - 1].kind if k else "stop"

    def _verb_after(self, k: int) -> VerbGroup | None:
        """The verb at an element, adverbs before it left out; None where there is none."""
        while self._peek(k) == "adverb":
            k += 1
        return self.elements[k].verb if k < len(self.elements) else None

    def _adjacent(self, k: int) -> bool:
        """Whether nothing but "and" or a comma stands between a noun phrase and the one before."""
        while k and self.elements[k - 1].kind in ("and", "or", "comma"):
            k -= 1
        return self._before(k) == "noun"

    def _complete(self, complement: Complement) -> None:
        """Add a complement to the clause, or keep it for the subject that follows."""
        complement.is_next = self.is_next
        self.is_next = False
        if self.current is not None:
            self.current.complements.append(complement)
        else:
            self.lead.append(complement)

    def _prepositional(self, objects: list[int], place: str = "") -> Complement:
        """The complement that the preposition before begins; it is used up."""
        element = self.preposition
        assert element is not None
        kind = element.adverbial.kind if element.adverbial else element.word
        self.preposition = None
        return Complement(kind, list(element.tokens), objects, place=place, value=element.word)

    def _begin(self, subjects: list[int], of: str = "") -> Clause:
        clause = Clause(subjects, complements=self.lead, joined=self.joins, of=of)
        self.lead = []
        self.joins = False

        # "Running through a field, a dog ...": the participle waits for its subject
        for waiting in reversed(self.clauses):
            if waiting.subjects or waiting.of or waiting.direct:
                break
            waiting.subjects = subjects
        self.clauses.append(clause)
        self.current = clause
        self.last = subjects
        self.last_role = "subject"
        return clause

    def _antecedent(self, word: str, subjects: list[int]) -> list[int]:
        """ "it" is no person, "he" and "she" are; where that leaves a choice, the subject before."""
        if word not in ("it", "he", "she", "him", "her"):
            return subjects
        means_human = word != "it"
        fitting = []
        for i, item in enumerate(self.cast.objects):
            if is_any(item.noun, "human") == means_human:
                fitting.append(i)
        if subjects and subjects[0] in fitting:
            return subjects

        # the last one of the right kind; an animal may be "he"
        return fitting[-1:] or subjects
