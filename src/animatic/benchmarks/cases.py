"""Benchmarks of layouts: a case is a prompt and a predicate. The same predicates judge plans and detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from ..errors import AnimaticError
from ..scene import Box


class LayoutTrack(Protocol):
    """A thing with one box per key frame, None where it is absent."""

    @property
    def phrase(self) -> str: ...
    @property
    def boxes(self) -> Sequence[Box | None]: ...


class Layout(Protocol):
    """What predicates judge: a Scene, or a reply read as it stands, boxes off the canvas included."""

    @property
    def tracks(self) -> Sequence[LayoutTrack]: ...


@dataclass(frozen=True)
class Rules:
    """How strictly to judge. All off is as published.

    `positive`: a box must have an area. `named`: only things that bear the right name count.
    `margin`: by how much (of the frame) a place or an order must hold.
    """

    positive: bool = False
    named: bool = False
    margin: float = 0.0

    def is_present(self, box: Box | None) -> bool:
        """Whether a box counts as present; published: its right and lower edges are not 0."""
        if box is None:
            return False
        if self.positive:
            return box[2] > box[0] and box[3] > box[1]
        return box[2] != 0 and box[3] != 0

    def is_on_side(self, a: float, side: str, b: float) -> bool:
        """Whether `a` is on a side of `b`: left, top, upper, or any other for the right and lower ones."""
        low, high = (a, b) if side in ("left", "top", "upper") else (b, a)
        return low + self.margin < high


PUBLISHED = Rules()
RULES = {
    "published": PUBLISHED,
    "positive": Rules(positive=True),
    "named": Rules(named=True),
    "margin": Rules(margin=0.05),
    "strict": Rules(positive=True, named=True, margin=0.05),
}


def rules_named(name: str) -> Rules:
    """One of RULES. Raises `AnimaticError` where there is none of the name."""
    if name not in RULES:
        raise AnimaticError(f"unknown rules {name!r}; known: {', '.join(RULES)}")
    return RULES[name]


@dataclass(frozen=True)
class Case:
    """`queries` name what a detector must look for; `several`: every box of a name counts, not the best one only."""

    task: str
    prompt: str
    holds: Callable[[Layout, Rules], bool]
    queries: tuple[str, ...] = ()
    all_boxes: bool = False


@dataclass(frozen=True)
class DetectionSettings:
    """How detections become a layout: least score, overlap (IoU) at which the weaker of two boxes falls.

    `aware`: only boxes of one name compete. `whole`: boxes are rounded to whole pixels.
    """

    threshold: float = 0.1
    nms: float = 0.1
    class_aware: bool = True
    whole_pixels: bool = True


@dataclass(frozen=True)
class Benchmark:
    """Prompts with predicates. `kind` is image or video; predicates look at `frames`, evenly spread over a video."""

    name: str
    cases: Callable[[], list[Case]]
    kind: str = "video"
    frames: int = 6
    detection: DetectionSettings = DetectionSettings()


@dataclass(frozen=True)
class Tally:
    """Right answers of a task."""

    correct: int = 0
    total: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.correct + other.correct, self.total + other.total)

    @property
    def accuracy(self) -> float:
        return self.correct / self.total if self.total else 0.0

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's score interval of the share, 95 % by default."""
        if not self.total:
            return 0.0, 1.0
        n, p = self.total, self.accuracy
        middle, spread = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


@dataclass(frozen=True)
class BenchmarkResult:
    """Verdicts of a benchmark: tallies per task, and the indices of the cases that failed."""

    tasks: dict[str, Tally]
    failures: tuple[int, ...]

    @property
    def overall(self) -> Tally:
        return sum(self.tasks.values(), Tally())


def judge(cases: Sequence[Case], layouts: Sequence[Layout | None], rules: Rules = PUBLISHED) -> BenchmarkResult:
    """Judge one layout per case. None (nothing could be read or made) fails and stays in the denominator."""
    tasks: dict[str, Tally] = {}
    failures: list[int] = []
    for i, (case, layout) in enumerate(zip(cases, layouts, strict=True)):
        good = layout is not None and case.holds(layout, rules)
        tasks[case.task] = tasks.get(case.task, Tally()) + Tally(int(good), 1)
        if not good:
            failures.append(i)
    return BenchmarkResult(tasks, tuple(failures))


def first_track(layout: Layout, words: str) -> LayoutTrack | None:
    """The first thing whose name ends in `words` or has them before a space ("bobcat" is a cat, "cattle" is none)."""
    return next((t for t in layout.tracks if t.phrase.endswith(words) or words + " " in t.phrase), None)


def middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def centred(box: Box, goal: Box) -> bool:
    """Whether the middle of a box is in another one."""
    x, y = middle(box)
    return goal[0] <= x <= goal[2] and goal[1] <= y <= goal[3]


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
