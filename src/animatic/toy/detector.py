"""A detector of toy-world sprites, which scores rendered and generated frames without knowledge of the prompt.

It is matching pursuit (Mallat & Zhang 1993): the sprite that explains most of the difference between the frame and the
bare backdrop is detected, its pixels are excluded, and the search is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from ..benchmarks.detect import DetectedBox
from ..errors import AnimaticError
from .residual import Detection, Residual, squared_distance
from .scan import HALF, PAD, POWER, STEP, SpritePlacement, scan
from .world import COLOURABLE, COLOURS, LARGEST, SIZE, SMALLEST, identify, sprite


class ToyDetector:
    """Detects toy-world sprites.

    Args:
        threshold: Lowest score, in 0..1, see `Detection`.
        visible: Smallest fraction of the silhouette that no other detection covers, in 0..1.
        most: Largest number of detections per frame.
    """

    def __init__(
        self,
        threshold: float = 0.55,
        visible: float = 0.5,
        most: int = 8,
    ) -> None:
        if not (0 < threshold <= 1 and 0 < visible <= 1 and most >= 1):
            raise AnimaticError(f"threshold {threshold}, visible {visible}, most {most}; want 0..1, 0..1, at least 1")
        self.threshold = threshold
        self.visible = visible
        self.most = most

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> list[list[Detection]]:
        """The detections in each frame of uint8 `[frame, 64, 64, 3]`, best first; frames are independent."""
        is_right = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[1:] == (SIZE, SIZE, 3)
        if not is_right:
            shape = list(frames.shape)
            raise AnimaticError(f"frames are {frames.dtype} {shape}; want uint8 [frame, {SIZE}, {SIZE}, 3]")
        pictures = frames.astype(np.float32) / 255
        residuals = [Residual(picture) for picture in pictures]

        # One detection per frame and round, in the frames that still have something unexplained.
        active = residuals
        for _ in range(self.most):
            active = [residual for residual in active if residual.may_hold_a_sprite()]
            if not active:
                break
            pictures = [residual.picture() for residual in active]
            noise = [residual.noise for residual in active]
            candidates = scan(pictures, noise)

            pairs = zip(active, candidates, strict=True)
            active = [residual for residual, placements in pairs if self._detect_one(residual, placements)]

        return [sorted(residual.found, key=lambda d: -d.score) for residual in residuals]

    def surest(self, frames: np.ndarray) -> list[Detection | None]:
        """The detection with the highest score in each frame of uint8 `[frame, 64, 64, 3]`, or None."""
        return [next(iter(finds), None) for finds in self(frames)]

    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]:
        """Detections that match a query such as "red car"; one that matches several counts for the first.

        Raises `AnimaticError` where a query names no object of the toy world.
        """
        # Queries as nouns and colours; a detection without a query is left out.
        names = [identify(query) for query in queries]
        found = []
        for detections in self(frames):
            boxes = []
            for detection in detections:
                query = self._matching_query(detection, names)
                if query is not None:
                    boxes.append(DetectedBox(query, detection.box, detection.score))
            found.append(boxes)
        return found

    def _matching_query(self, detection: Detection, names: Sequence[tuple[str, str]]) -> int | None:
        """Index of the first query with the noun of a detection, and with its colour where it names one."""
        for i, (noun, colour) in enumerate(names):
            if noun != detection.noun:
                continue
            if not colour or same_colour(noun, colour, detection.colour):
                return i
        return None

    def _detect_one(self, residual: Residual, placements: Sequence[SpritePlacement]) -> bool:
        """Add the best placement above the thresholds to the detections; returns whether there is one.

        The score includes the similarity of edges, because a blur of the right colour is no sprite.
        """
        best = 0.0
        chosen = None
        for candidate in placements:
            place = _refined(residual, candidate)
            gain, fraction, visible = residual.gain(place)
            if gain <= residual.least_gain or visible < self.visible:
                continue
            if fraction < self.threshold or gain * fraction**POWER <= best:
                continue  # the similarity of edges can only lower the score

            score = min(fraction, residual.edge_similarity(place))
            rank = gain * score**POWER
            if score >= self.threshold and rank > best:
                best = rank
                chosen = (place, score)

        if chosen is None:
            return False
        residual.exclude(*chosen)
        return True


def _refined(residual: Residual, place: SpritePlacement) -> SpritePlacement:
    """The placement near `place` with the highest rank, by hill climbing in steps of a pixel."""

    def rank(near: SpritePlacement) -> float:
        gain, fraction, _ = residual.gain(near)
        return max(gain, 0.0) * fraction**POWER

    def is_allowed(near: SpritePlacement) -> bool:
        if not SMALLEST <= near.side <= LARGEST:
            return False
        first = min(near.x, near.y)
        last = max(near.x, near.y) + near.side
        return first >= -PAD and last <= SIZE + PAD

    # Uphill until no step of a pixel is better.
    best = rank(place)
    at = place
    for _ in range(HALF + STEP):  # the resolution of the scan
        around = []
        for dx, dy, larger in _STEPS:
            near = at._replace(x=at.x + dx, y=at.y + dy, side=at.side + larger)
            if is_allowed(near):
                around.append(near)
        higher, found = max((rank(near), near) for near in around)
        if higher <= best:
            break
        best = higher
        at = found
    return at


_STEPS = (
    (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0),  # to a side
    (0, 0, 1), (-1, -1, 1), (-1, 0, 1), (0, -1, 1),  # larger: which corner stays
    (0, 0, -1), (1, 1, -1), (1, 0, -1), (0, 1, -1),
)  # fmt: skip


@cache
def same_colour(noun: str, a: str, b: str) -> bool:
    """Whether two colour names of a noun mean the same; "" equals the named colour nearest to the natural one."""
    if noun not in COLOURABLE or a == b:
        return True
    if a and b:
        return False

    def mean(colour: str) -> np.ndarray:
        picture = sprite(noun, colour, LARGEST)
        total = picture[..., :3].sum((0, 1))
        return total / picture[..., 3].sum()

    # The natural colours equal the named colour nearest to them on the mean.
    natural = mean("")
    nearest = min(COLOURS, key=lambda colour: float(squared_distance(mean(colour) - natural)))
    return (a or b) == nearest
