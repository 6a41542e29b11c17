"""The toy world that `mini` is trained on: emoji sprites on painted backgrounds, rendered exactly as a `Scene` says.

It has a grid of 8 x 8 cells of 8 pixels. Sizes and places of sprites are whole cells, so that each sprite has one code
per size in the 8 x 8 patch codec of `mini`: that is what makes a network of 5 M parameters trainable on two cores.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from PIL import Image

from ..errors import AnimaticError
from ..prompting.english import plurals
from ..scene import Box, Scene

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
    return (np.hypot((x - 0.25) / 2, y - 0.2) < 0.07) | (np.hypot((x - 0.75) / 2, y - 0.55) < 0.06)


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
    nouns = [known[w] for w in words if w in known]
    if not nouns:
        raise AnimaticError(f"phrase {phrase!r} names no object of the toy world; known: {', '.join(NOUNS)}")
    colours = [w for w in words if w in COLOURS]
    return nouns[-1], colours[0] if colours and nouns[-1] in COLOURABLE else ""


@cache
def _picture(noun: str, colour: str) -> np.ndarray:
    """A sprite at its stored size: float `[72, 72, rgba]` in 0..1, its paintable hues in `colour`."""
    file = files("animatic.training") / "sprites" / f"{noun}.png"
    with file.open("rb") as stream:
        rgba = np.asarray(Image.open(stream).convert("RGBA"), np.float32) / 255
    if not colour:
        return rgba
    rgb, paint = rgba[..., :3], NOUNS[noun] or (0, 0)
    hsv = np.array([colorsys.rgb_to_hsv(*p) for p in rgb.reshape(-1, 3)]).reshape(rgb.shape)
    reach = paint[1] - paint[0]
    painted = (np.mod(hsv[..., 0] * 360 - paint[0], 360) <= reach) & (hsv[..., 1] > 0.25) | (reach >= 360)
    light = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    middle = np.median(light[painted & (rgba[..., 3] > 0.5)])
    shade = (light / middle)[..., None]
    target = np.array(COLOURS[colour], np.float32) / 255
    dark, bright = target * np.clip(0.15 + 0.85 * shade, 0, 1), np.clip(shade - 1, 0, 1) * 0.8
    out = rgba.copy()
    out[..., :3] = np.where(painted[..., None], dark + (1 - dark) * bright, rgb)
    return out


@cache
def sprite(noun: str, colour: str, side: int) -> np.ndarray:
    """A sprite of `side` pixels: float `[side, side, rgba]`, colours premultiplied by alpha, all in 0..1."""
    return stamp(_picture(noun, colour), side)


def stamp(rgba: np.ndarray, side: int) -> np.ndarray:
    """A square picture, float `[n, n, rgba]` in 0..1, resized to `side` pixels, its colours premultiplied by alpha."""
    rgba = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
    planes = [Image.fromarray(rgba[..., c]).resize((side, side), Image.Resampling.BOX) for c in range(4)]
    return np.stack([np.asarray(p) for p in planes], -1)


@cache
def aspect(noun: str) -> tuple[float, float]:
    """Width and height of the drawn part of a sprite, as fractions of its square."""
    alpha = _picture(noun, "")[..., 3] > 0.3
    return float(alpha.any(0).sum() / alpha.shape[1]), float(alpha.any(1).sum() / alpha.shape[0])


def tight(noun: str, x: float, y: float, side: float) -> Box:
    """The box of a sprite whose square of `side` cells stands at cell (x, y), cut to the frame."""
    w, h = aspect(noun)
    cx, cy = (x + side / 2) / GRID, (y + side / 2) / GRID
    half_w, half_h = w * side / GRID / 2, h * side / GRID / 2
    return max(0.0, cx - half_w), max(0.0, cy - half_h), min(1.0, cx + half_w), min(1.0, cy + half_h)


def place(box: Box) -> Square:
    """The square `(x, y, side)` in cells for a box: the inverse of `tight`, rounded to the grid."""
    longer = max(box[2] - box[0], box[3] - box[1])
    side = int(np.clip(round(longer * GRID), SMALLEST, LARGEST))
    x = round((box[0] + box[2]) / 2 * GRID - side / 2)
    y = round((box[1] + box[3]) / 2 * GRID - side / 2)
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
    video = np.repeat(backdrop(scene.background, size)[None], count, 0)
    cover = np.zeros((len(scene.tracks), count, size, size), np.float32)
    for i, track in enumerate(scene.tracks):
        noun, colour = identify(track.phrase)
        keys = [None if box is None else place(box) for box in track.boxes]
        for f in range(count):
            square = _interpolated(keys, *divmod(f, between), between)
            if square is None:
                continue

            # The part of the sprite inside the frame, in whole pixels.
            x, y, side = (int(np.floor(cell * v + 0.5)) for v in square)
            top, left, bottom, right = max(0, y), max(0, x), min(size, y + side), min(size, x + side)
            inside = sprite(noun, colour, side)[top - y : bottom - y, left - x : right - x]
            here = (f, slice(top, bottom), slice(left, right))

            # Compositing with premultiplied alpha over what is behind it.
            alpha = inside[..., 3:]
            video[here] = video[here] * (1 - alpha) + inside[..., :3]
            cover[:, *here] *= 1 - alpha[..., 0]
            cover[i, *here] = alpha[..., 0]
    return (video * 255 + 0.5).astype(np.uint8), cover


def _interpolated(keys: Sequence[Square | None], key: int, part: int, between: int) -> tuple[float, ...] | None:
    """The square at `part / between` from a key frame to the next; where one is absent, of the nearer."""
    a, b = keys[key], keys[min(key + 1, len(keys) - 1)]
    if a is None or b is None:
        return a if 2 * part < between else b
    return tuple(u + (v - u) * part / between for u, v in zip(a, b, strict=True))


@cache
def backdrop(name: str, size: int = SIZE) -> np.ndarray:
    """One of the painted backgrounds: float `[size, size, 3]` in 0..1."""
    if name not in BACKGROUNDS:
        raise AnimaticError(f"background {name!r} is not of the toy world; known: {', '.join(BACKGROUNDS)}")
    y, x = np.mgrid[0:size, 0:size] / size
    picture, part = np.zeros((size, size, 3)), y[..., None]
    for top, bottom, where in BACKDROPS[name]:
        layer = (np.array(top) * (1 - part) + np.array(bottom) * part) / 255
        picture = np.where(where(x, y)[..., None], layer, picture)
    return picture.astype(np.float32)
