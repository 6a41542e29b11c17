"""Clauses to motions and relations of objects, word by word: what each word did is put in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from . import lexicon
from .account import Ledger, Role
from .cast import Cast
from .clauses import Clause, Complement
from .layout import Convoy, Move, Relation
from .lexicon import is_any
from .motions import Spot

# preposition or set phrase -> relation, whether the other object comes first
RELATIONS: dict[str, tuple[str, bool]] = {
    "relation left": ("left", False), "relation right": ("left", True),
    "above": ("above", False), "over": ("above", False), "on": ("on", False), "upon": ("on", False),
    "atop": ("on", False), "onto": ("on", False), "relation on": ("on", False),
    "below": ("above", True), "under": ("above", True), "beneath": ("above", True), "underneath": ("above", True),
    "relation beside": ("beside", False), "beside": ("beside", False), "besides": ("beside", False),
    "near": ("beside", False), "by": ("beside", False), "alongside": ("beside", False), "with": ("beside", False),
    "around": ("beside", False), "among": ("beside", False), "against": ("touch", False), "at": ("beside", False),
    "behind": ("touch", False), "relation before": ("touch", False), "in": ("within", False),
    "inside": ("within", False), "within": ("within", False), "through": ("within", False), "along": ("touch", False),
    "across": ("touch", False), "relation in": ("within", False), "relation foot": ("beside", False),
    "relation by": ("beside", False), "to": ("beside", False), "past": ("beside", False), "like": ("", False),
    "from": ("beside", False), "off": ("touch", False), "into": ("touch", False), "towards": ("beside", False),
    "toward": ("beside", False), "up": ("touch", False), "down": ("touch", False), "out": ("touch", False),
    "relation out": ("within", False),
}  # fmt: skip
USUAL: dict[str, Move] = {  # kind of motion -> where it leads when nothing is said
    "go": Move((1.0, None)), "cross": Move((1.0, None)), "come in": Move((0.5, None)), "leave": Move((1.0, None)),
    "down": Move((None, 1.0), "fall"), "up": Move((None, 0.0)), "bounce": Move(path="bounce"),
    "leap": Move((1.0, None), "arc"), "circle": Move(path="circle"), "approach": Move(path="approach"),
    "recede": Move(path="recede"), "throw": Move((1.0, None), "arc"), "grow": Move(path="approach"),
    "shrink": Move(path="recede"), "sway": Move(path="sway"), "reverse": Move((0.0, None)),
    "return": Move((0.0, None)), "meet": Move((1.0, None)), "part": Move((1.0, None)), "chase": Move((1.0, None)),
    "push": Move((1.0, None)), "pull": Move((1.0, None)), "carry": Move((1.0, None)), "ride": Move((1.0, None)),
    "overtake": Move((1.0, None)), "raise": Move((None, 0.0)),
}  # fmt: skip
STYLED = {"bounce": "bounce", "leap": "arc", "throw": "arc", "down": "fall"}  # paths that go on to a goal
CARRIED = frozenset(("chase", "push", "pull", "carry", "ride", "overtake"))
ARRIVING = frozenset(("leave", "arrive", "stop", "come in", "down", "return"))
STILL = frozenset(("still", "hold", "be", ""))
ALONG = frozenset(
    """street road path hallway corridor aisle river runway highway alley track lane avenue sidewalk trail coast beach
    stream shore canal coastline""".split()
)
GLIDING = frozenset(("descend", "land", "dive", "swoop", "come down", "drift", "slide"))
UPRIGHT = frozenset("wall window door ceiling screen billboard board rope thread".split())
SKY, GROUND = frozenset("sky air clouds space".split()), frozenset("ground floor earth water sea ocean".split())


@dataclass
class Meaning:
    """Adds what clauses say to the objects of a cast, and to `relations` and `convoys`."""

    cast: Cast
    ledger: Ledger
    relations: list[Relation] = field(default_factory=list)
    convoys: list[Convoy] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passes: list[tuple[int, int]] = field(default_factory=list)  # who goes past whom

    def overtake(self) -> None:
        """Past what goes the same way: that one is slower."""
        for a, b in self.passes:
            passing, passed = self.cast.objects[a], self.cast.objects[b]
            if passing.moves and passed.moves and passing.moves[-1].goal[0] == passed.moves[-1].goal[0] is not None:
                passed.start = (None, passed.start[1])
                passed.x_range = (0.25, 0.75)

    def apply(self, clause: Clause) -> None:
        if clause.of:
            self._of_no_object(clause)
            return
        if not clause.subjects:
            return
        ClauseMeaning(self, clause, _kind(clause)).apply()

    def _of_no_object(self, clause: Clause) -> None:
        """Weather is style; a camera's motion shows in no box, but a zoom makes what it is on larger or smaller."""
        if clause.of in ("weather", "place"):
            for complement in clause.complements:
                if not complement.objects:
                    self.ledger.set(Role.STYLE, *complement.tokens)
            known = (
                ("down", "go", "still", "be", "no path", "show") if clause.of == "weather" else ("still", "be", "show")
            )
            if clause.verb and _kind(clause) in known:
                self.ledger.set(Role.STYLE, *range(clause.verb.first, clause.verb.stop))
            return
        verb = clause.verb
        targets = clause.direct + [i for c in clause.complements for i in c.objects]
        if verb and verb.lemma in ("zoom in", "zoom out", "zoom") and targets:
            outwards = verb.lemma == "zoom out" or any(c.value == "out" for c in clause.complements)
            for i in targets:
                self.cast.objects[i].moves.append(Move(path="recede" if outwards else "approach"))
            tokens = [*range(verb.first, verb.stop), *(t for c in clause.complements for t in c.tokens)]
            self.ledger.set(Role.MOTION, *tokens, objects=targets, check="moves")


