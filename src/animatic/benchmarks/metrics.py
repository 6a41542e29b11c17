"""Numbers of one video: does it follow its plan, does it move, and how evenly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import AnimaticError
from ..scene import Box, Scene
from .cases import centred, middle
from .detect import overlap

SHORT = 256  # pixels of the shorter side at which motion is measured
FAST = 6.0  # pixels between two frames at that size: VBench's limit of a video that moves


def agreement(plan: Scene, seen: Scene, frames: int, looked: Sequence[int]) -> dict[str, float]:
    """How well what was seen follows the plan, in 0..1, over planned boxes of the frames `looked` at.

    `in box`: the share whose thing has its middle inside; `iou`: the mean overlap. What was not seen counts 0. Only
    planned things that `seen` has a track for are judged; there are no numbers where there is none.
    """
    at = plan.at(frames)
    inside: list[float] = []
    ious: list[float] = []
    for query in dict.fromkeys(track.phrase for track in seen.tracks):
        goals = [track for track in at.tracks if _names(query) <= _names(track.phrase)]
        finds = [track for track in seen.tracks if track.phrase == query]
        for i, f in enumerate(looked):
            wanted = [box for t in goals if (box := t.boxes[f]) is not None]
            for goal, find in _pairs(wanted, [box for t in finds if (box := t.boxes[i]) is not None]):
                inside.append(float(find is not None and centred(find, goal)))
                ious.append(overlap(find, goal) if find is not None else 0.0)
    return {"in box": float(np.mean(inside)), "iou": float(np.mean(ious))} if inside else {}


def _names(phrase: str) -> set[str]:
    return set(phrase.lower().split()) - {"a", "an", "the"}


def _pairs(goals: list[Box], finds: list[Box]) -> list[tuple[Box, Box | None]]:
    """Every goal with a find of its own, the pairs that overlap most first, then the nearest."""

    def cost(pair: tuple[int, int]) -> tuple[float, float]:
        a, b = goals[pair[0]], finds[pair[1]]
        (x, y), (u, v) = middle(a), middle(b)
        return -overlap(a, b), (x - u) ** 2 + (y - v) ** 2

    given: dict[int, int] = {}
    for g, f in sorted(((g, f) for g in range(len(goals)) for f in range(len(finds))), key=cost):
        if g not in given and f not in given.values():
            given[g] = f
    return [(goal, finds[given[g]] if g in given else None) for g, goal in enumerate(goals)]


def cosines(features: np.ndarray) -> np.ndarray:
    """Cosine of each frame's features with the next frame's: `[frame, channel]` -> `[frame - 1]`."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return (unit[1:] * unit[:-1]).sum(1)


def cscv(features: np.ndarray) -> float:
    """Clip similarity coefficient of variation (DiTCtrl, Cai et al. 2025): 1 / (1 + 10 std / mean) of `cosines`.

    1 is most even. A video that stands still, or turns at one speed, also gets 1: read it beside the dynamic degree.
    NaN where the mean is 0.
    """
    similar = cosines(features.astype(np.float64))
    mean = similar.mean()
    return float(1 / (1 + 10 * similar.std() / mean)) if mean else float("nan")


def motion(frames: np.ndarray) -> dict[str, float]:
    """Of uint8 `[frame, height, width, 3]`, in VBench's definitions (Huang et al. 2024) with DIS optical flow.

    `dynamic`: 1 where the fastest 5 % of pixels move by more than 6 pixels (of 256) in a quarter of the frames; VBench
    takes RAFT's flow. `smoothness`: 1 - the error (of 255) of every second frame made from its neighbours, for which
    VBench takes AMT. So neither compares with VBench's own tables.
    """
    try:
        import cv2
    except ImportError:
        raise AnimaticError("motion needs OpenCV; install animatic[measure]") from None
    if len(frames) < 3:
        return {}
    scale = SHORT / min(frames.shape[1:3])
    size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
    large = [cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in frames]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in large]
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def fastest(a: Any, b: Any) -> float:
        speed = np.linalg.norm(flow.calc(a, b, None), axis=-1).ravel()
        return float(np.sort(speed)[-max(1, len(speed) // 20) :].mean())

    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    errors = []
    for i in range(1, len(large) - 1, 2):
        half = flow.calc(grey[i - 1], grey[i + 1], None) / 2
        sides = [
            cv2.remap(large[i + k], x + k * half[..., 0], y + k * half[..., 1], cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
            for k in (-1, 1)
        ]  # fmt: skip
        errors.append(np.abs((sides[0] + sides[1]) / 2 - large[i]).mean() / 255)
    speeds = [fastest(a, b) for a, b in pairwise(grey)]
    moving = sum(speed > FAST for speed in speeds) >= max(1, round(len(frames) / 4))
    return {"dynamic": float(moving), "smoothness": 1 - float(np.mean(errors))}
