"""60 prompts outside the templates of LMD and LVD, with predicates on the plan; written before any planner was tuned.

What a prompt leaves open is not judged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..scene import Box
from .cases import Case, Layout, LayoutTrack, Rules, area, middle

Check = Callable[[Layout], bool]
MIN_SHIFT = 0.15  # of the frame: what counts as a move


def named(layout: Layout, noun: str) -> list[LayoutTrack]:
    """Tracks whose phrase has the noun as a word."""
    return [t for t in layout.tracks if noun in t.phrase.lower().split()]


def present(track: LayoutTrack) -> list[Box]:
    return [box for box in track.boxes if box is not None]


def count(noun: str, number: int) -> Check:
    return lambda layout: len(named(layout, noun)) == number


def object_count(number: int) -> Check:
    """How many objects there are in all."""
    return lambda layout: len(layout.tracks) == number


def goes(noun: str, x: int = 0, y: int = 0) -> Check:
    """From its first to its last box each object of the name moves in this direction; 0 is by less than MIN_SHIFT."""

    def direction(begin: float, end: float) -> int:
        shift = end - begin
        if abs(shift) <= MIN_SHIFT:
            return 0
        return 1 if shift > 0 else -1

    # Both axes, from the first box to the last.
    def way(track: LayoutTrack) -> tuple[int, int]:
        boxes = present(track)
        x0, y0 = middle(boxes[0])
        x1, y1 = middle(boxes[-1])
        return direction(x0, x1), direction(y0, y1)

    return lambda layout: {way(track) for track in named(layout, noun)} == {(x, y)}


def firsts(holds: Callable[..., bool], *nouns: str) -> Check:
    """The first object of each name is there, and `holds` is true of their tracks."""

    def check(layout: Layout) -> bool:
        found = [named(layout, noun) for noun in nouns]
        return all(found) and holds(*(tracks[0] for tracks in found))

    return check


def order(noun: str, other: str, axis: int) -> Check:
    """The first is left of (axis 0) or above (axis 1) the second in every frame that shows both."""

    def before(a: LayoutTrack, b: LayoutTrack) -> bool:
        # A frame without one of them says nothing; at least one must show both.
        shown = False
        for p, q in zip(a.boxes, b.boxes, strict=True):
            if p is None or q is None:
                continue
            shown = True
            if middle(p)[axis] >= middle(q)[axis]:
                return False
        return shown

    return firsts(before, noun, other)


def at(noun: str, frame: int, left: bool | None = None, top: bool | None = None) -> Check:
    """In this frame the object is in the left (or right) half, the upper (or lower) half."""

    def inside(track: LayoutTrack) -> bool:
        box = track.boxes[frame]
        if box is None:
            return False

        # None leaves an axis open.
        x, y = middle(box)
        return left in (None, x < 0.5) and top in (None, y < 0.5)

    return firsts(inside, noun)


def visible(noun: str, first: bool, last: bool) -> Check:
    """Whether the object is present in the first and in the last frame."""

    def check(track: LayoutTrack) -> bool:
        begins = track.boxes[0] is not None
        ends = track.boxes[-1] is not None
        return (begins, ends) == (first, last)

    return firsts(check, noun)


def grows(noun: str, by: int) -> Check:
    """An object's box becomes larger (1) or smaller (-1)."""

    def check(track: LayoutTrack) -> bool:
        a, b = (area(present(track)[i]) for i in (0, -1))
        return b > 1.3 * a if by > 0 else a > 1.3 * b

    return firsts(check, noun)


def arcs(noun: str) -> Check:
    """In some middle frame the object is higher than at both ends."""

    def check(track: LayoutTrack) -> bool:
        first, *between, last = (middle(box)[1] for box in present(track))
        return min(between, default=1.0) + 0.1 < min(first, last)

    return firsts(check, noun)


def larger(noun: str, other: str) -> Check:
    """In its first frame the object is larger than the other one in its own."""

    def check(a: LayoutTrack, b: LayoutTrack) -> bool:
        first_a = present(a)[0]
        first_b = present(b)[0]
        return area(first_a) > area(first_b)

    return firsts(check, noun, other)


