"""What clauses mean whose subject is no object: weather, places and the camera."""

from __future__ import annotations

from . import lexicon
from .account import Role
from .clause_meaning import Statements
from .clause_state import Clause
from .paths import Move


def of_no_object(clause: Clause, statements: Statements) -> None:
    """Weather is style; a camera's motion shows in no box, but a zoom makes what it is on larger or smaller."""
    if clause.of in ("weather", "place"):
        for complement in clause.complements:
            if not complement.objects:
                statements.ledger.set(Role.STYLE, *complement.tokens)
        known = ("still", "be", "show")
        if clause.of == "weather":
            known = ("down", "go", "still", "be", "no path", "show")
        if clause.verb and kind_of(clause) in known:
            statements.ledger.set(Role.STYLE, *range(clause.verb.first, clause.verb.stop))
        return
    verb = clause.verb
    targets = list(clause.direct)
    for complement in clause.complements:
        targets += complement.objects
    if verb and verb.lemma in ("zoom in", "zoom out", "zoom") and targets:
        outwards = verb.lemma == "zoom out" or any(c.value == "out" for c in clause.complements)
        path = "recede" if outwards else "approach"
        tokens = list(range(verb.first, verb.stop))
        for complement in clause.complements:
            tokens += complement.tokens
        for i in targets:
            statements.cast.objects[i].moves.append(Move(path=path))
        statements.ledger.set(Role.MOTION, *tokens, objects=targets, check="moves")


def kind_of(clause: Clause) -> str:
    """The kind of motion of a clause's verb; "" where there is none, "no path" where it is not known."""
    if clause.verb is None:
        return ""
    table = lexicon.verbs()
    if clause.verb.lemma == "be":
        return "be"
    return table.get(clause.verb.lemma, "no path")
