"""The toy world that `mini` is trained on: emoji sprites on painted backgrounds, rendered exactly as a `Scene` says.

It has a grid of 8 x 8 cells of 8 pixels. Sizes and places of sprites are whole cells, so that each sprite has one code
per size in the 8 x 8 patch codec of `mini`: that is what makes a network of 5 M parameters trainable on two cores.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from ..errors import AnimaticError
from ..prompting.english import plurals
from ..scene import Box, Scene
from .drawing import Canvas, drawn_part, is_paintable, repaint, stamp, stored_sprite, tight_box

SIZE = 64  # pixels
GRID = 8  # cells
CELL = SIZE // GRID
SMALLEST, LARGEST = 2, 5  # cells a sprite may measure

Square = tuple[int, int, int]  # x, y and side in cells
Rgb = tuple[int, int, int]
Where = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x and y of pixels, in 0..1 -> which are painted

COLOURS = {
    "red": (220, 30, 40), "orange": (250, 135, 20), "yellow": (250, 215, 40), "green": (40, 165, 60),
    "blue": (40, 90, 225), "purple": (130, 50, 185), "pink": (250, 130, 185), "brown": (125, 75, 40),
    "black": (45, 45, 52), "white": (242, 242, 248), "gray": (145, 145, 150),
}  # fmt: skip

# noun -> the hues (degrees) of what a colour paints; (0, 360) paints all, None is not paintable
NOUNS: dict[str, tuple[int, int] | None] = {
    "bear": (0, 360), "cat": (0, 360), "dog": (0, 360), "bird": (310, 375), "fish": (0, 360), "turtle": None,
    "car": (310, 375), "boat": (0, 60), "ball": (0, 360), "balloon": (310, 375), "star": (0, 360), "book": (310, 375),
    "cup": (0, 360), "chair": (0, 360), "backpack": (310, 380), "tree": None, "house": None, "flower": (280, 350),
    "person": None,
}  # fmt: skip
COLOURABLE = tuple(noun for noun, paint in NOUNS.items() if paint)


def _all(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.ones_like(x, bool)


def _clouds(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    left_cloud = np.hypot((x - 0.25) / 2, y - 0.2)
    right_cloud = np.hypot((x - 0.75) / 2, y - 0.55)
    return (left_cloud < 0.07) | (right_cloud < 0.06)


_DAY, _MOON, _LINE = ((110, 185, 250), (205, 235, 255)), (250, 240, 190), (240, 240, 240)
BACKDROPS: dict[
    str, list[tuple[Rgb, Rgb, Where]]
] = {  # layers: the colours at the top and bottom of the frame, and where
    "grass": [((165, 220, 110), (95, 175, 70), _all)],
    "sky": [(*_DAY, _all), ((250, 252, 255), (240, 246, 255), _clouds)],
    "night": [((12, 14, 50), (50, 45, 110), _all), (_MOON, _MOON, lambda x, y: np.hypot(x - 0.82, y - 0.16) < 0.08)],
    "beach": [
        (*_DAY, _all),
        ((40, 150, 200), (70, 190, 215), lambda x, y: y > 0.3),
        ((245, 225, 165), (225, 195, 125), lambda x, y: y > 0.5),
    ],
    "snow": [
        ((185, 210, 235), (215, 230, 245), _all),
        ((250, 252, 255), (225, 235, 248), lambda x, y: y > 0.45 + 0.06 * np.sin(6 * x)),
    ],
    "road": [
        ((150, 205, 120), (120, 180, 95), _all),
        ((105, 105, 112), (80, 80, 88), lambda x, y: y > 0.45),
        (_LINE, _LINE, lambda x, y: (abs(y - 0.72) < 0.02) & (np.mod(x * 4, 1) < 0.5)),
    ],
    "sea": [((60, 190, 205), (10, 60, 130), _all)],
    "forest": [
        ((45, 95, 55), (25, 60, 35), _all),
        ((80, 55, 40), (60, 40, 30), lambda x, y: np.mod(x * 4 + 0.3, 1) < 0.25),
    ],
    "room": [((240, 225, 200), (225, 205, 175), _all), ((165, 110, 70), (140, 90, 55), lambda x, y: y > 0.7)],
    "desert": [
        ((250, 200, 140), (255, 225, 180), _all),
        ((225, 150, 75), (190, 110, 50), lambda x, y: y > 0.5 + 0.08 * np.sin(5 * x + 1)),
    ],
}
BACKGROUNDS = tuple(BACKDROPS)


def identify(phrase: str) -> tuple[str, str]:
    """`(noun, colour)` named by a phrase, colour "" where none is named. Raises where the noun is unknown."""
    words = phrase.lower().split()
    known = {form: noun for noun in NOUNS for form in (noun, plurals(noun)[0])}
    nouns = [known[word] for word in words if word in known]
    if not nouns:
        raise AnimaticError(f"phrase {phrase!r} names no object of the toy world; known: {', '.join(NOUNS)}")

    # The last noun is the head: "a boat house" is a house.
    noun = nouns[-1]
    colours = [word for word in words if word in COLOURS]
    colour = colours[0] if colours and noun in COLOURABLE else ""
    return noun, colour


@cache
def _picture(noun: str, colour: str) -> np.ndarray:
    """A sprite at its stored size: float `[72, 72, rgba]` in 0..1, its paintable hues in `colour`."""
    rgba = np.asarray(stored_sprite(noun), np.float32) / 255
    if not colour:
        return rgba

    # Pixel by pixel with Python's exact conversion; there are few sprites, and they are cached.
    pixels = rgba[..., :3].reshape(-1, 3)
    hsv = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in pixels])
    by_pixel = hsv.reshape(*rgba.shape[:2], 3)
    hue = by_pixel[..., 0]
    saturation = by_pixel[..., 1]
    painted = is_paintable(hue * 360, saturation, NOUNS[noun] or (0, 0))
    return repaint(rgba, painted, COLOURS[colour])


@cache
def sprite(noun: str, colour: str, side: int) -> np.ndarray:
    """A sprite of `side` pixels: float `[side, side, rgba]`, colours premultiplied by alpha, all in 0..1."""
    return stamp(_picture(noun, colour), side)


@cache
def aspect(noun: str) -> tuple[float, float]:
    """Width and height of the drawn part of a sprite, as fractions of its square."""
    return drawn_part(_picture(noun, ""))


def tight(noun: str, x: float, y: float, side: float) -> Box:
    """The box of a sprite whose square of `side` cells stands at cell (x, y), cut to the frame."""
    return tight_box(aspect(noun), x, y, side, GRID)


def place(box: Box) -> Square:
    """The square `(x, y, side)` in cells for a box: the inverse of `tight`, rounded to the grid."""
    x0, y0, x1, y1 = box

    # Some sprites are flat: the longer side is that of the square.
    longer = max(x1 - x0, y1 - y0)
    side = int(np.clip(round(longer * GRID), SMALLEST, LARGEST))
    half = side / 2
    x = round((x0 + x1) / 2 * GRID - half)
    y = round((y0 + y1) / 2 * GRID - half)
    return x, y, side


def draw(scene: Scene, frames: int, size: int = SIZE, between: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Render a scene.

    Args:
        scene: Its phrases and background must be of the toy world; later tracks are in front.
        frames: Key frames, whose objects are on the grid.
        size: Height and width in pixels, a multiple of `GRID`.
        between: Each key frame but the last is followed by `between - 1` frames with interpolated places.

    Returns the video, uint8 `[frame, size, size, 3]`, and the visible cover, float `[track, frame, size, size]` in
    0..1. Raises `AnimaticError` where a phrase or the background is unknown.
    """
    scene = scene.at(frames)
    cell = size // GRID
    count = (frames - 1) * between + 1
    canvas = Canvas(backdrop(scene.background, size), count, len(scene.tracks))

    for i, track in enumerate(scene.tracks):
        noun, colour = identify(track.phrase)
        keys = [None if box is None else place(box) for box in track.boxes]
        for f in range(count):
            key, part = divmod(f, between)
            square = _interpolated(keys, key, part, between)
            if square is None:
                continue

            # Between key frames places are no whole cells, but pixels are whole. floor(v + 0.5) rounds halves up, where
            # round() takes the even number and would let a sprite jump.
            pixels = [int(np.floor(cell * v + 0.5)) for v in square]
            x, y, side = pixels
            canvas.paste(sprite(noun, colour, side), i, f, x, y)
    return canvas.finished()


