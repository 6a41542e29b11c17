"""How frames of the toy world are judged: what a detector finds in them, against the case that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...benchmarks.cases import centred, middle
from ...scene import Box, Scene, Track
from ..detector import same_colour
from ..residual import Detection, behind
from ..world import SIZE, draw, place, tight
from .held_out import HeldOutCase

NEAR = 3.0  # largest error of a centre, in pixels
FAR = 0.15  # smallest motion that counts, as a fraction of the frame
FILLED = (0.75, 1.33)  # the area of one whole object, in areas of its sprite
VISIBLE = 0.02  # squared colour distance from the backdrop at which a pixel belongs to an object


def judge_one(case: HeldOutCase, frames: np.ndarray, finds: Sequence[Sequence[Detection]]) -> dict[str, float]:
    """Scores of a case with one object in uint8 `[frame, SIZE, SIZE, 3]`, given the detections in each frame.

    Noun and colour are right where they are in at least half of the frames. Other fractions are of frames; areas and
    distances are means over the frames with a detection.
    """
    tracks = case.scene.at(len(frames)).tracks
    boxes = tracks[0].boxes if tracks else (None,) * len(frames)
    of_frames = zip(frames, finds, boxes, strict=True)
    parts = [judge_frame(case, frame, found, box) for frame, found, box in of_frames]

    # Means over frames; the object has its noun where most frames show it.
    result: dict[str, float] = {}
    for key in parts[0] | parts[-1]:
        values = [part[key] for part in parts if key in part]
        result[key] = float(np.mean(values))
    for key in ("noun", "colour"):
        if key in result:
            result[key] = float(result[key] >= 0.5)

    # How it moves.
    surest = [next(iter(found), None) for found in finds]
    if case.motion:
        result["way"] = float(moved(surest) == case.motion)
    measured_jerk = jerk_of_finds(surest)
    if measured_jerk is not None:
        result["jerk"] = measured_jerk
    if tracks:  # to whole pixels, as the world draws it
        noun = case.objects[0][0]
        drawn = [tight(noun, *place(box)) for box in boxes if box]
        result["jerk of truth"] = jerk([middle(box) for box in drawn])
    return result


def judge_frame(case: HeldOutCase, frame: np.ndarray, finds: Sequence[Detection], box: Box | None) -> dict[str, float]:
    """The scores of one frame, by its best detection and the number of detections; `box` is the one of the scene."""
    noun, colour = case.objects[0]
    best = next(iter(finds), None)
    is_single = len(finds) == 1
    has_noun = best is not None and best.noun == noun
    result = {"noun": float(has_noun), "one object": float(is_single)}
    if colour:
        is_right = best is not None and same_colour(best.noun, colour, best.colour)
        result["colour"] = float(is_right)

    area = None if best is None else filled(frame, best, case.scene.background)
    if area is not None:
        result["area"] = area
    low, high = FILLED
    is_whole = area is not None and low <= area <= high
    result["one whole object"] = float(is_single and is_whole)

    if box is not None:
        off = np.inf if best is None else distance(best.box, box)
        result["within 3 px"] = float(off <= NEAR)
        is_inside = best is not None and centred(best.box, box)
        result["centre in box"] = float(is_inside)
        if best is not None:
            result["px off"] = off
    return result


def judge_all(case: HeldOutCase, finds: Sequence[Sequence[Detection]]) -> dict[str, float]:
    """Whether each of several objects is in its box with its colour, in at least half of the frames."""

    def there(noun: str, colour: str, box: Box | None, found: Sequence[Detection]) -> bool:
        if box is None:
            return False
        named = [d for d in found if d.noun == noun]
        if colour:
            named = [d for d in named if same_colour(noun, colour, d.colour)]
        return any(centred(d.box, box) for d in named)

    # An object is right where it is in its box in most frames.
    tracks = case.scene.at(len(finds)).tracks
    right = []
    for (noun, colour), track in zip(case.objects, tracks, strict=True):
        hits = []
        for box, found in zip(track.boxes, finds, strict=True):
            hits.append(there(noun, colour, box, found))
        right.append(np.mean(hits) >= 0.5)
    return {"all right": float(all(right)), "objects right": float(np.mean(right))}


def filled(frame: np.ndarray, found: Detection, background: str) -> float | None:
    """The area that is not backdrop, in areas of the detected sprite; None where the sprite resembles the backdrop."""
    # The sprite alone, drawn by the world, is the measure.
    phrase = f"{found.colour} {found.noun}".strip()
    alone = Scene(phrase, (Track(phrase, (found.box,)),), background)
    rendered, cover = draw(alone, 1)
    drawn = covered(rendered[0])
    is_distinct = drawn > 0.8 * (cover > 0.5).sum()
    return covered(frame) / drawn if is_distinct else None


def covered(frame: np.ndarray) -> int:
    """The number of pixels of uint8 `[SIZE, SIZE, 3]` that differ from its backdrop."""
    picture = frame.astype(np.float32) / 255
    squared = ((picture - behind(picture)) ** 2).sum(-1)
    return int((squared > VISIBLE).sum())


def jerk_of_finds(finds: Sequence[Detection | None]) -> float | None:
    """The jerk of the detections, over frames with the noun of the two frames before; None where there is none."""
    jerks = []
    for run in zip(finds, finds[1:], finds[2:], strict=False):
        # Only where all three frames show the same noun.
        detections = [found for found in run if found]
        is_one_object = len({found.noun for found in detections}) == 1
        if len(detections) == 3 and is_one_object:
            jerks.append(jerk([middle(found.box) for found in detections]))
    return float(np.mean(jerks)) if jerks else None


def jerk(centres: Sequence[tuple[float, float]]) -> float:
    """Mean length of the second difference of centres in 0..1, in pixels."""
    pixels = np.array(centres) * SIZE
    bends = np.diff(pixels, 2, axis=0)
    if not len(bends):
        return 0.0
    lengths = np.hypot(*bends.T)
    return float(lengths.mean())


def distance(box: Box, other: Box) -> float:
    """Between the centres of two boxes, in pixels."""
    offset = np.subtract(middle(box), middle(other))
    return float(np.hypot(*offset) * SIZE)


def moved(finds: Sequence[Detection | None]) -> str:
    """Direction of the best detection, from the first third of the frames to the last; "" below `FAR`."""
    third = max(1, len(finds) // 3)
    first = [middle(d.box) for d in finds[:third] if d]
    last = [middle(d.box) for d in finds[-third:] if d]
    if not (first and last):
        return ""

    # From mean to mean, so that one wrong detection does not decide.
    begin = np.mean(first, 0)
    end = np.mean(last, 0)
    dx, dy = end - begin
    if max(abs(dx), abs(dy)) < FAR:
        return ""
    if abs(dx) >= abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"


def means(results: Sequence[Mapping[str, float | None]], digits: int = 3) -> dict[str, float]:
    """Mean of every score over the cases that have it, with their number where it is not all."""
    out: dict[str, float] = {}
    for key in dict.fromkeys(key for result in results for key in result):
        values = [value for result in results if (value := result.get(key)) is not None]
        if not values:
            continue
        mean = float(np.mean(values))
        out[key] = round(mean, digits)
        if len(values) < len(results):
            out[f"{key} n"] = len(values)
    return out
