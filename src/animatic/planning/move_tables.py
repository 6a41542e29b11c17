"""Tables of the offline planner: what prepositions and kinds of motion mean for boxes."""

from __future__ import annotations

from .paths import Move

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

SKY = frozenset("sky air clouds space".split())
GROUND = frozenset("ground floor earth water sea ocean".split())
