"""English read by rules: which objects a prompt names, how they stand and move, and what was not understood.

words -> set phrases, noun phrases, verbs -> clauses -> motions and relations
tokens.py  elements.py, noun_phrases.py      clauses.py  meaning.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import forms, lexicon
from .account import Ledger, Role
from .cast import Cast
from .clause_meaning import Statements
from .clause_state import Clause
from .clauses import ClauseReader
from .elements import Elements
from .language import check_english
from .meaning import apply
from .move_tables import USUAL
from .paths import Move
from .scene_objects import Convoy, Relation, SceneObject
from .tokens import tokens

MAX_OBJECTS = 16  # objects of a scene; more cannot be distinguished in a small frame
IMPLIED = {"fly": "sky", "soar": "sky", "swim": "sea", "sail": "sea", "dive": "sea", "drive": "road"}  # backgrounds


@dataclass
class Reading:
    """What a prompt says: objects, relations between them, and what became of its words."""

    ledger: Ledger
    objects: list[SceneObject] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    convoys: list[Convoy] = field(default_factory=list)
    background: str = ""
    negative: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(prompt: str) -> Reading:
    """Read a prompt; the caller checks what may be missing or too much. Raises `AnimaticError` if it is not English."""
    words = tokens(prompt)
    check_english(prompt, [token.low for token in words if token.is_word])
    ledger = Ledger(prompt, words)
    elements = Elements(words, ledger)
    reader = ClauseReader(elements.read(), Cast(), ledger)
    reader.read()

    # what the clauses state of the objects
    statements = Statements(reader.cast, ledger)
    for clause in _places_first(reader.clauses):
        apply(clause, statements)
    statements.overtake()
    _frame(elements, statements)
    backgrounds = elements.places + reader.backgrounds
    background = backgrounds[0] if backgrounds else ""
    notes = [note for note in statements.notes if note]
    reading = Reading(
        ledger, reader.cast.objects, statements.relations, statements.convoys, background, reader.negative, notes
    )

    # what follows from it without being said
    _fit(reading)
    _accompany(reading)
    _oppose(reading)
    _imply(reading)
    if not reading.background:
        times = [word for word in (*elements.times, reader.time) if word not in ("", "day", "weekend", "season")]
        reading.background = times[0] if times else ""
    return reading


def _places_first(clauses: Sequence[Clause]) -> list[Clause]:
    """Clauses with those first that say where something stands that does nothing else: the others may lead there."""
    doing = [clause for clause in clauses if not (clause.verb and clause.verb.lemma == "be")]
    active = {i for clause in doing for i in clause.subjects}

    def is_later(clause: Clause) -> bool:
        is_placed = any(complement.kind == "at spot" for complement in clause.complements)
        return any(clause is other for other in doing) or not is_placed or bool(active.intersection(clause.subjects))

    return sorted(clauses, key=is_later)


def _oppose(reading: Reading) -> None:
    """Of two that stand, one at a side, the other has the other side."""
    if len(reading.objects) != 2 or reading.relations or any(item.moves for item in reading.objects):
        return
    for item, other in (reading.objects, reading.objects[::-1]):
        if item.start[0] in (0.0, 1.0) and other.start == (None, None) and item.company is other.company is None:
            other.start = (1.0 - item.start[0], None)


def _frame(elements: Elements, statements: Statements) -> None:
    """ "Push-in on a clock": what the camera comes closer to gets larger. Several objects have no single size."""
    objects = statements.cast.objects
    for path, where in elements.camera:
        if objects and not objects[0].moves:
            objects[0].moves.append(Move(path=path))
            statements.ledger.set(Role.MOTION, *where, objects=[0], check="moves")


def _fit(reading: Reading) -> None:
    """Draw fewer of those whose number is a guess, where there are too many."""
    while (total := sum(item.count for item in reading.objects)) > MAX_OBJECTS:
        vague = [item for item in reading.objects if item.is_vague and item.count > 2]
        if not vague:
            return
        largest = max(vague, key=lambda item: item.count)
        largest.count = max(2, largest.count - (total - MAX_OBJECTS))
        reading.notes.append(f"{largest.phrase}: {largest.count} are drawn")


def _accompany(reading: Reading) -> None:
    """What is carried or walks along moves as its company does."""
    for i, item in enumerate(reading.objects):
        if item.company is None or item.moves:
            continue
        host = reading.objects[item.company]
        item.moves = list(host.moves)
        item.start = host.start if host.moves else item.start
        item.stops = host.stops
        item.leaves = host.leaves
        item.visible = host.visible

        # what is held stays where it is held; others have a place of their own
        holding = [r for r in reading.relations if r.kind in ("touch", "within", "mounted")]
        held = any({r.a, r.b} == {i, item.company} for r in holding)
        if not held and any(move.goal[0] is not None for move in host.moves):
            item.company = None  # side by side, in one line


def _imply(reading: Reading) -> None:
    """What words imply without saying: "a flying bird" goes somewhere, and is in the sky."""
    related = {i for relation in reading.relations for i in (relation.a, relation.b)}
    for i, item in enumerate(reading.objects):
        stem = forms.verb_lemma(item.action) or item.action
        kind = lexicon.verbs().get(stem, "")

        # a participle alone moves a single object that no relation holds in place
        is_free = item.count == 1 and not item.moves and item.start == (None, None) and i not in related
        if is_free and not item.is_still and item.action_tokens and kind in USUAL:
            item.moves.append(USUAL[kind])
            reading.notes.append(f"{item.phrase}: no direction is given, the usual one is assumed")
        if item.action_tokens:
            # "four walking dogs" stand: the word is part of their name
            role = Role.ATTRIBUTE
            check = ""
            if kind == "still":
                role = Role.MOTION
            elif kind in USUAL and item.moves:
                role = Role.MOTION
                check = "moves"
            reading.ledger.set(role, *item.action_tokens, objects=[i], check=check)
        item.action = stem

        # the place of a motion, unless it is in an object: a fish that swims in a bowl is not in the sea
        inside = any(r.kind == "within" for r in reading.relations)
        flies = lexicon.is_any(item.noun, "flyer") and IMPLIED.get(stem) == "sea"
        if not reading.background and stem in IMPLIED and not inside and not flies:
            reading.background = IMPLIED[stem]
            reading.notes.append(f"background {IMPLIED[stem]} from {item.action!r}")
