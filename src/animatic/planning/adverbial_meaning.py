"""What set phrases, particles and places say of a motion: where it starts, where it leads, along which path."""

from __future__ import annotations

from dataclasses import replace

from .account import Role
from .clause_meaning import ClauseMeaning
from .clause_state import Complement
from .lexicon import is_any
from .motions import Spot
from .move_tables import ALONG, ARRIVING, GROUND, SKY, STILL, USUAL
from .paths import Move, filled, way_back


class AdverbialMeaning(ClauseMeaning):
    """Reads complements without other objects."""

    def _adverbial(self, complement: Complement) -> None:
        """Start, goals and paths that set phrases and particles name."""
        kind = complement.kind
        value = complement.value
        used = True  # whether it says something of the motion
        if complement.is_next and not self.goals and self.kind in USUAL:
            self.goals.append(USUAL[self.kind])  # "flies up, then right"
        moving = self.kind not in STILL | {"no path", "place", "show", "appear"} or bool(self.goals)
        if kind == "from to":
            self.start = complement.spots[0]
            self.goals.append(Move(complement.spots[1]))
        elif kind in ("from spot", "begin"):
            self.start = complement.spots[0]
            self.from_given |= kind == "from spot"
        elif kind == "to spot":
            self.goals.append(Move(complement.spots[-1]))
        elif kind == "at spot" and self.kind == "stop" and self._stops_at(complement.spots[0]):
            pass
        elif kind == "at spot":
            arrives = self.kind in ARRIVING and (self.kind != "down" or self.goals or self.from_given)
            leaves = any(other.kind == "leave frame" for other in self.clause.complements)
            if arrives or (self.goals and moving) or leaves:
                self.goals.append(Move(complement.spots[0]))
            else:
                self.start = complement.spots[0]
        elif kind == "cross over":
            self.goals.append(Move((1.0, None)))
        elif kind == "particle" and value == "up" and self._leads_to(complement):
            pass
        elif kind in ("go up", "go down") or (kind == "particle" and value in ("up", "down") and moving):
            low = kind == "go down" or value == "down"
            falls = low and self.kind == "down"
            goal = (None, float(low))
            self.goals.append(Move(goal, "fall" if falls else "line"))
        elif kind in ("go left", "go right") or (kind == "particle" and value in ("left", "right")):
            if not self.kind:
                self._mark(Role.ATTRIBUTE, complement.tokens)  # "three cookies left"
                return
            to_right = kind == "go right" or value == "right"
            self.goals.append(Move((float(to_right), None)))
        elif kind == "diagonal":
            self.goals.append(Move((1.0, float(self.kind != "up"))))
        elif kind.startswith("path "):
            self.goals += _path(kind.removeprefix("path "))
        elif kind in ("approach", "recede") and self.kind in ("still", "no path", "hold", "wear", "place", "show"):
            self._mark(Role.STYLE, complement.tokens)  # "smiling at the camera"
            return
        elif kind in ("approach", "recede"):
            self.goals.append(Move(path=kind))
        elif kind == "particle" and value in ("away", "off") and self.kind in ("go", "bounce", "recede"):
            used = value == "away" and not self.goals
            if used:
                self.goals.append(Move(path="recede"))
        elif kind == "particle" and value in ("past", "around", "by") and moving:
            pass
        elif kind == "forward" and moving:
            self.goals.append(Move((1.0, None)))
        elif kind == "backward" and moving:
            self.goals.append(Move((0.0, None)))
        elif kind in ("meet", "part", "cross each other"):
            used = self._against(kind)
        elif kind == "group":
            self._beside_each_other()
            self._mark(Role.RELATION, complement.tokens)
            return
        elif kind.startswith("relation own"):
            self._own_side(complement)
            return
        elif kind == "same way":
            others = [item for i, item in enumerate(self.objects) if i not in self.subjects and item.moves]
            self.goals += others[-1].moves if others else []
            used = bool(others)
        elif kind == "far":
            for i in self.subjects:
                self.objects[i].size *= 0.6
            self._mark(Role.RELATION, complement.tokens)
            return
        elif kind == "leave frame":
            for i in self.subjects:
                self.objects[i].leaves = True
        elif kind == "enter frame":
            pass
        else:
            return
        if used and kind in ("from spot", "at spot", "begin") and not moving:
            self._mark(Role.RELATION, complement.tokens)
        elif used:
            self.motion_tokens += complement.tokens

    def _come_back(self) -> None:
        """ "to the tree and back": the last of the goals so far, or else the usual one, is left again."""
        if not any(complement.kind == "and back" for complement in self.clause.complements):
            return
        ways = self.goals or ([USUAL[self.kind]] if self.kind in USUAL else [])
        if ways:
            self.goals = [*ways, way_back(reversed(ways))]
        else:
            self.scene.notes.append("'back' shows in no box")

    def _leads_to(self, particle: Complement) -> bool:
        """Whether "up" belongs to "up to" or "up on": no direction, but an approach."""
        for complement in self.clause.complements:
            if (
                complement.objects
                and complement.kind in ("to", "on", "behind", "towards")
                and (complement.tokens[0] == particle.tokens[-1] + 1)
            ):
                complement.kind = "to"
                return True
        return False

    def _own_side(self, complement: Complement) -> None:
        """ "a house on its right": the house stands right of the subject; "to its right" after "from the left of"."""
        side = "left" if "left" in complement.kind else "right"
        if complement.objects:
            if side == "left":
                self._relate("left", complement.objects, self.subjects)
            else:
                self._relate("left", self.subjects, complement.objects)
            self._mark(Role.RELATION, complement.tokens)
            return
        self.goals.append(Move((float(side == "right"), None)))
        self.motion_tokens += complement.tokens

    def _place(self, complement: Complement) -> None:
        """What a place does to the motion: down a hill, into the sea, from the sky, to the bottom of a lake."""
        kind = complement.kind
        place = complement.place.split()[-1]

        # "the left of the frame" is no background
        if not is_any(complement.place, "frame"):
            self._mark(Role.PLACE, complement.tokens)
        moving = self.kind not in STILL | {"no path"}
        upper = place in SKY
        lower = place in GROUND

        # where it leads, or comes from, by the preposition and the place
        to = complement.value.startswith(("to", "into", "toward", "onto")) or kind in ("to", "into", "onto")
        away = complement.value.startswith("from") or kind in ("from", "off", "out", "relation out")
        goal: Spot = (None, None)
        if kind in ("relation foot", "relation on"):
            goal = (None, 1.0 if kind == "relation foot" else 0.0)
        elif kind in ("relation left", "relation right"):
            goal = (float(kind == "relation right"), None)
        elif kind == "relation in" and ("middle" in complement.value or "cent" in complement.value):
            goal = (0.5, None)
        elif upper and away:
            goal = (None, 0.0)
        elif lower and away and self.kind in ("up", "go", "leap", "bounce"):
            goal = (None, 1.0)
        elif (upper or lower) and to and self.kind in ("down", "up", "go", "leap", "throw", "bounce"):
            goal = (None, float(lower))

        if self.kind == "stop" and goal[0] is not None and not away and self._stops_at(goal):
            self.motion_tokens += complement.tokens
            return

        # "down a hill" leads down, "down a street" leads along it
        if kind in ("up", "down") and moving and place not in ALONG:
            self._climb(float(kind == "down"))
        elif goal != (None, None) and away:
            self.start = goal
            self.from_given |= goal[0] is not None
        elif goal != (None, None) and (to and moving):
            self.goals.append(Move(goal))
        elif goal != (None, None) and not to:
            self.start = goal
        else:
            return
        self.motion_tokens += complement.tokens if moving else []
        if not moving:
            self._mark(Role.RELATION, complement.tokens)

    def _stops_at(self, spot: Spot) -> bool:
        """ "Rolls in and stops in the middle": the motion before ends there; whether there is one that can."""
        items = [self.objects[i] for i in self.subjects]
        if not all(item.moves and item.moves[-1].path in ("line", "bounce", "zigzag") for item in items):
            return False
        for item in items:
            last = item.moves[-1]
            x = last.goal[0]
            if len(item.moves) == 1 and item.start[0] is None and x in (0.0, 1.0):
                item.start = (1.0 - x, item.start[1])  # it comes from where it would have come otherwise
            item.moves[-1] = replace(last, goal=filled(spot, last.goal))
        return True

    def _climb(self, y: float) -> None:
        """Up or down something, and to the side that is said with it."""
        x = None
        if len(self.goals) == 1 and self.goals[0].path == "line" and self.goals[0].goal[1] is None:
            x = self.goals[0].goal[0]
            self.goals = []
        self.goals.append(Move((x, y)))

    def _beside_each_other(self) -> None:
        # those that stand, stand on the same ground
        for i in self.subjects:
            item = self.objects[i]
            if item.start[1] is None and self.kind in STILL:
                item.start = (item.start[0], 1.0)
        for i, j in zip(self.subjects, self.subjects[1:], strict=False):
            self._relate("beside", [i], [j])

    def _sides(self) -> tuple[list[int], list[int]]:
        """ "A fox on the left and a hen on the right meet": the subject and who stands on the other side."""
        own = self.start[0] if self.start[0] is not None else self.objects[self.subjects[0]].start[0]
        if own not in (0.0, 1.0) or len(self.subjects) != 1:
            return [], []
        opposite = 1.0 - own
        others = [i for i, item in enumerate(self.objects) if item.start[0] == opposite and not item.moves]
        if len(others) != 1:
            return [], []
        return (self.subjects, others) if own == 0.0 else (others, self.subjects)

    def _against(self, kind: str) -> bool:
        """Two sides that move towards each other, or apart."""
        left, right = self.scene.cast.halves(self.subjects)
        if not right:
            left, right = self._sides()
        if not right:
            return False
        if self.kind == "chase":
            self.subjects = self.clause.subjects = left
            self.clause.direct = right
            return True
        for group, goal, part in ((left, 1.0, (0.0, 0.48)), (right, 0.0, (0.52, 1.0))):
            for i in group:
                item = self.objects[i]
                item.moves = [Move((1 - goal if kind == "part" else goal, None))]
                item.x_range = part if kind != "cross each other" else (0.0, 1.0)
        if kind == "cross each other":
            self._relate("free", left, right)
        self.subjects = [*left, *right]
        self.clause.subjects = self.subjects
        self.goals = []
        self.kind = "against"
        self._mark(Role.MOTION, self.verb_tokens, "moves")
        return True


def _path(name: str) -> list[Move]:
    if name == "oscillate":
        return [Move((1.0, None)), Move((0.0, None))]
    if name == "still":
        return []
    return [Move(path=name)]
