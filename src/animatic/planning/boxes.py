"""What may be done to planned boxes: cut to the frame, LMD's filter and scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..scene import Box, Scene

CANVAS = 512
MAX_SCALE = 3.0  # how much LMD's scaling enlarges


def clip(box: Box) -> Box | None:
    """The part of a box inside the frame; None where it lies outside altogether."""
    if box[2] < 0 or box[3] < 0 or box[0] > 1 or box[1] > 1:
        return None
    x0, y0, x1, y1 = (min(1.0, max(0.0, v)) for v in box)
    if x0 > x1 or y0 > y1:
        return None
    return x0, y0, x1, y1


def legacy_filter(boxes: Sequence[tuple[str, Box]], scale: bool = False) -> list[tuple[str, Box]]:
    """LMD's post-processing (arXiv 2305.13655, the authors' code) of `x, y, width, height` in pixels of 512.

    Drops boxes without area, over the whole canvas, or that begin beyond it. If one of the others leaves the canvas, or
    with `scale`, all are scaled to fill it (at most threefold), aligned left and at the bottom. Rounds half to even.
    """
    kept = [(name, box) for name, box in boxes if _is_usable(box)]
    if any(_leaves_canvas(box) for _, box in kept) or (scale and kept):
        kept = _scaled(kept)
    return [(name, tuple(float(round(v)) for v in box)) for name, box in kept]  # type: ignore[misc]


def scaled_to_canvas(scene: Scene) -> Scene:
    """A still scene whose boxes are scaled with `legacy_filter(scale=True)`, so that together they fill the canvas.

    A scene with objects that move, or that are absent at times, is returned unchanged.
    """
    corners = [track.boxes[0] for track in scene.tracks if len(track.boxes) == 1]
    if len(corners) < len(scene.tracks) or None in corners:
        return scene

    # x, y, width, height in pixels; the name is the track's index, for the filter may drop some
    pixels: list[tuple[str, Box]] = []
    for i, (x0, y0, x1, y1) in enumerate(filter(None, corners)):
        w = x1 - x0
        h = y1 - y0
        box = (x0 * CANVAS, y0 * CANVAS, w * CANVAS, h * CANVAS)
        pixels.append((str(i), box))

    tracks = []
    for name, (x, y, w, h) in legacy_filter(pixels, scale=True):
        track = scene.tracks[int(name)]
        right = x + w
        bottom = y + h
        box = (x / CANVAS, y / CANVAS, right / CANVAS, bottom / CANVAS)
        tracks.append(replace(track, boxes=(box,)))
    return replace(scene, tracks=tuple(tracks))


def _scaled(boxes: list[tuple[str, Box]]) -> list[tuple[str, Box]]:
    # the bounding box of all boxes, and the scale at which it fits the canvas
    left = min(box[0] for _, box in boxes)
    top = min(box[1] for _, box in boxes)
    right = max(box[0] + box[2] for _, box in boxes)
    bottom = max(box[1] + box[3] for _, box in boxes)
    scale = min(CANVAS / (right - left), CANVAS / (bottom - top), MAX_SCALE)

    # vertical offset: nothing above the canvas, then nothing below it
    offset = max(0.0, -top * scale)
    if bottom * scale + offset >= CANVAS:
        offset -= bottom * scale - CANVAS

    scaled: list[tuple[str, Box]] = []
    for name, (x, y, w, h) in boxes:
        new_y = y * scale + offset
        new_h = h * scale
        if new_y < 0:
            new_h += new_y
            new_y = 0.0
        new_x = (x - left) * scale
        scaled.append((name, (new_x, new_y, w * scale, new_h)))
    return scaled


def _is_usable(box: Box) -> bool:
    x, y, width, height = box
    has_area = width > 0 and height > 0
    covers_canvas = width >= CANVAS and height >= CANVAS
    return has_area and not covers_canvas and max(x, y) <= CANVAS


def _leaves_canvas(box: Box) -> bool:
    x, y, width, height = box
    return min(x, y) < 0 or x + width > CANVAS or y + height > CANVAS
