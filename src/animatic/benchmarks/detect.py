"""Looking at frames for named things: frames + queries -> Scene, whatever detector does the looking.

What follows the detector is as published (LMD `owl_vit_eval.py`, LVD `eval_owl_vit.py`): the least score, suppression
of overlapping boxes, one best box a name and frame, or every box where things are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import numpy as np

from ..scene import Box, Scene, Track
from .cases import DetectionSettings, area


@dataclass(frozen=True)
class DetectedBox:
    """A box in 0..1 that may show query number `query`, with a score in 0..1."""

    query: int
    box: Box
    score: float


class Detector(Protocol):
    """Looks for `queries` ("a red car", "cat") in uint8 `[frame, height, width, 3]`: what it found in each frame."""

    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]: ...


def sampled_frames(frames: int, wanted: int) -> list[int]:
    """Which frames are looked at: `wanted` of them, evenly spread, both ends included (LVD: 16 -> 0 3 6 9 12 15)."""
    return [round(float(i)) for i in np.linspace(0, frames - 1, wanted)]


def detect(
    detector: Detector,
    frames: np.ndarray,
    queries: Sequence[str],
    prompt: str,
    settings: DetectionSettings,
    all_boxes: bool = False,
) -> Scene:
    """What is seen, as a Scene of one key frame per frame: a track per query, absent where it is not seen.

    `several`: further tracks of the same phrase, the n-th for the n-th best box of each frame.
    """
    height, width = frames.shape[1:3]
    kept = [
        suppress([find for find in found if find.score >= settings.threshold], settings)
        for found in (detector.find(frames, queries) if queries else ())
    ]
    tracks = []
    for q, query in enumerate(queries):
        boxes = [
            [_whole(f.box, height, width) if settings.whole_pixels else f.box for f in row if f.query == q]
            for row in kept
        ]
        ranks = list(zip_longest(*boxes)) or [(None,) * len(frames)]  # the best box of every frame, the next best...
        tracks += [Track(query, rank) for rank in (ranks if all_boxes else ranks[:1])]
    return Scene(prompt, tuple(tracks), seconds=2.0 if len(frames) > 1 else 0.0)


def suppress(found: Sequence[DetectedBox], settings: DetectionSettings) -> list[DetectedBox]:
    """Non-maximum suppression: from the surest on, a box stays where its IoU with every kept one is below the limit.

    What is below the threshold goes first.
    """
    kept: list[DetectedBox] = []
    for find in sorted((f for f in found if f.score >= settings.threshold), key=lambda f: -f.score):
        rivals = (k for k in kept if not settings.class_aware or k.query == find.query)
        if all(overlap(find.box, k.box) < settings.nms for k in rivals):
            kept.append(find)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Intersection over union; 0 where neither has an area."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, w) * max(0.0, h)
    union = area(a) + area(b) - both
    return both / union if union > 0 else 0.0


def _whole(box: Box, height: int, width: int) -> Box:
    """Rounded to pixels (LVD)."""
    x0, x1 = (round(v * width) / width for v in box[::2])
    y0, y1 = (round(v * height) / height for v in box[1::2])
    return x0, y0, x1, y1
