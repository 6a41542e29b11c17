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


class RelationMeaning(AdverbialMeaning):
    """Reads complements with other objects."""

    def _with_objects(self, complement: Complement) -> None:
        """A preposition with other objects: where the subject goes, or stands."""
        kind = complement.kind
        others = [i for i in complement.objects if i not in self.subjects]
        moving = self.kind not in STILL | {"no path", "place", "show", "appear", "wear"}
        if not others or not kind or (RELATIONS.get(kind, ("", False))[0] == "" and kind != "between"):
            return
        if kind == "between":
            self._between(others)
        elif kind in ("relation left", "relation right") and complement.value.startswith("from"):
            self.start = (float(kind == "relation right"), None)
            self.from_given = True
            for i in others:
                self.objects[i].start = (0.5, self.objects[i].start[1])
        elif moving and kind in ("behind", "relation before") and all(self.objects[i].moves for i in others):
            ahead, last = (others, self.subjects) if kind == "behind" else (self.subjects, others)
            self.scene.convoys.append(Convoy((*last, *ahead)))
            self.goals = self.goals or list(self.objects[others[0]].moves)
        elif kind in ("on", "in") and all(is_any(self.objects[i].noun, "mount") for i in others):
            for i in others:
                self.objects[i].company = self.subjects[0]
            self._relate("mounted", self.subjects, others)
        elif kind == "from" and self.clause.verb and self.clause.verb.lemma in ("hang", "dangle"):
            self._relate("above", others, self.subjects)
        elif moving and self._goes_by(kind, others):
            self.motion_tokens += complement.tokens
            return
        elif (
            moving
            and kind in ("with", "alongside")
            and not any(is_any(self.objects[i].noun, "immobile") for i in others)
        ):
            self.scene.notes.append("")
            for i in others:
                self.objects[i].company = self.subjects[0]
        else:
            relation, swap = RELATIONS[kind]
            if relation == "on" and all(self.objects[i].noun in UPRIGHT for i in others):
                relation = "within"
            a, b = (others, self.subjects) if swap else (self.subjects, others)
            self._relate(relation, a, b)
        self._mark(Role.RELATION, complement.tokens)

    def _goes_by(self, kind: str, others: list[int]) -> bool:
        """A motion to, from, over or around other objects; whether it is one."""
        i = others[0]
        other = self.objects[i]
        if self.kind == "bounce" and kind in ("to", "into", "onto", "over", "across", "on", "from", "off"):
            self.kind = "leap"
        to_left = any(goal.goal[0] == 0.0 for goal in self.goals)
        towards = ("to", "towards", "toward", "into", "onto", "against", "at") + (
            ("on", "relation on", "upon", "atop") if self.kind in ("down", "leap", "bounce") else ()
        )
        if kind in towards:
            if self.kind in ("down", "up") and kind != "to":
                self.goals.append(
                    Move((None, 0.4 if self.kind == "down" else 0.0), "fall" if self.kind == "down" else "line")
                )
                self._relate("under path", self.subjects, others)
                return True
            side = 0.0 if to_left else 1.0
            if other.start[0] is None:
                other.start = (side, other.start[1])
            else:
                side = other.start[0]
            on_top = kind in ("onto", "on") or self.kind == "leap"
            goal = (0.15 + 0.7 * side, 0.45 if on_top else None)
            self.goals.append(Move(goal, STYLED.get(self.kind, "line")))
            self._relate("free", self.subjects, others)
            return True
        if self.kind == "up" and kind in ("from", "off", "out", "relation out"):
            self._relate("under path", self.subjects, others)
            return True
        if kind in ("from", "off", "out", "relation out"):
            if (self.kind == "down" and kind == "from") or (other.start[0] is None and self.kind == "down"):
                self._relate(
                    "under path",
                    self.subjects,
                    others,
                )
                return True
            if other.start[0] is None:
                other.start = (1.0 if to_left else 0.0, other.start[1])
            x = other.start[0] or 0.0
            self.start = (x, 0.3 if kind == "off" or self.kind == "leap" or self.kind == "bounce" else None)
            if not self.goals and not any(c.kind in ("onto", "to", "into") for c in self.clause.complements):
                self.goals.append(Move((1.0 - x, None)))
            self._relate("free", self.subjects, others)
            return True
        if kind == "around" and self.kind in ("go", "circle"):
            other.start = (0.5, 0.6)
            self.goals.append(Move(path="circle"))
            self._relate("free", self.subjects, others)
            return True
        if kind in ("over", "across") and self.kind in ("leap", "bounce", "throw"):
            other.start = (0.5, 1.0)
            goals = self.goals or [Move((1.0, None))]
            self.goals = [replace(goal, path="arc") for goal in goals]
            self._relate("free", self.subjects, others)
            return True
        if kind in ("up", "down"):
            self._climb(float(kind == "down"))
            self._relate("touch", self.subjects, others)
            return True
        if kind == "past":
            if other.count == 1:
                other.start = (0.5, other.start[1])
            self.scene.passes += [(a, b) for a in self.subjects for b in others]
            self._relate("free", self.subjects, others)
            return True
        if kind in ("through", "behind", "relation before", "along", "under") and self.kind != "down":
            other.start = (0.5, other.start[1]) if other.start[0] is None else other.start
            self._relate("free", self.subjects, others)
            return True
        return False

    def _between(self, others: list[int]) -> None:
        left, right = self.scene.cast.halves(others)
        if not right:
            self._relate("beside", self.subjects, others)
            return
        self._relate("left", left, self.subjects)
        self._relate("left", self.subjects, right)