def _kind(clause: Clause) -> str:
    """The kind of motion of a clause's verb; "" where there is none, "no path" where it is not known."""
    if clause.verb is None:
        return ""
    table = lexicon.verbs()
    if clause.verb.lemma == "be":
        return "be"
    return table.get(clause.verb.lemma, "no path")


@dataclass
class ClauseMeaning:
    """One clause: first what is visible when, then relations, then motions."""

    scene: Meaning
    clause: Clause
    kind: str
    start: Spot = (None, None)
    goals: list[Move] = field(default_factory=list)
    from_given: bool = False
    motion_tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = self.scene.cast.objects
        self.subjects = self.clause.subjects
        self.ledger = self.scene.ledger
        verb = self.clause.verb
        self.verb_tokens = list(range(verb.first, verb.stop)) if verb else []

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
        for complement in self.clause.complements:
            self._adverbial(complement)
        for complement in self.clause.complements:
            if complement.place:
                self._place(complement)
        for complement in self.clause.complements:
            if complement.objects:
                self._with_objects(complement)
        if self.clause.direct:
            self._direct()
        self._moves()

    def _mark(self, role: Role, tokens: list[int], check: str = "", objects: list[int] | None = None) -> None:
        self.ledger.set(role, *tokens, objects=self.subjects if objects is None else objects, check=check)

    def _negated(self) -> None:
        """ "does not move" is still; any other action that does not happen shows nowhere and need not."""
        for i in self.subjects:
            self.objects[i].moves = []
            self.objects[i].action = ""
            self.objects[i].is_still = True
        self._mark(Role.MOTION if self.kind != "no path" else Role.NOT_UNDERSTOOD, self.verb_tokens)

    def _passive(self) -> None:
        """The agent of "is chased by a dog" chases; "is thrown" and "is parked" say what becomes of the subject."""
        agents = [c for c in self.clause.complements if c.kind in ("by", "relation by") and c.objects]
        if self.kind in CARRIED | {"hold", "throw", "meet"} and agents:
            agent = agents[0]
            self.clause.complements.remove(agent)
            self.clause.direct, self.subjects = self.clause.subjects, agent.objects
            self.clause.subjects = self.subjects
            self._mark(Role.MOTION, agent.tokens)

    # ---- when

    def _times(self) -> None:
        part: tuple[float, float] | None = None
        for complement in self.clause.complements:
            if complement.kind == "visible first":
                part = (0.0, 0.5)
            elif complement.kind == "visible last":
                part = (0.5, 1.0)
            elif complement.kind in ("middle", "late", "early") and self.kind in ("appear", "disappear"):
                late = complement.kind != "early"
                part = (0.5, 1.0) if self.kind == "appear" and late else (0.0, 0.5) if late else None
            else:
                continue
            self._mark(Role.MOTION, complement.tokens, "visible")
        comes_from = any(
            c.kind in ("from", "out", "off", "relation out", "from spot") and (c.objects or c.spots)
            for c in self.clause.complements
        )
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

    # ---- where

    def _adverbial(self, complement: Complement) -> None:
        """Start, goals and paths that set phrases and particles name."""
        kind, value = complement.kind, complement.value
        used = True
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
            self.goals.append(Move((None, float(low)), "fall" if low and self.kind == "down" else "line"))
        elif kind in ("go left", "go right") or (kind == "particle" and value in ("left", "right")):
            if not self.kind:
                self._mark(Role.ATTRIBUTE, complement.tokens)  # "three cookies left"
                return
            self.goals.append(Move((float(kind == "go right" or value == "right"), None)))
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
            a, b = (complement.objects, self.subjects) if side == "left" else (self.subjects, complement.objects)
            self._relate("left", a, b)
            self._mark(Role.RELATION, complement.tokens)
            return
        self.goals.append(Move((float(side == "right"), None)))
        self.motion_tokens += complement.tokens

    def _place(self, complement: Complement) -> None:
        """What a place does to the motion: down a hill, into the sea, from the sky, to the bottom of a lake."""
        kind, place = complement.kind, complement.place.split()[-1]
        if not is_any(complement.place, "frame"):
            self._mark(Role.PLACE, complement.tokens)
        moving = self.kind not in STILL | {"no path"}
        upper, lower = place in SKY, place in GROUND
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

    def _climb(self, y: float) -> None:
        """Up or down something, and to the side that is said with it."""
        if len(self.goals) == 1 and self.goals[0].path == "line" and self.goals[0].goal[1] is None:
            self.goals = [Move((self.goals[0].goal[0], y))]
        else:
            self.goals.append(Move((None, y)))

    def _with_objects(self, complement: Complement) -> None:
        """A preposition with other objects: where the subject goes, or stands."""
        kind = complement.kind
        others = [i for i in complement.objects if i not in self.subjects]
        moving = self.kind not in STILL | {"no path", "place", "show", "appear", "wear"}
        if not others or not kind or RELATIONS.get(kind, ("", False))[0] == "" and kind != "between":
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
            if self.kind == "down" and kind == "from" or other.start[0] is None and self.kind == "down":
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

    def _relate(self, kind: str, a: list[int], b: list[int]) -> None:
        self.scene.relations += [Relation(kind, i, j) for i in a for j in b if i != j]

    def _beside_each_other(self) -> None:
        for i in self.subjects:
            if self.objects[i].start[1] is None and self.kind in STILL:
                self.objects[i].start = (self.objects[i].start[0], 1.0)
        for i, j in zip(self.subjects, self.subjects[1:], strict=False):
            self._relate("beside", [i], [j])

    def _against(self, kind: str) -> bool:
        """Two sides that move towards each other, or apart."""
        left, right = self.scene.cast.halves(self.subjects)
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

    # ---- what the verb does to its object

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

    # ---- motions of the subjects

    def _moves(self) -> None:
        kind = self.kind
        goals = self._completed(self.goals)
        if self.from_given and not goals:
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
        for i in self.subjects:
            item = self.objects[i]
            if assumed and item.is_assumed and kind == "go":
                continue
            item.is_assumed = assumed and not item.moves and bool(goals) and goals[0].goal[0] is not None
            if kind in ("still",) and not goals:
                item.is_still |= not item.moves
            if goals:
                item.is_still = False
            if self.clause.joined and item.moves and len(goals) == 1:
                merged = _merged(item.moves[-1], goals[0])
                if merged:
                    item.moves[-1] = merged
                    continue
            if item.stops and goals and kind != "stop":
                item.moves.append(Move())  # the stop, between what it did before and does then
                item.stops = False
            repeated = bool(goals) and item.moves[-1:] == goals[:1]
            item.moves += goals[1:] if repeated else goals
            item.action = item.action or (forms_of(self.clause) if kind else "")
            item.stops |= bool(item.moves) and kind == "stop"
        self._line_up(goals)
        self._account(kind, bool(goals))
        if assumed and goals and goals[0].goal[0] is not None:
            named = ", ".join(self.objects[i].phrase for i in self.subjects)
            self.scene.notes.append(f"{named}: no direction is given, the usual one is assumed")

    def _replace_assumed(self, goals: list[Move]) -> None:
        """What is said of the direction holds for the motion before, and for those that go along."""
        for i in self.subjects:
            if not self.objects[i].is_assumed:
                continue
            self.objects[i].moves = []
            along = {j for convoy in self.scene.convoys if i in convoy.members for j in convoy.members}
            for j in along - set(self.subjects):
                self.objects[j].moves = list(goals)

    def _line_up(self, goals: list[Move]) -> None:
        """Several that go sideways together: the first that is named goes ahead."""
        sideways = any(goal.goal[0] is not None and goal.path != "arc" for goal in goals)
        kinds = {is_any(self.objects[i].noun, "flyer") for i in self.subjects}
        plain = all(self.objects[i].x_range == (0.0, 1.0) for i in self.subjects)
        if sideways and len(self.subjects) > 1 and len(kinds) == 1 and plain and self.kind != "against":
            self.scene.convoys.append(Convoy(tuple(reversed(self.subjects))))

    def _stop(self) -> None:
        for i in self.subjects:
            self.objects[i].stops = bool(self.objects[i].moves)
        self._mark(Role.MOTION, [*self.verb_tokens, *self.motion_tokens])

    def _account(self, kind: str, moved: bool) -> None:
        """Roles of the verb and of what says where it leads."""
        self._mark(Role.MOTION, self.motion_tokens, "moves" if moved else "")
        if kind in ("still", "be", "stop", "arrive", "aux", "go", "show") or (kind == "place"):
            self._mark(Role.MOTION, self.verb_tokens, "moves" if kind == "go" or (moved and kind == "arrive") else "")
        elif kind not in ("no path", "appear", "disappear", "hold", "wear", "", "against"):
            self._mark(Role.MOTION, self.verb_tokens, "moves")
        elif kind == "appear" and moved:
            self._mark(Role.MOTION, self.verb_tokens, "moves")

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

    def _opposite(self) -> Move:
        """The move away from where it comes from: to the other side, along the axis that the verb moves in."""
        x, y = self.start
        if self.kind == "down":
            if self.clause.verb and self.clause.verb.lemma in GLIDING and x is not None:
                return Move((1 - x, 1.0))
            return Move((None, 1.0), "fall") if y is None or y < 0.5 or x is not None else Move((None, 1.0))
        if self.kind == "up":
            return Move((None if x is None else x, 0.0))
        if self.kind == "come in":
            return Move((0.5 if x is not None else None, 0.5 if y is not None else None))
        opposite = (None if x is None else 1 - x, None if y is None else 1 - y)
        return Move(opposite, STYLED.get(self.kind, "line") if self.kind != "down" else "fall")

    def _usual(self) -> list[Move]:
        """The usual move of the verb, unless it would contradict the place that is given, or what was said."""
        usual = USUAL[self.kind]
        items = [self.objects[i] for i in self.subjects]
        if self.kind == "throw" and not (self.clause.verb and self.clause.verb.passive):
            return []
        if self.kind in ("return",):
            moved = next((m.goal for item in items for m in item.moves if m.goal != (None, None)), (1.0, None))
            return [Move(tuple(None if v is None else 1 - v for v in moved))]  # type: ignore[arg-type]
        if (
            any(item.moves for item in items)
            and (self.kind in ("go", "leave") or usual.path in ("circle",))
            and (self.kind == "go")
        ):
            return []
        x = self.start[0]
        if self.kind == "leave" and x is not None:
            return [Move(self.start)]
        if usual.goal[0] is not None and x is not None and usual.path == "line":
            return [replace(usual, goal=(0.0 if x == 1.0 else 1.0, None))]
        return [usual]

    def _begin_at(self, goals: list[Move]) -> None:
        if self.start == (None, None):
            return
        for i in self.subjects:
            item = self.objects[i]
            if item.moves and not self.clause.joined:
                continue
            x = item.start[0] if self.start[0] is None else self.start[0]
            y = item.start[1] if self.start[1] is None else self.start[1]
            item.start = (x, y)


