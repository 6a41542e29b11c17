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


def agreement(plan: Scene, detections: Scene, frames: int, indices: Sequence[int]) -> dict[str, float]:
    """How well the detections follow the plan.

    Args:
        plan: the planned scene.
        detections: the detected scene, one key frame for each of `indices`.
        frames: number of frames of the video.
        indices: the frames that were given to the detector.

    Returns:
        Means in 0..1 over the planned boxes of these frames: `in box`, the fraction whose object was detected with its
        centre inside, and `iou`. An undetected object counts 0. Only planned objects that `detections` has a track for
        are counted; the result is empty where there is none.
    """
    # Of each query the planned boxes of its objects, compared frame by frame with what was detected.
    planned = plan.at(frames)
    inside: list[float] = []
    ious: list[float] = []
    queries = dict.fromkeys(track.phrase for track in detections.tracks)
    for query in queries:
        words = _words(query)
        goals = [track for track in planned.tracks if words <= _words(track.phrase)]

        # Several tracks of one query are its boxes, the best first.
        finds = [track for track in detections.tracks if track.phrase == query]
        for i, frame in enumerate(indices):
            goal_boxes = [box for track in goals if (box := track.boxes[frame]) is not None]
            found_boxes = [box for track in finds if (box := track.boxes[i]) is not None]

            # Objects of one phrase are exchangeable: each goal gets the detection that fits it best.
            for goal, found in _pairs(goal_boxes, found_boxes):
                if found is None:
                    inside.append(0.0)
                    ious.append(0.0)
                else:
                    inside.append(float(centred(found, goal)))
                    ious.append(overlap(found, goal))
    if not inside:
        return {}
    return {"in box": float(np.mean(inside)), "iou": float(np.mean(ious))}


def _pairs(goals: list[Box], found: list[Box]) -> list[tuple[Box, Box | None]]:
    """Each goal with a detected box of its own: greedily by overlap, then by distance."""

    def cost(pair: tuple[int, int]) -> tuple[float, float]:
        goal = goals[pair[0]]
        box = found[pair[1]]
        x, y = middle(goal)
        u, v = middle(box)
        distance = (x - u) ** 2 + (y - v) ** 2
        return -overlap(goal, box), distance

    # The best pair first; each box is used once.
    every_pair = [(g, f) for g in range(len(goals)) for f in range(len(found))]
    every_pair.sort(key=cost)
    assigned: dict[int, int] = {}
    for g, f in every_pair:
        if g not in assigned and f not in assigned.values():
            assigned[g] = f
    pairs: list[tuple[Box, Box | None]] = []
    for g, goal in enumerate(goals):
        pairs.append((goal, found[assigned[g]] if g in assigned else None))
    return pairs


def cosines(features: np.ndarray) -> np.ndarray:
    """Cosine of each frame's features with the next frame's: `[frame, channel]` -> `[frame - 1]`."""
    # Vectors of length 1, whose products are cosines.
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / lengths
    return (unit[1:] * unit[:-1]).sum(1)


def cscv(features: np.ndarray) -> float:
    """Clip similarity coefficient of variation (DiTCtrl, arXiv 2412.18597): 1 / (1 + 10 std / mean) of `cosines`.

    1 is the most even. A still video, or one that changes at constant speed, also gets 1, so the value must be read
    together with the dynamic degree. NaN where the mean is 0.
    """
    # float64, since small differences of numbers near 1 are measured.
    similarities = cosines(features.astype(np.float64))
    mean = similarities.mean()
    if not mean:
        return float("nan")
    return float(1 / (1 + 10 * similarities.std() / mean))


def motion(frames: np.ndarray) -> dict[str, float]:
    """Dynamic degree and motion smoothness in VBench's definitions (arXiv 2311.17982), with DIS optical flow.

    Args:
        frames: uint8 `[frame, height, width, 3]`; fewer than three frames have no values.

    Returns:
        `dynamic`: 1 where the fastest 5 % of pixels move by more than 6 pixels (of 256) in a quarter of the frames;
        VBench uses RAFT's flow. `smoothness`: 1 - the error (of 255) of every second frame interpolated from its
        neighbours, for which VBench uses AMT. Neither value is comparable with VBench's own tables.
    """
    try:
        import cv2
    except ImportError:
        raise AnimaticError("motion needs OpenCV; install animatic[measure]") from None
    if len(frames) < 3:
        return {}

    # All videos are measured at one size.
    height, width = frames.shape[1:3]
    scale = SHORT / min(height, width)
    size = (round(width * scale), round(height * scale))
    large = [cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in frames]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in large]

    # DIS: fast, and on this measure close enough to a learnt flow.
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def fastest(a: Any, b: Any) -> float:
        """Mean speed of the fastest 5 % of pixels, in pixels per frame."""
        motions = flow.calc(a, b, None)
        speed = np.linalg.norm(motions, axis=-1).ravel()
        count = max(1, len(speed) // 20)
        top = np.sort(speed)[-count:]
        return float(top.mean())

    # Smoothness: both neighbours of every second frame are warped halfway along the flow, and their mean is compared.
    new_width, new_height = size
    y, x = np.mgrid[0:new_height, 0:new_width].astype(np.float32)
    errors = []
    for i in range(1, len(large) - 1, 2):
        whole = flow.calc(grey[i - 1], grey[i + 1], None)
        half = whole / 2
        warped = []
        for k in (-1, 1):
            map_x = x + k * half[..., 0]
            map_y = y + k * half[..., 1]
            side = cv2.remap(large[i + k], map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            warped.append(side.astype(np.float32))
        interpolated = (warped[0] + warped[1]) / 2
        error = np.abs(interpolated - large[i]).mean()
        errors.append(error / 255)

    # Dynamic degree: enough frames with fast pixels.
    speeds = [fastest(a, b) for a, b in pairwise(grey)]
    fast = sum(speed > FAST for speed in speeds)
    is_moving = fast >= max(1, round(len(frames) / 4))
    return {"dynamic": float(is_moving), "smoothness": 1 - float(np.mean(errors))}


def _words(phrase: str) -> set[str]:
    # Articles do not name an object.
    return set(phrase.lower().split()) - {"a", "an", "the"}