def _interpolated(keys: Sequence[Square | None], key: int, part: int, between: int) -> tuple[float, ...] | None:
    """The square at `part / between` from a key frame to the next; where one is absent, of the nearer."""
    here = keys[key]
    following = keys[min(key + 1, len(keys) - 1)]
    if here is None or following is None:
        return here if 2 * part < between else following
    pairs = zip(here, following, strict=True)
    return tuple(a + (b - a) * part / between for a, b in pairs)


@cache
def backdrop(name: str, size: int = SIZE) -> np.ndarray:
    """One of the painted backgrounds: float `[size, size, 3]` in 0..1."""
    if name not in BACKGROUNDS:
        raise AnimaticError(f"background {name!r} is not of the toy world; known: {', '.join(BACKGROUNDS)}")
    y, x = np.mgrid[0:size, 0:size] / size
    height = y[..., None]

    # Each layer is a vertical gradient, painted over the ones before where its mask says.
    picture = np.zeros((size, size, 3))
    for top, bottom, where in BACKDROPS[name]:
        upper = np.array(top) * (1 - height)
        lower = np.array(bottom) * height
        layer = (upper + lower) / 255
        is_covered = where(x, y)[..., None]
        picture = np.where(is_covered, layer, picture)
    return picture.astype(np.float32)
