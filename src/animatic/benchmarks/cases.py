"""Benchmarks of layouts: a case is a prompt and a predicate, which is evaluated on plans and on detections alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from ..errors import AnimaticError
from ..scene import Box


class LayoutTrack(Protocol):
    """A named object with one box per key frame, None where it is absent."""

    @property
    def phrase(self) -> str: ...
    @property
    def boxes(self) -> Sequence[Box | None]: ...


class Layout(Protocol):
    """What predicates judge: a Scene, or a reply as it was read, with boxes outside the frame."""

    @property
    def tracks(self) -> Sequence[LayoutTrack]: ...


@dataclass(frozen=True)
class Rules:
    """How strictly predicates are evaluated; the default is as published.

    `positive`: a box must have an area. `named`: only objects with the right name count. `margin`: by how much, as a
    fraction of the frame, a position or an order must hold.
    """

    positive: bool = False
    named: bool = False
    margin: float = 0.0

    def is_present(self, box: Box | None) -> bool:
        """Whether a box counts as present; published: its right and lower edges are not 0."""
        if box is None:
            return False
        if self.positive:
            x0, y0, x1, y1 = box
            return x1 > x0 and y1 > y0
        return box[2] != 0 and box[3] != 0

    def is_on_side(self, a: float, side: str, b: float) -> bool:
        """Whether `a` lies on a side of `b`: left, top or upper is the smaller coordinate, any other the larger."""
        # By at least the margin.
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
    """One prompt of a benchmark.

    `holds(layout, rules)`: the predicate. `queries`: object names that a detector is given. `all_boxes`: every box of a
    name counts, not the best one alone.
    """

    task: str
    prompt: str
    holds: Callable[[Layout, Rules], bool]
    queries: tuple[str, ...] = ()
    all_boxes: bool = False


@dataclass(frozen=True)
class DetectionSettings:
    """How detections become a layout.

    `threshold`: minimum score. `nms`: IoU from which the box of lower score is suppressed. `class_aware`: only boxes of
    the same query suppress each other. `whole_pixels`: boxes are rounded to whole pixels.
    """

    threshold: float = 0.1
    nms: float = 0.1
    class_aware: bool = True
    whole_pixels: bool = True


@dataclass(frozen=True)
class Benchmark:
    """A named set of cases.

    `kind`: image, video or story. `frames`: number of evenly spaced frames whose boxes predicates are given.
    """

    name: str
    cases: Callable[[], list[Case]]
    kind: str = "video"
    frames: int = 6
    detection: DetectionSettings = DetectionSettings()


@dataclass(frozen=True)
class Tally:
    """Correct answers of a task, of how many."""

    correct: int = 0
    total: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.correct + other.correct, self.total + other.total)

    @property
    def accuracy(self) -> float:
        return self.correct / self.total if self.total else 0.0

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's score interval of the accuracy, 95 % by default."""
        n = self.total
        if not n:
            return 0.0, 1.0

        # Unlike the normal approximation it is right for few cases, and for accuracies near 0 and 1.
        p = self.accuracy
        centre = p + z * z / (2 * n)
        of_mean = p * (1 - p) / n
        variance = of_mean + z * z / (4 * n * n)
        spread = z * sqrt(variance)
        scale = 1 + z * z / n
        low = max(0.0, (centre - spread) / scale)
        high = min(1.0, (centre + spread) / scale)
        return low, high


@dataclass(frozen=True)
class BenchmarkResult:
    """Tallies per task, and the indices of the cases that failed."""

    tasks: dict[str, Tally]
    failures: tuple[int, ...]

    @property
    def overall(self) -> Tally:
        return sum(self.tasks.values(), Tally())


def judge(cases: Sequence[Case], layouts: Sequence[Layout | None], rules: Rules = PUBLISHED) -> BenchmarkResult:
    """Evaluate each case's predicate on its layout. None (unreadable or not generated) counts as wrong."""
    tasks: dict[str, Tally] = {}
    failures: list[int] = []
    for i, (case, layout) in enumerate(zip(cases, layouts, strict=True)):
        # An unreadable reply or a failed job is a wrong answer, as in the papers.
        passed = layout is not None and case.holds(layout, rules)
        before = tasks.get(case.task, Tally())
        tasks[case.task] = before + Tally(int(passed), 1)
        if not passed:
            failures.append(i)
    return BenchmarkResult(tasks, tuple(failures))


def first_track(layout: Layout, words: str) -> LayoutTrack | None:
    """The first track whose phrase ends in `words`, or has them before a space.

    So "cat" also finds "bobcat", but not "cattle", as in the original evaluations.
    """
    for track in layout.tracks:
        if track.phrase.endswith(words) or words + " " in track.phrase:
            return track
    return None


def middle(box: Box) -> tuple[float, float]:
    """The centre of a box."""
    x0, y0, x1, y1 = box
    return (x0 + x1) / 2, (y0 + y1) / 2


def centred(box: Box, goal: Box) -> bool:
    """Whether the centre of a box lies in another box."""
    x, y = middle(box)
    x0, y0, x1, y1 = goal
    return x0 <= x <= x1 and y0 <= y <= y1


def area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)
