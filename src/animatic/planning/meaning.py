"""Clauses to motions and relations of objects, word by word: what each word did is put in the ledger."""

from __future__ import annotations

from dataclasses import replace

from . import lexicon
from .account import Role
from .clause_meaning import Statements
from .clause_state import Clause
from .direct_meaning import DirectMeaning
from .lexicon import is_any
from .move_tables import CARRIED, GLIDING, STYLED, USUAL
from .no_object import kind_of, of_no_object
from .paths import Move, filled, merged, way_back
from .scene_objects import Convoy


def apply(clause: Clause, statements: Statements) -> None:
    """Add what a clause says to the statements."""
    if clause.of:
        of_no_object(clause, statements)
    elif clause.subjects:
        WholeMeaning(statements, clause, kind_of(clause)).apply()


class WholeMeaning(DirectMeaning):
    """One clause: first what is visible when, then relations, then motions."""

    def apply(self) -> None:
        if self.clause.verb and self.clause.verb.negated:
            self._negated()
            return
        if self.clause.verb and self.clause.verb.passive:
            self._passive()
        self._times()
        several = len(self.subjects) > 1 or self.objects[self.subjects[0]].count > 1
        if self.kind in ("meet", "part") and several and not self.clause.direct:
            self._against(self.kind)

        # directions first: what places and other objects mean depends on the goals so far
        for complement in self.clause.complements:
            self._adverbial(complement)
        for complement in self.clause.complements:
            if complement.place:
                self._place(complement)
        for complement in self.clause.complements:
            if complement.objects:
                self._with_objects(complement)
        self._come_back()
        if self.clause.direct:
            self._direct()
        self._moves()

    def _negated(self) -> None:
        """ "does not move" is still; any other action that does not happen shows nowhere and need not."""
        for i in self.subjects:
            item = self.objects[i]
            item.moves = []
            item.action = ""
            item.is_still = True
        role = Role.NOT_UNDERSTOOD if self.kind == "no path" else Role.MOTION
        self._mark(role, self.verb_tokens)

    def _passive(self) -> None:
        """The agent of "is chased by a dog" chases; "is thrown" and "is parked" say what becomes of the subject."""
        agents = [c for c in self.clause.complements if c.kind in ("by", "relation by") and c.objects]
        if self.kind == "go" and agents:
            self.kind = "push"  # "is wheeled to the left by a porter"
        if self.kind in CARRIED | {"hold", "throw", "meet"} and agents:
            agent = agents[0]
            self.clause.complements.remove(agent)
            self.clause.direct = self.clause.subjects
            self.clause.subjects = agent.objects
            self.subjects = agent.objects
            self._mark(Role.MOTION, agent.tokens)

    def _times(self) -> None:
        part: tuple[float, float] | None = None
        for complement in self.clause.complements:
            if complement.kind == "visible first":
                part = (0.0, 0.5)
            elif complement.kind == "visible last":
                part = (0.5, 1.0)
            elif complement.kind in ("middle", "late", "early") and self.kind in ("appear", "disappear"):
                # "early" leaves the usual part, below
                part = None
                if complement.kind != "early":
                    part = (0.5, 1.0) if self.kind == "appear" else (0.0, 0.5)
            else:
                continue
            self._mark(Role.MOTION, complement.tokens, "visible")

        # "appears from the left" comes in; "appears" alone is there from the middle on
        comes_from = False
        for complement in self.clause.complements:
            if complement.kind in ("from", "out", "off", "relation out", "from spot"):
                comes_from |= bool(complement.objects or complement.spots)
        if part is None and self.kind in ("appear", "disappear") and not comes_from:
            part = (0.5, 1.0) if self.kind == "appear" else (0.0, 0.5)
        if comes_from and self.kind == "appear":
            self.kind = "go"
        if part is None:
            return
        for i in self.subjects:
            self.objects[i].visible = part
        if self.kind in ("appear", "disappear", "show", "be", ""):
            self._mark(Role.MOTION, self.verb_tokens, "visible")

    # ---- motions of the subjects

    def _moves(self) -> None:
        kind = self.kind

        # where they go: as is said, away from where they come from, or as usual
        goals = self._completed(self.goals)
        watches = self.clause.verb is not None and lexicon.verbs().get(self.clause.verb.lemma) == "no path"
        if self.from_given and not goals and not watches:  # "watches from the right" stays there
            goals = [self._opposite()]
        assumed = not goals and kind in USUAL
        if assumed:
            goals = self._usual()
        if kind == "stop" and not goals:
            self._stop()
            return
        if goals and not assumed:
            self._replace_assumed(goals)
        self._begin_at(goals)
        leaves = (
            kind == "leave"
            and not self.clause.direct
            and not any(c.objects or c.place for c in self.clause.complements)
        )
        for i in self.subjects:
            self.objects[i].leaves |= leaves
            item = self.objects[i]
            if assumed and item.is_assumed and kind == "go":
                continue
            sideways = bool(goals) and goals[0].goal[0] is not None
            if goals:
                item.is_assumed = (assumed or bool(self.guessed)) and not item.moves and sideways
                item.guessed = self.guessed
            if kind == "still" and not goals:
                item.is_still |= not item.moves
            if goals:
                item.is_still = False
            if self.clause.joined and item.moves and len(goals) == 1:
                both = merged(item.moves[-1], goals[0])
                if both:
                    item.moves[-1] = both
                    continue
            if item.stops and goals and kind != "stop":
                item.moves.append(Move())  # the stop, between what it did before and does then
                item.stops = False
            repeated = bool(goals) and item.moves[-1:] == goals[:1]
            item.moves += goals[1:] if repeated else goals
            if not item.action and kind and self.clause.verb:
                item.action = self.clause.verb.lemma
            item.stops |= bool(item.moves) and kind == "stop"

        # what it means for those that go along, and for the words
        self._line_up(goals)
        self._account(kind, bool(goals))
        if assumed and goals and goals[0].goal[0] is not None:
            named = ", ".join(self.objects[i].phrase for i in self.subjects)
            self.scene.notes.append(f"{named}: no direction is given, the usual one is assumed")

    def _replace_assumed(self, goals: list[Move]) -> None:
        """What is said of the direction holds for the motion before, and for those that go along."""
        for i in self.subjects:
            side = goals[0].goal[0]
            if not self.objects[i].is_assumed or (self.objects[i].guessed and side is None):
                continue
            self.objects[i].moves = []
            for j in self.objects[i].guessed if side in (0.0, 1.0) else []:
                self.objects[i].start = (None, None)
                self.objects[j].start = (1 - (side or 0.0), self.objects[j].start[1])

            # those that are carried follow their company; those in line go the same way
            for item in self.objects:
                if item.company == i:
                    item.moves = []
            along: set[int] = set()
            for convoy in self.scene.convoys:
                if i in convoy.members:
                    along.update(convoy.members)
            for j in along - set(self.subjects):
                self.objects[j].moves = list(goals)

    def _line_up(self, goals: list[Move]) -> None:
        """Several that go sideways together: the first that is named goes ahead."""
        if len(self.subjects) < 2 or self.kind == "against":
            return
        sideways = any(goal.goal[0] is not None and goal.path != "arc" for goal in goals)
        plain = all(self.objects[i].x_range == (0.0, 1.0) for i in self.subjects)

        # a bird and a dog go together at different heights
        kinds = {is_any(self.objects[i].noun, "flyer") for i in self.subjects}
        if sideways and plain and len(kinds) == 1:
            line = tuple(reversed(self.subjects))
            self.scene.convoys.append(Convoy(line))

    def _stop(self) -> None:
        for i in self.subjects:
            self.objects[i].stops = bool(self.objects[i].moves)
        self._mark(Role.MOTION, [*self.verb_tokens, *self.motion_tokens])

    def _account(self, kind: str, moved: bool) -> None:
        """Roles of the verb and of what says where it leads."""
        self._mark(Role.MOTION, self.motion_tokens, "moves" if moved else "")
        if kind in ("still", "be", "stop", "arrive", "aux", "go", "show", "place"):
            # of these only going, and arriving from somewhere, must show in the boxes
            must_move = kind == "go" or (moved and kind == "arrive")
            self._mark(Role.MOTION, self.verb_tokens, "moves" if must_move else "")
            return
        shows_not = kind in ("no path", "appear", "disappear", "hold", "wear", "", "against")
        if not shows_not or (kind == "appear" and moved):
            self._mark(Role.MOTION, self.verb_tokens, "moves")

    def _opposite(self) -> Move:
        """The move away from where it comes from: to the other side, along the axis that the verb moves in."""
        x, y = self.start
        if self.kind == "down":
            glides = self.clause.verb is not None and self.clause.verb.lemma in GLIDING
            if glides and x is not None:
                return Move((1 - x, 1.0))
            falls = y is None or y < 0.5 or x is not None
            return Move((None, 1.0), "fall" if falls else "line")
        if self.kind == "up":
            return Move((x, 0.0))

        # a coordinate that the start leaves open stays open
        if self.kind == "come in":
            middle_x = None if x is None else 0.5
            middle_y = None if y is None else 0.5
            return Move((middle_x, middle_y))
        opposite_x = None if x is None else 1 - x
        opposite_y = None if y is None else 1 - y
        path = STYLED.get(self.kind, "line")
        return Move((opposite_x, opposite_y), path)

    def _usual(self) -> list[Move]:
        """The usual move of the verb, unless it would contradict the place that is given, or what was said."""
        usual = USUAL[self.kind]
        items = [self.objects[i] for i in self.subjects]
        is_thrown = self.clause.verb is not None and self.clause.verb.passive
        if self.kind == "throw" and not is_thrown:
            return []
        if self.kind == "return":
            return [way_back(move for item in items for move in item.moves)]
        if self.kind == "go" and any(item.moves for item in items):
            return []

        # from the side where it stands to the other one; what leaves goes out on its own side
        x = self.start[0]
        if self.kind == "leave" and x is not None:
            return [Move(self.start)]
        known = [move.goal[0] for item in items for move in item.moves if move.goal[0] is not None]
        if self.kind == "leave" and known:
            return [Move((float(known[-1] >= 0.5), None))]  # on the way that it goes already
        if usual.goal[0] is not None and x is not None and usual.path == "line":
            goal = 0.0 if x == 1.0 else 1.0
            return [replace(usual, goal=(goal, None))]
        return [usual]

    def _begin_at(self, goals: list[Move]) -> None:
        if self.start == (None, None):
            return
        for i in self.subjects:
            item = self.objects[i]
            if item.moves and not self.clause.joined:
                continue
            item.start = filled(self.start, item.start)
