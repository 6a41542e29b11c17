"""The painted backgrounds of the toy world."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ..errors import AnimaticError

SIZE = 64  # pixels: height and width of a frame

Rgb = tuple[int, int, int]
Where = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x and y of pixels, in 0..1 -> which are painted


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