PROMPTS: tuple[tuple[str, tuple[Check, ...]], ...] = (
    ("A penguin slides from left to right across the ice", (count("penguin", 1), goes("penguin", 1))),
    ("the train is moving leftwards", (count("train", 1), goes("train", -1))),
    ("A rocket launches upwards into the sky", (count("rocket", 1), goes("rocket", 0, -1))),
    ("An apple drops from the top to the bottom", (count("apple", 1), goes("apple", 0, 1))),
    ("a kite climbs diagonally up to the right", (count("kite", 1), goes("kite", 1, -1))),
    ("A skier goes down diagonally to the left", (count("skier", 1), goes("skier", -1, 1))),
    ("A leaf falls slowly to the ground", (count("leaf", 1), goes("leaf", 0, 1))),
    ("A snail creeps toward the upper left corner", (count("snail", 1), goes("snail", -1, -1))),
    ("a truck is driving towards the camera", (count("truck", 1), grows("truck", 1))),
    ("A ship sails away into the distance", (count("ship", 1), grows("ship", -1))),
    ("A bee flies in circles", (count("bee", 1), goes("bee"))),
    ("A basketball bounces on the floor", (count("basketball", 1), arcs("basketball"))),
    ("a frisbee is thrown from left to right", (count("frisbee", 1), goes("frisbee", 1), arcs("frisbee"))),
    ("A boy kicks a ball to the right", (count("ball", 1), count("boy", 1), goes("ball", 1))),
    ("the taxi drives to the right and then stops", (count("taxi", 1), goes("taxi", 1))),
    ("Five ducks", (count("duck", 5),)),
    ("two zebras and three giraffes in the desert", (count("zebra", 2), count("giraffe", 3), object_count(5))),
    ("a pair of shoes", (count("shoe", 2), object_count(2))),
    ("4 sheep on a meadow", (object_count(4),)),
    ("a red umbrella next to a yellow umbrella", (count("umbrella", 2), count("red", 1), count("yellow", 1))),
    ("a tiny mouse and a huge elephant", (larger("elephant", "mouse"), object_count(2))),
    ("a big box and a small box", (count("box", 2), object_count(2))),
    ("A lamp to the right of a sofa", (order("sofa", "lamp", 0), object_count(2))),
    ("a clock above a fireplace", (order("clock", "fireplace", 1), object_count(2))),
    ("a rug below a table", (order("table", "rug", 1), object_count(2))),
    ("a fountain between two statues", (count("fountain", 1), count("statue", 2))),
    ("a vase between a candle and a mirror", (order("candle", "vase", 0), order("vase", "mirror", 0))),
    ("On the left is a monkey, on the right is a tiger", (order("monkey", "tiger", 0), object_count(2))),
    ("There is a lighthouse on the right side of the picture", (at("lighthouse", 0, left=False), object_count(1))),
    (
        "a moon in the upper left corner and a castle at the bottom",
        (at("moon", 0, True, True), at("castle", 0, None, False)),
    ),
    ("A parrot sits on top of a pirate", (order("parrot", "pirate", 1), object_count(2))),
    ("Under the bridge there is a boat", (order("bridge", "boat", 1), object_count(2))),
    ("A rabbit hops from right to left past a fox", (goes("rabbit", -1), goes("fox"), object_count(2))),
    ("a wolf chases a deer to the left", (goes("wolf", -1), goes("deer", -1), order("deer", "wolf", 0))),
    ("A duck is followed by nobody and swims to the right", (goes("duck", 1),)),
    ("a helicopter flies to the left while a bus drives to the right", (goes("helicopter", -1), goes("bus", 1))),
    ("A balloon rises and a stone falls", (goes("balloon", 0, -1), goes("stone", 0, 1), object_count(2))),
    ("a swan and a goose swim from the right to the left", (goes("swan", -1), goes("goose", -1))),
    ("A crab walks to the right, then up", (goes("crab", 1, -1), object_count(1))),
    ("First the robot moves to the top, then it moves to the left", (goes("robot", -1, -1), object_count(1))),
    (
        "A drone starts in the lower right corner and flies to the upper left",
        (at("drone", 0, False, False), at("drone", -1, True, True)),
    ),
    ("a ghost appears in the second half of the video", (visible("ghost", False, True),)),
    ("The wizard disappears halfway", (visible("wizard", True, False),)),
    ("A comet is visible only in the first half", (visible("comet", True, False),)),
    ("a garden without flowers, with a bench", (count("bench", 1), count("flower", 0))),
    ("a plate with no fork", (count("plate", 1), count("fork", 0))),
    ("a sleeping lion", (count("lion", 1), goes("lion"))),
    ("a parked bicycle", (count("bicycle", 1), goes("bicycle"))),
    ("An owl sits still on a branch at night", (count("owl", 1), goes("owl"))),
    ("A running horse on the beach", (count("horse", 1),)),
    ("a flock of birds in the sky", (lambda layout: len(named(layout, "bird")) >= 3,)),
    ("a black and white cow", (object_count(1), count("cow", 1))),
    ("A girl carries a basket from left to right", (goes("girl", 1), goes("basket", 1), object_count(2))),
    ("A squirrel climbs up a tree", (goes("squirrel", 0, -1), goes("tree"))),
    ("A penguin jumps up and down", (count("penguin", 1), arcs("penguin"))),
    ("a pendulum swings back and forth", (count("pendulum", 1),)),
    ("A frog leaps over a log", (count("frog", 1), count("log", 1))),
    ("Two planes fly in opposite directions", (count("plane", 2),)),
    ("a photo of a blue bicycle leaning against a wall", (count("bicycle", 1), count("wall", 1))),
    ("The camel is walking from the right side to the left side of the desert", (count("camel", 1), goes("camel", -1))),
)  # fmt: skip


def cases() -> list[Case]:
    return [Case("wild", prompt, partial(_all_hold, checks=checks)) for prompt, checks in PROMPTS]


def _all_hold(layout: Layout, rules: Rules, checks: tuple[Check, ...]) -> bool:
    return all(check(layout) for check in checks)
