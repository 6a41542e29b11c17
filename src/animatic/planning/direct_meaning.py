"""What a verb does to its direct object: throwing, chasing, carrying, lifting, riding."""

from __future__ import annotations

from dataclasses import replace

from .account import Role
from .move_tables import CARRIED, STYLED, USUAL
from .paths import Move
from .relation_meaning import RelationMeaning
from .scene_objects import Convoy


class DirectMeaning(RelationMeaning):
    """Reads the direct objects of a clause; those of `_completed` are defined with the motions of the subjects."""

    def _direct(self) -> None:
        direct = self.clause.direct
        kind = self.kind
        if kind == "throw":
            self._throw(direct)
        elif kind in ("raise", "down"):
            self._lift(direct, float(kind == "down"))
        elif kind in CARRIED:
            self._carry(direct)
        elif kind in ("cross", "leave", "approach", "come in", "arrive", "up", "circle", "go", "leap", "meet"):
            preposition = {"cross": "past", "leave": "from", "up": "up", "circle": "around", "leap": "over"}.get(
                kind, "to"
            )
            if kind == "go":
                self._take_along(direct)
            else:
                self.kind = "go" if kind in ("approach", "arrive", "come in", "meet") else kind
                self._goes_by(preposition, direct)
        elif kind == "be":
            for i in direct:
                self._relate("beside", self.subjects, [i])
        elif kind == "hold":
            for i in direct:
                self.objects[i].company = self.subjects[0]
                self._relate("within", self.subjects, [i])
            self._mark(Role.RELATION, self.verb_tokens)
        else:
            self._relate("beside", self.subjects, direct)
            if kind in ("show", "aux"):
                self._mark(Role.RELATION, self.verb_tokens)

    def _take_along(self, direct: list[int]) -> None:
        """Walking a dog or driving a car takes it along; rolling a ball moves the ball alone."""
        verb = self.clause.verb
        alone = verb is not None and verb.lemma in ("roll", "move", "slide", "float", "fly", "blow")
        for i in direct:
            if alone:
                self.objects[i].moves += self._completed(self.goals) or [USUAL["go"]]
            else:
                self.objects[i].company = self.subjects[0]
        kind = "beside" if alone or (verb and verb.lemma in ("walk", "race", "jog")) else "within"
        self._relate(kind, self.subjects, direct)
        if alone:
            self._mark(Role.MOTION, [*self.verb_tokens, *self.motion_tokens], "moves", direct)
            self.goals, self.motion_tokens, self.verb_tokens = [], [], []
            self.kind = ""

    def _lift(self, direct: list[int], y: float) -> None:
        """What is lifted rises, what is dropped falls; who does it stands."""
        for i in direct:
            self.objects[i].moves.append(Move((None, y), "fall" if y else "line"))
        self._relate("beside", self.subjects, direct)
        self._mark(Role.MOTION, [*self.verb_tokens, *self.motion_tokens], "moves", direct)
        self.goals, self.motion_tokens, self.verb_tokens = [], [], []
        self.kind = ""

    def _throw(self, direct: list[int]) -> None:
        """Who throws stands; what is thrown flies off, to the object or the side that is named."""
        to_left = any(goal.goal[0] == 0.0 for goal in self.goals)
        side = 0.0 if to_left else 1.0
        targets = [i for c in self.clause.complements if c.kind in ("to", "at", "into", "towards") for i in c.objects]
        upwards = any(goal.goal == (None, 0.0) for goal in self.goals)
        for i in direct:
            self.objects[i].moves.append(Move((None, 0.0)) if upwards else Move((side, None), "arc"))
            self._relate("free", self.subjects, [i])
        for i in self.subjects:
            self.objects[i].start = (1 - side if not upwards else 0.5, self.objects[i].start[1])
            self.objects[i].is_still = True
        for i in targets:
            self.objects[i].moves = []
            self.objects[i].start = (side, None)
            self._relate("free", direct, [i])
        self._mark(Role.MOTION, [*self.verb_tokens, *self.motion_tokens], "moves", direct)
        self.goals, self.motion_tokens, self.verb_tokens = [], [], []
        self.kind = ""

    def _carry(self, direct: list[int]) -> None:
        """Both move: one behind the other, one on the other, or one in the other's hands."""
        goal = next((g for g in self.goals if g.path == "line" and g.goal != (None, None)), Move((1.0, None)))
        if self.from_given and not self.goals and self.start[0] is not None:
            goal = Move((1 - self.start[0], None))
        both = [*self.subjects, *direct]
        known = self.objects[self.subjects[0]].moves
        ways = self.goals or (known if known and (self.clause.joined or self.kind == "carry") else [goal])
        for i in both:
            item = self.objects[i]
            before = [] if item.is_assumed else item.moves
            item.moves = [*before, *ways] if i in self.subjects and ways is not known else list(ways)
            item.is_still = False
            item.is_assumed = not self.goals and not self.from_given and ways is not known
        if self.kind == "ride":
            for i in direct:
                self.objects[i].company = self.subjects[0]
            self._relate("mounted", self.subjects, direct)
        elif self.kind == "carry":
            for i in direct:
                self.objects[i].company = self.subjects[0]
            self._relate("within", self.subjects, direct)
        elif self.kind == "overtake":
            for i in direct:
                self.objects[i].x_range = (0.25, 0.75)
            self._relate("free", self.subjects, direct)
        else:
            ahead = self.clause.verb is not None and self.kind == "pull"
            order = [*direct, *self.subjects] if ahead else [*self.subjects, *direct]
            self.scene.convoys.append(Convoy(tuple(order)))
        self._mark(Role.MOTION, [*self.verb_tokens, *self.motion_tokens], "moves", both)
        self.goals, self.motion_tokens, self.verb_tokens = [], [], []
        self.kind = ""

    def _completed(self, goals: list[Move]) -> list[Move]:
        """Goals with what the verb adds: a fall to the left ends below, a hop to the left bounces."""
        kind = self.kind
        out = []
        for goal in goals:
            if (
                kind in STYLED
                and goal.path == "line"
                and not (kind == "down" and goal.goal[1] != 1.0)
                and (kind != "throw" or goal.goal[1] is None)
            ):
                goal = replace(goal, path=STYLED[kind])
            out.append(goal)
        vertical = any(goal.goal[1] is not None or goal.path not in ("line", "fall") for goal in out)
        if kind in ("up", "down") and out and not vertical:
            y = float(kind == "down")
            out[0] = Move((out[0].goal[0], y), "line")
        return _combined(out)


def _combined(goals: list[Move]) -> list[Move]:
    """A path without a goal and a goal without a path, said together, are one move: "bounces to the right"."""
    lines = [g for g in goals if g.path in ("line",)]
    shapes = [g for g in goals if g.path in ("bounce", "zigzag", "arc") and g.goal == (None, None)]
    if len(lines) == 1 and len(shapes) == 1 and len(goals) == 2:
        return [Move(lines[0].goal, shapes[0].path)]
    return [goal for k, goal in enumerate(goals) if not k or goal != goals[k - 1]]
