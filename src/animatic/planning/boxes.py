"""What may be done to planned boxes: cut to the frame, LMD's filter and scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..scene import Box, Scene

CANVAS = 512
MAX_SCALE = 3.0  # how much LMD's scaling enlarges


def clip(box: Box) -> Box | None:
    """The part of a box inside the frame; None where it lies outside altogether."""
    x0, y0, x1, y1 = (min(1.0, max(0.0, v)) for v in box)
    outside = box[2] < 0 or box[3] < 0 or box[0] > 1 or box[1] > 1
    return None if outside or x0 > x1 or y0 > y1 else (x0, y0, x1, y1)


def legacy_filter(boxes: Sequence[tuple[str, Box]], scale: bool = False) -> list[tuple[str, Box]]:
    """LMD's post-processing of `x, y, width, height` in pixels of 512.

    Drops boxes without area, over the whole canvas, or that begin beyond it. If one that is left leaves the canvas, or
    if `scale`, all are scaled to fill it (at most threefold), aligned left and at the bottom. Rounds half to even.
    """
    kept = [
        (name, box)
        for name, box in boxes
        if box[2] > 0 and box[3] > 0 and not (box[2] >= CANVAS and box[3] >= CANVAS) and max(box[:2]) <= CANVAS
    ]
    if any(min(b[:2]) < 0 or b[0] + b[2] > CANVAS or b[1] + b[3] > CANVAS for _, b in kept) or (scale and kept):
        kept = _scaled(kept)
    return [(name, tuple(float(round(v)) for v in box)) for name, box in kept]  # type: ignore[misc]


def scaled_to_canvas(scene: Scene) -> Scene:
    """A picture whose boxes went once more through `legacy_filter` with `scale`: together they fill the canvas.

    What moves, or is absent at times, stays as it is.
    """
    corners = [track.boxes[0] for track in scene.tracks if len(track.boxes) == 1]
    if len(corners) < len(scene.tracks) or None in corners:
        return scene
    pixels = [
        (str(i), (x0 * CANVAS, y0 * CANVAS, (x1 - x0) * CANVAS, (y1 - y0) * CANVAS))
        for i, (x0, y0, x1, y1) in enumerate(filter(None, corners))
    ]
    tracks = [
        replace(scene.tracks[int(i)], boxes=((x / CANVAS, y / CANVAS, (x + w) / CANVAS, (y + h) / CANVAS),))
        for i, (x, y, w, h) in legacy_filter(pixels, scale=True)
    ]
    return replace(scene, tracks=tuple(tracks))


def _scaled(boxes: list[tuple[str, Box]]) -> list[tuple[str, Box]]:
    left, top = min(b[0] for _, b in boxes), min(b[1] for _, b in boxes)
    right, bottom = max(b[0] + b[2] for _, b in boxes), max(b[1] + b[3] for _, b in boxes)
    s = min(CANVAS / (right - left), CANVAS / (bottom - top), MAX_SCALE)
    offset = max(0.0, -top * s)
    if bottom * s + offset >= CANVAS:
        offset -= bottom * s - CANVAS
    out: list[tuple[str, Box]] = []
    for name, (x, y, w, h) in boxes:
        new_y, new_h = y * s + offset, h * s
        if new_y < 0:
            new_y, new_h = 0.0, new_h + new_y
        out.append((name, ((x - left) * s, new_y, w * s, new_h)))
    return out
