"""What prepositions with other objects say: a relation that holds, or a motion to, from, over or around them."""

from __future__ import annotations

from dataclasses import replace

from .account import Role
from .adverbial_meaning import AdverbialMeaning
from .clause_state import Complement
from .lexicon import is_any
from .move_tables import RELATIONS, STILL, STYLED, UPRIGHT
from .paths import Move
from .scene_objects import Convoy

# what leads to another object; the second only where the motion ends on top of something
TOWARDS = frozenset("to towards toward into onto against at".split())
ONTO = frozenset(("on", "relation on", "upon", "atop"))
CONFINED = frozenset("swim float fly flutter crawl slither run walk pace scurry wriggle drift".split())
AWAY = frozenset(("from", "off", "out", "relation out"))

# heights and sides in 0..1 of the range of the object that moves
LANDING = 0.4  # y of what falls on something
ON_TOP = 0.45  # y of what has leapt onto something
JUMPING_OFF = 0.3  # y from which something leaps off
OVER_EDGE = 0.7  # x just beyond what stands at the left edge
BESIDE_EDGE = 0.15  # distance from the frame's edge, where the other object stands


class RelationMeaning(AdverbialMeaning):
    """Reads complements with other objects."""

    def _with_objects(self, complement: Complement) -> None:
        """A preposition with other objects: where the subject goes, or stands."""
        kind = complement.kind
        others = [i for i in complement.objects if i not in self.subjects]
        moving = self.kind not in STILL | {"no path", "place", "show", "appear", "wear"}
        relation, swap = RELATIONS.get(kind, ("", False))
        if not others or not kind:
            return
        if kind == "relation sides":
            self._on_both_sides(others)
            self._mark(Role.RELATION, complement.tokens)
            return
        if not relation and kind != "between":
            return
        carries = all(is_any(self.objects[i].noun, "mount") for i in others)
        carries |= self._lemma() == "ride" and not any(is_any(self.objects[i].noun, "immobile") for i in others)
        stands_fast = any(is_any(self.objects[i].noun, "immobile") for i in others)
        if kind == "between":
            self._between(others)
        elif kind in ("relation left", "relation right") and complement.value.startswith("from"):
            # "from the left of a tree": the tree stands in the middle, so that there is a left of it
            self.start = (float(kind == "relation right"), None)
            self.from_given = True
            for i in others:
                self._put_in_middle(i)
        elif moving and kind == "behind" and self._follows_along(others):
            pass
        elif moving and kind in ("behind", "relation before") and all(self.objects[i].moves for i in others):
            # both move: one goes ahead, the other follows the same way
            if kind == "behind":
                line = (*self.subjects, *others)
            else:
                line = (*others, *self.subjects)
            self.scene.convoys.append(Convoy(line))
            if not self.goals:
                self.goals = list(self.objects[others[0]].moves)
        elif kind in ("on", "in") and carries:
            for i in others:
                self.objects[i].company = self.subjects[0]
            self._relate("mounted", self.subjects, others)
        elif kind == "from" and self.clause.verb and self.clause.verb.lemma in ("hang", "dangle"):
            self._relate("above", others, self.subjects)
        elif moving and self._goes_by(kind, others):
            self.motion_tokens += complement.tokens
            return
        elif moving and kind in ("with", "alongside") and not stands_fast:
            self.scene.notes.append("")
            for i in others:
                self.objects[i].company = self.subjects[0]
        else:
            # nothing can stand on a wall: what is "on" one is inside its box
            are_upright = all(self.objects[i].noun in UPRIGHT for i in others)
            if relation == "on" and are_upright:
                relation = "within"
            if swap:
                self._relate(relation, others, self.subjects)
            else:
                self._relate(relation, self.subjects, others)
        self._mark(Role.RELATION, complement.tokens)

    def _follows_along(self, others: list[int]) -> bool:
        """ "Hops along behind a hen": the hen goes the same way, ahead, unless it goes somewhere already."""
        is_along = any(c.kind == "particle" and c.value == "along" for c in self.clause.complements)
        alive = all(is_any(self.objects[i].noun, "animate", "human", "mount") for i in others)
        if not is_along or not alive or any(self.objects[i].moves for i in others):
            return False
        is_assumed = not self.goals
        self.goals = self.goals or [Move((1.0, None))]
        for i in others:
            self.objects[i].moves = list(self.goals)
            self.objects[i].is_assumed = is_assumed
        self.scene.convoys.append(Convoy((*self.subjects, *others)))
        return True

    def _goes_by(self, kind: str, others: list[int]) -> bool:
        """A motion to, from, over or around other objects; whether it is one."""
        other = self.objects[others[0]]

        # "hops onto a box" is one leap, not many hops
        if self.kind == "bounce" and kind in ("to", "into", "onto", "over", "across", "on", "from", "off"):
            self.kind = "leap"
        towards = TOWARDS
        if self.kind in ("down", "leap", "bounce"):
            towards = TOWARDS | ONTO
        if kind in towards:
            self._goes_to(kind, others)
            return True
        if kind in AWAY:
            self._goes_from(kind, others)
            return True

        # where the other object stands between begin and end, it stands in the middle
        if kind == "around" and self.kind in ("go", "circle"):
            other.start = (0.5, 0.6)
            self.goals.append(Move(path="circle"))
            self._relate("free", self.subjects, others)
            return True
        if kind in ("over", "across") and self.kind in ("leap", "bounce", "throw"):
            other.start = (0.5, 1.0)
            if not self.goals:
                self.goals = [Move((1.0, None))]
            self.goals = [replace(goal, path="arc") for goal in self.goals]
            self._relate("free", self.subjects, others)
            return True
        encloses = kind in ("in", "inside", "within") and len(others) == 1 and other.count == 1
        if encloses and self._lemma() in CONFINED and not self.goals and not self.from_given:
            self.goals.append(Move(path="sway"))  # a fish that swims in a bowl stays in it
            self._relate("within", self.subjects, others)
            return True
        if kind in ("up", "down"):
            self._climb(float(kind == "down"))
            if len(self.subjects) > 1 or self.objects[self.subjects[0]].count > 1 or self.goals[-1].goal[0] is not None:
                self._relate("touch", self.subjects, others)
                return True

            # straight up a tree is where the tree stands
            if other.start[0] is None:
                self._put_in_middle(others[0])
            self.start = (other.start[0], self.start[1])
            self._relate("free", self.subjects, others)
            return True
        if kind == "past":
            if other.count == 1:
                self._put_in_middle(others[0])
            self.scene.passes += [(a, b) for a in self.subjects for b in others]
            self._relate("free", self.subjects, others)
            return True
        if kind in ("through", "behind", "relation before", "along", "under") and self.kind != "down":
            if other.start[0] is None:
                self._put_in_middle(others[0])
            self._relate("free", self.subjects, others)
            return True
        return False

    def _goes_to(self, kind: str, others: list[int]) -> None:
        """A motion that ends at another object, which stands on the side that it leads to."""
        if self.kind in ("down", "up") and kind != "to":
            if self.kind == "down":
                goal = Move((None, LANDING), "fall")
            else:
                goal = Move((None, 0.0), "line")
            self.goals.append(goal)
            self._relate("under path", self.subjects, others)
            return

        other = self.objects[others[0]]
        side = self._side_of_goals()
        if other.start[0] is None:
            other.start = (side, other.start[1])
        else:
            side = other.start[0]
        on_top = kind in ("onto", "on") or self.kind == "leap"
        x = BESIDE_EDGE + (1 - 2 * BESIDE_EDGE) * side
        y = ON_TOP if on_top else None
        path = STYLED.get(self.kind, "line")
        self.goals.append(Move((x, y), path))
        self._relate("free", self.subjects, others)

    def _goes_from(self, kind: str, others: list[int]) -> None:
        """A motion that begins at another object, which stands on the side that it does not lead to."""
        other = self.objects[others[0]]
        below = kind == "from" or other.start[0] is None
        if self.kind == "up" or (self.kind == "down" and below):
            self._relate("under path", self.subjects, others)
            return

        if other.start[0] is None:
            other.start = (1.0 - self._side_of_goals(), other.start[1])
            self.guessed += [] if self.goals else others
        x = other.start[0] or 0.0
        jumps = kind == "off" or self.kind in ("leap", "bounce")
        self.start = (x, JUMPING_OFF if jumps else None)

        # without a goal of its own it goes to the other side
        has_goal = any(c.kind in ("onto", "to", "into") for c in self.clause.complements)
        sideways = list(self.goals)
        if not self.goals and not has_goal:
            self.goals.append(Move((1.0 - x, None)))
        self._relate("free", self.subjects, others)
        if kind == "off" and not has_goal and not self._flies():
            self._falls_off(sideways, x)

    def _flies(self) -> bool:
        lemma = self.clause.verb.lemma if self.clause.verb else ""
        return lemma in ("fly", "float") or any(is_any(self.objects[i].noun, "flyer") for i in self.subjects)

    def _falls_off(self, sideways: list[Move], x: float) -> None:
        """Off something is down from it: a leap ends below, what rolls goes over the edge and falls."""
        if len(self.goals) != 1 or self.goals[0].goal[1] is not None:
            return
        goal = self.goals[0].goal[0]
        if self.kind in ("leap", "bounce"):
            self.goals = [replace(self.goals[0], goal=(goal, 1.0))]
            return
        if not sideways:
            goal = OVER_EDGE if x < 0.5 else 1 - OVER_EDGE
        self.goals = [Move((goal, None)), Move((None, 1.0), "fall")]

        # a line of many is wider than what it stands on
        for i in self.subjects:
            if self.objects[i].count > 1:
                self.scene.notes.append(f"{self.objects[i].phrase}: not all of them begin on what they fall off")

    def _lemma(self) -> str:
        return self.clause.verb.lemma if self.clause.verb else ""

    def _side_of_goals(self) -> float:
        """The side, 0 or 1, that the motion leads to: to the right unless something else is said."""
        to_left = any(goal.goal[0] == 0.0 for goal in self.goals)
        if not self.goals and self.from_given and self.start[0] is not None:
            to_left = self.start[0] > 0.5
        return 0.0 if to_left else 1.0

    def _put_in_middle(self, i: int) -> None:
        item = self.objects[i]
        item.start = (0.5, item.start[1])

    def _on_both_sides(self, others: list[int]) -> None:
        """ "An armchair on either side of a table": one on each, so two where one is named."""
        if len(self.subjects) == 1 and self.objects[self.subjects[0]].count == 1:
            self.objects[self.subjects[0]].count = 2
        left, right = self.scene.cast.halves(self.subjects)
        self._relate("left", left, others)
        self._relate("left", others, right)

    def _between(self, others: list[int]) -> None:
        left, right = self.scene.cast.halves(others)
        if not right:
            self._relate("beside", self.subjects, others)
            return
        self._relate("left", left, self.subjects)
        self._relate("left", self.subjects, right)
