"""Object detection in frames: frames + queries -> Scene, with any detector.

Post-processing is as published (LMD `owl_vit_eval.py`, arXiv 2305.13655; LVD `eval_owl_vit.py`, arXiv 2309.17444): a
score threshold, non-maximum suppression, then the best box per query and frame, or every box where objects are counted.
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
    """An open-vocabulary detector."""

    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]:
        """The candidate boxes of each frame, for `queries` such as "a red car"; `frames` uint8 `[frame, height, width,
        3]`.

        Raises `AnimaticError` where the detector cannot handle a query.
        """
        ...


def sampled_frames(frames: int, count: int) -> list[int]:
    """Indices of `count` evenly spaced frames, first and last included (LVD: 6 of 16 are 0 3 6 9 12 15)."""
    evenly = np.linspace(0, frames - 1, count)
    return [round(float(i)) for i in evenly]


def detect(
    detector: Detector,
    frames: np.ndarray,
    queries: Sequence[str],
    prompt: str,
    settings: DetectionSettings,
    all_boxes: bool = False,
) -> Scene:
    """Detections as a Scene with one key frame per frame, and a track per query: None where nothing was found.

    Args:
        frames: uint8 `[frame, height, width, 3]`.
        all_boxes: further tracks of the same phrase, the n-th with the n-th best box of each frame; for counting.
    """
    # Without a query there is nothing to detect: the scene has no tracks.
    height, width = frames.shape[1:3]
    found = detector.find(frames, queries) if queries else []
    kept = [suppress(boxes, settings) for boxes in found]

    tracks: list[Track] = []
    for q, query in enumerate(queries):
        # The boxes of this query in each frame, best first.
        boxes = [[detection.box for detection in frame if detection.query == q] for frame in kept]
        if settings.whole_pixels:
            boxes = [[_rounded(box, height, width) for box in frame] for frame in boxes]

        # The best box of every frame, then the second best, ...
        ranks = list(zip_longest(*boxes))
        if not ranks:
            ranks = [(None,) * len(frames)]
        if not all_boxes:
            ranks = ranks[:1]

        # A frame without a box of this rank has None.
        tracks += [Track(query, rank) for rank in ranks]
    return Scene(prompt, tuple(tracks), seconds=2.0 if len(frames) > 1 else 0.0)


def suppress(found: Sequence[DetectedBox], settings: DetectionSettings) -> list[DetectedBox]:
    """Greedy non-maximum suppression: in order of score, a box is kept where its IoU with all kept ones is below `nms`.

    Boxes below the score threshold are dropped first.
    """
    candidates = [box for box in found if box.score >= settings.threshold]
    candidates.sort(key=lambda box: -box.score)

    # Only boxes that are kept suppress others.
    kept: list[DetectedBox] = []
    for candidate in candidates:
        rivals = kept
        if settings.class_aware:
            rivals = [box for box in kept if box.query == candidate.query]
        if all(overlap(candidate.box, rival.box) < settings.nms for rival in rivals):
            kept.append(candidate)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Intersection over union; 0 where neither has an area."""
    x0, y0, x1, y1 = a
    u0, v0, u1, v1 = b
    width = min(x1, u1) - max(x0, u0)
    height = min(y1, v1) - max(y0, v0)
    intersection = max(0.0, width) * max(0.0, height)
    union = area(a) + area(b) - intersection
    return intersection / union if union > 0 else 0.0


def _rounded(box: Box, height: int, width: int) -> Box:
    """A box rounded to whole pixels, as in LVD's evaluation."""
    x0, x1 = (round(x * width) / width for x in box[::2])
    y0, y1 = (round(y * height) / height for y in box[1::2])
    return x0, y0, x1, y1
