"""What the toy world draws with: recoloured and resized sprites, their boxes, and compositing onto a video."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import combinations

import numpy as np
from PIL import Image

from ..scene import Box, Track

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: the lightness of red, green and blue
OPAQUE = 0.3  # alpha above which a pixel belongs to the drawn part of a sprite


def stored_sprite(noun: str) -> Image.Image:
    """The sprite of a noun at its stored size, 72 x 72 pixels, RGBA."""
    file = files("animatic.training") / "sprites" / f"{noun}.png"
    with file.open("rb") as stream:
        return Image.open(stream).convert("RGBA")


def is_paintable(hue: np.ndarray, saturation: np.ndarray, hues: tuple[int, int]) -> np.ndarray:
    """Which pixels a colour paints: those of the noun's `hues` in degrees that are not gray; (0, 360) means all."""
    # Hues are an angle: the interval may pass 360.
    low, high = hues
    width = high - low
    in_hues = np.mod(hue - low, 360) <= width
    is_colourful = saturation > 0.25
    return in_hues & is_colourful | (width >= 360)


def repaint(rgba: np.ndarray, painted: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A picture float `[y, x, rgba]` in 0..1 with the pixels `painted` in a colour of 0..255.

    Their light, relative to its own median, shades the colour towards black and towards white.
    """
    rgb = rgba[..., :3]
    light = rgb @ np.array(LUMA, np.float32)
    is_inside = painted & (rgba[..., 3] > 0.5)
    relative = light / np.median(light[is_inside])
    shade = relative[..., None]

    target = np.array(colour, np.float32) / 255
    dark = target * np.clip(0.15 + 0.85 * shade, 0, 1)
    bright = np.clip(shade - 1, 0, 1) * 0.8
    repainted = dark + (1 - dark) * bright

    out = rgba.copy()
    out[..., :3] = np.where(painted[..., None], repainted, rgb)
    return out


def stamp(rgba: np.ndarray, side: int) -> np.ndarray:
    """A square picture, float `[n, n, rgba]` in 0..1, resized to `side` pixels, its colours premultiplied by alpha."""
    # Premultiplied, so that transparent pixels do not tint the edge.
    alpha = rgba[..., 3:]
    colours = rgba[..., :3] * alpha
    premultiplied = np.concatenate([colours, alpha], -1)

    # PIL resizes pictures of floats one channel at a time.
    planes = []
    for channel in range(4):
        plane = Image.fromarray(premultiplied[..., channel])
        resized = plane.resize((side, side), Image.Resampling.BOX)
        planes.append(np.asarray(resized))
    return np.stack(planes, -1)


def drawn_part(rgba: np.ndarray) -> tuple[float, float]:
    """Width and height of the drawn part of a sprite `[y, x, rgba]`, as fractions of its square."""
    is_drawn = rgba[..., 3] > OPAQUE
    height, width = is_drawn.shape
    columns = is_drawn.any(0).sum()
    rows = is_drawn.any(1).sum()
    return float(columns / width), float(rows / height)


def tight_box(aspect: tuple[float, float], x: float, y: float, side: float, whole: int) -> Box:
    """The box of a sprite whose square of `side` stands at (x, y) in a frame of `whole`, cut to the frame."""
    # The centre of the square is that of the drawn part.
    w, h = aspect
    cx = (x + side / 2) / whole
    cy = (y + side / 2) / whole
    half_w = w * side / whole / 2
    half_h = h * side / whole / 2
    left = max(0.0, cx - half_w)
    top = max(0.0, cy - half_h)
    right = min(1.0, cx + half_w)
    bottom = min(1.0, cy + half_h)
    return left, top, right, bottom


class Canvas:
    """A video of `frames` backdrops float `[size, size, 3]` in 0..1, onto which sprites are composited.

    Attributes:
        video: Float `[frame, size, size, 3]` in 0..1.
        cover: Float `[track, frame, size, size]`, the visible part of each track in 0..1.
    """

    def __init__(self, backdrop: np.ndarray, frames: int, tracks: int) -> None:
        self.size = len(backdrop)
        self.video = np.repeat(backdrop[None], frames, 0)
        self.cover = np.zeros((tracks, frames, self.size, self.size), np.float32)

    def paste(self, sprite: np.ndarray, track: int, frame: int, x: int, y: int) -> None:
        """Put a sprite `[side, side, rgba]`, premultiplied, at pixel (x, y) in front of what is there."""
        # The part of the sprite inside the frame.
        side = len(sprite)
        top = max(0, y)
        bottom = min(self.size, y + side)
        left = max(0, x)
        right = min(self.size, x + side)
        inside = sprite[top - y : bottom - y, left - x : right - x]

        # Compositing with premultiplied alpha (the "over" of Porter & Duff 1984).
        video = self.video[frame, top:bottom, left:right]
        alpha = inside[..., 3:]
        video *= 1 - alpha
        video += inside[..., :3]

        cover = self.cover[:, frame, top:bottom, left:right]
        cover *= 1 - alpha[..., 0]
        cover[track] = alpha[..., 0]

    def finished(self) -> tuple[np.ndarray, np.ndarray]:
        """The video as uint8, and the cover."""
        rounded = self.video * 255 + 0.5
        return rounded.astype(np.uint8), self.cover


def crowded(tracks: Sequence[Track], parts: int) -> bool:
    """Whether two objects overlap by more than 1 / `parts` of the smaller one in any frame."""
    for one, other in combinations(tracks, 2):
        for p, q in zip(one.boxes, other.boxes, strict=True):
            if p is None or q is None:
                continue
            smaller = min(_area(p), _area(q))
            if _intersection(p, q) > smaller / parts:
                return True
    return False


def _area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def _intersection(p: Box, q: Box) -> float:
    left = max(p[0], q[0])
    right = min(p[2], q[2])
    top = max(p[1], q[1])
    bottom = min(p[3], q[3])
    return max(0.0, right - left) * max(0.0, bottom - top)
