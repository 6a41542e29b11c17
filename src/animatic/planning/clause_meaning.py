"""What a clause means, as far as all its parts need: its subjects, its verb, and the goals found so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from .account import Ledger, Role
from .cast import Cast
from .clause_state import Clause
from .motions import Spot
from .paths import Move
from .scene_objects import Convoy, Relation


@dataclass
class Statements:
    """What all clauses say: the objects of `cast` with their moves, relations and lines, and roles in the ledger."""

    cast: Cast
    ledger: Ledger
    relations: list[Relation] = field(default_factory=list)
    convoys: list[Convoy] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passes: list[tuple[int, int]] = field(default_factory=list)  # who goes past whom

    def overtake(self) -> None:
        """Past what goes the same way: that one is slower."""
        for a, b in self.passes:
            passing = self.cast.objects[a]
            passed = self.cast.objects[b]
            if not passing.moves or not passed.moves:
                continue

            # slower is who goes half of the way in the same time
            x = passing.moves[-1].goal[0]
            if x is not None and x == passed.moves[-1].goal[0]:
                passed.start = (None, passed.start[1])
                passed.x_range = (0.25, 0.75)
                self.convoys = [convoy for convoy in self.convoys if not {a, b} <= set(convoy.members)]


@dataclass
class ClauseMeaning:
    """One clause while it is read. `kind` is that of its verb (see `english/verbs.txt`), "" where it has none."""

    scene: Statements
    clause: Clause
    kind: str
    start: Spot = (None, None)
    goals: list[Move] = field(default_factory=list)
    from_given: bool = False
    guessed: list[int] = field(default_factory=list)  # objects on the side that an assumed direction gave them
    motion_tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = self.scene.cast.objects
        self.subjects = self.clause.subjects
        self.ledger = self.scene.ledger
        verb = self.clause.verb
        self.verb_tokens = list(range(verb.first, verb.stop)) if verb else []

    def _mark(self, role: Role, tokens: list[int], check: str = "", objects: list[int] | None = None) -> None:
        """Give words a role; `check` must show in the boxes of `objects`, the subjects if they are None."""
        if objects is None:
            objects = self.subjects
        self.ledger.set(role, *tokens, objects=objects, check=check)

    def _relate(self, kind: str, a: list[int], b: list[int]) -> None:
        """A relation of each of `a` to each of `b`."""
        for i in a:
            for j in b:
                if i != j:  # an object that stands in both has none to itself
                    self.scene.relations.append(Relation(kind, i, j))
