"""An object of the toy world and its path: where it is at each time, and how large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..planning.motions import Path, still
from ..scene import Box, Track
from .world import LARGEST, SIZE, SMALLEST, tight

Ease = Callable[[float], float]  # easing: time -> position on the path, both in 0..1

EASES: tuple[Ease, ...] = (
    lambda u: u,
    lambda u: u * u * (3 - 2 * u),  # ease in and out
    lambda u: u * (2 - u),  # ease out
    lambda u: (u + u * u) / 2,  # ease in
)

WEIGHTS_OF_EASES = (5, 3, 1, 1)


@dataclass
class ToyObject:
    """An object and its path.

    `side` is in pixels; `spot` and `path` are in fractions of the range of places inside the frame; `visible` is the
    interval of time, in 0..1, in which the object is there.
    """

    noun: str
    colour: str
    side: int
    spot: tuple[float, float]
    path: Path = still
    ease: Ease = EASES[0]
    visible: tuple[float, float] = (0.0, 1.0)

    def snap(self, grid: int) -> None:
        """Round its size and its spot to multiples of `grid` pixels; what its path sets is left alone."""
        self.side = max(SMALLEST, min(LARGEST, round(self.side / grid) * grid))
        span = SIZE - self.side
        x, y = (round(place * span / grid) * grid / span for place in self.spot)
        self.spot = (x, y)

    def track(self, frames: int) -> Track:
        """Its boxes in `frames` key frames, not rounded to pixels; a single frame shows the middle of the path."""
        boxes: list[Box | None] = []
        for f in range(frames):
            # Time in 0..1; a single frame shows the middle.
            u = f / (frames - 1) if frames > 1 else 0.5
            if not self.visible[0] <= u <= self.visible[1]:
                boxes.append(None)
                continue

            # A path leaves open what the motion does not change.
            x, y, scale = self.path(self.ease(u))
            side = max(SMALLEST, min(LARGEST, self.side * scale))
            x = self.spot[0] if x is None else x
            y = self.spot[1] if y is None else y

            # Places are fractions of the room that the square leaves.
            span = SIZE - side
            box = tight(self.noun, x * span, y * span, side)
            boxes.append(box)
        phrase = f"{self.colour} {self.noun}".strip()
        return Track(phrase, tuple(boxes))