def forms_of(clause: Clause) -> str:
    return clause.verb.lemma if clause.verb else ""


def _path(name: str) -> list[Move]:
    if name == "oscillate":
        return [Move((1.0, None)), Move((0.0, None))]
    if name == "still":
        return []
    return [Move(path=name)]


def _combined(goals: list[Move]) -> list[Move]:
    """A path without a goal and a goal without a path, said together, are one move: "bounces to the right"."""
    lines = [g for g in goals if g.path in ("line",)]
    shapes = [g for g in goals if g.path in ("bounce", "zigzag", "arc") and g.goal == (None, None)]
    if len(lines) == 1 and len(shapes) == 1 and len(goals) == 2:
        return [Move(lines[0].goal, shapes[0].path)]
    return [goal for k, goal in enumerate(goals) if not k or goal != goals[k - 1]]


def _merged(a: Move, b: Move) -> Move | None:
    """Two moves at the same time as one, None where both say something of the same axis."""
    if a.path not in ("line", "fall", "bounce") or b.path not in ("line", "fall", "bounce"):
        return None
    if any(p is not None and q is not None and p != q for p, q in zip(a.goal, b.goal, strict=True)):
        return None
    x = a.goal[0] if b.goal[0] is None else b.goal[0]
    y = a.goal[1] if b.goal[1] is None else b.goal[1]
    return Move((x, y), "bounce" if "bounce" in (a.path, b.path) else "line")
