"""What a verb does to its direct object: throwing, chasing, carrying, lifting, riding."""

from __future__ import annotations

from dataclasses import replace

from .account import Role
from .move_tables import CARRIED, STYLED, USUAL
from .paths import Move
from .relation_meaning import RelationMeaning
from .scene_objects import Convoy

# kind of a verb with a direct object -> the preposition that would say the same
PREPOSITIONS = {"cross": "past", "leave": "from", "up": "up", "circle": "around", "leap": "over"}


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
            if kind == "go":
                self._take_along(direct)
                return

            # "crosses a street" is "goes past a street"
            if kind in ("approach", "arrive", "come in", "meet"):
                self.kind = "go"
            preposition = PREPOSITIONS.get(kind, "to")
            self._goes_by(preposition, direct)
        elif self._lemma() == "catch" and any(self.objects[i].moves[-1:] == [Move((None, 0.0))] for i in direct):
            # what was tossed up comes down again
            for i in direct:
                self.objects[i].moves.append(Move((None, 1.0), "fall"))
            self._end_motion(direct)
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
        lemma = self.clause.verb.lemma if self.clause.verb else ""
        if lemma in ("roll", "move", "slide", "float", "fly", "blow"):
            goals = self._completed(self.goals) or [USUAL["go"]]
            for i in direct:
                self.objects[i].moves += goals
            self._relate("beside", self.subjects, direct)
            self._end_motion(direct)
            return

        # a walked dog goes at somebody's side, a driven car has its driver inside
        for i in direct:
            self.objects[i].company = self.subjects[0]
        relation = "beside" if lemma in ("walk", "race", "jog") else "within"
        self._relate(relation, self.subjects, direct)

    def _lift(self, direct: list[int], y: float) -> None:
        """What is lifted rises, what is dropped falls; who does it stands."""
        path = "fall" if y else "line"
        for i in direct:
            self.objects[i].moves.append(Move((None, y), path))
        self._relate("beside", self.subjects, direct)
        self._end_motion(direct)

    def _throw(self, direct: list[int]) -> None:
        """Who throws stands; what is thrown flies off, to the object or the side that is named."""
        to_left = any(goal.goal[0] == 0.0 for goal in self.goals)
        for complement in self.clause.complements:
            if complement.kind in ("to", "at", "into", "towards", "toward"):
                to_left |= any(self.objects[i].start[0] == 0.0 for i in complement.objects)
        side = 0.0 if to_left else 1.0
        upwards = any(goal.goal == (None, 0.0) for goal in self.goals)

        # what is thrown
        flight = Move((None, 0.0)) if upwards else Move((side, None), "arc")
        for i in direct:
            self.objects[i].moves.append(flight)
            self._relate("free", self.subjects, [i])

        # who throws stands opposite to where it flies, or below it
        x = 0.5 if upwards else 1 - side
        for i in self.subjects:
            thrower = self.objects[i]
            thrower.start = (x, thrower.start[1])
            thrower.is_still = True

        # who catches it waits there
        for complement in self.clause.complements:
            if complement.kind not in ("to", "at", "into", "towards"):
                continue
            for i in complement.objects:
                self.objects[i].moves = []
                self.objects[i].start = (side, None)
                self._relate("free", direct, [i])
        self._end_motion(direct)

    def _carry(self, direct: list[int]) -> None:
        """Both move: one behind the other, one on the other, or one in the other's hands."""
        both = [*self.subjects, *direct]
        known = self.objects[self.subjects[0]].moves
        goes_on = bool(known) and (self.clause.joined or self.kind == "carry")

        # the way that is said, or the one that the subject goes already, or the usual one
        ways = self.goals
        is_known = False
        if not ways and goes_on:
            ways = known
            is_known = True
        elif not ways:
            goal = Move((1.0, None))
            if self.from_given and self.start[0] is not None:
                goal = Move((1 - self.start[0], None))
            ways = [goal]

        is_assumed = not self.goals and not self.from_given and not is_known
        for i in both:
            item = self.objects[i]
            before = [] if item.is_assumed else item.moves
            goes_so = self.kind == "overtake" and before == ways  # both race already
            if i in self.subjects and not is_known and not goes_so:
                item.moves = [*before, *ways]
            else:
                item.moves = list(ways)
            item.is_still = False
            item.is_assumed = is_assumed

        # how the two stand to each other on the way
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
            self.scene.passes += [(a, b) for a in self.subjects for b in direct]
            self._relate("free", self.subjects, direct)
        else:
            # who pulls goes ahead, who pushes or chases comes behind; a convoy is listed from its end
            pulls = self.clause.verb is not None and self.kind == "pull"
            order = [*direct, *self.subjects] if pulls else [*self.subjects, *direct]
            self.scene.convoys.append(Convoy(tuple(order)))
        self._end_motion(both)

    def _end_motion(self, moved: list[int]) -> None:
        """The verb and its goals are used up by the objects that it moves: the subjects go nowhere by it."""
        self._mark(Role.MOTION, [*self.verb_tokens, *self.motion_tokens], "moves", moved)
        self.goals = []
        self.motion_tokens = []
        self.verb_tokens = []
        self.kind = ""

    def _completed(self, goals: list[Move]) -> list[Move]:
        """Goals with what the verb adds: a fall to the left ends below, a hop to the left bounces."""
        kind = self.kind
        out = [self._styled(goal) for goal in goals]
        if kind not in ("up", "down") or not out:
            return _combined(out)

        # "sinks to the left": the verb gives the height that the goal leaves open
        vertical = any(goal.goal[1] is not None or goal.path not in ("line", "fall") for goal in out)
        if not vertical:
            y = float(kind == "down")
            out[0] = Move((out[0].goal[0], y), "line")
        return _combined(out)

    def _styled(self, goal: Move) -> Move:
        """A goal on the path of the verb: a leap is an arc, wherever it leads."""
        kind = self.kind
        if kind not in STYLED or goal.path != "line":
            return goal
        y = goal.goal[1]
        falls_elsewhere = kind == "down" and y != 1.0
        thrown_high = kind == "throw" and y is not None
        if falls_elsewhere or thrown_high:
            return goal
        return replace(goal, path=STYLED[kind])


def _combined(goals: list[Move]) -> list[Move]:
    """A path without a goal and a goal without a path, said together, are one move: "bounces to the right"."""
    shapes = [goal for goal in goals if goal.path in ("bounce", "zigzag", "arc") and goal.goal == (None, None)]
    lines = [goal for goal in goals if goal.path == "line" or (shapes and goal.path == shapes[0].path)]
    lines = [goal for goal in lines if goal not in shapes]
    if len(goals) == 2 and len(lines) == 1 and len(shapes) == 1:
        return [Move(lines[0].goal, shapes[0].path)]

    # said twice in a row is said once
    out: list[Move] = []
    for goal in goals:
        if not out or goal != out[-1]:
            out.append(goal)
    return out
