"""The toy world off the grid: emoji sprites of any size at any pixel of painted backdrops, rendered as a `Scene` says.

The interface is that of `toy.grid_world`, whose colours, backdrops and scaling are used here. Sizes and places are in
pixels instead of cells, there are more nouns, and sprites with a front face the direction of motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from PIL import Image

from ..errors import AnimaticError
from ..prompting.english import plurals
from ..scene import Box, Scene
from .grid_world import BACKGROUNDS as BACKGROUNDS  # part of this world's interface
from .grid_world import COLOURS, SIZE, backdrop, stamp

FRAMES = 16  # of a clip
FPS = 8.0
SMALLEST, LARGEST = 16, 40  # pixels: the side of a sprite's square
STANDING = 0.25  # pixels a frame: below it an object does not turn

Square = tuple[int, int, int]  # x, y and side in pixels

# noun -> the hues (degrees) of what a colour paints; (0, 360) paints all, None is not paintable
NOUNS: dict[str, tuple[int, int] | None] = {
    "bear": (0, 360), "cat": (0, 360), "dog": (0, 360), "bird": (310, 375), "fish": (0, 360), "turtle": None,
    "car": (310, 375), "boat": (0, 60), "ball": (0, 360), "balloon": (310, 375), "star": (0, 360), "book": (310, 375),
    "cup": (0, 360), "chair": (0, 360), "backpack": (310, 380), "tree": None, "house": None, "flower": (280, 350),
    "person": None, "horse": (0, 360), "plane": (0, 360), "train": (310, 380), "bicycle": (310, 380),
    "duck": (0, 360), "sun": None, "moon": None, "cloud": (0, 360), "cake": None, "clock": (310, 375),
    "apple": (310, 375), "umbrella": (230, 320), "butterfly": (310, 390), "rabbit": (0, 360), "rocket": (310, 380),
}  # fmt: skip
COLOURABLE = tuple(noun for noun, hues in NOUNS.items() if hues)

# nouns whose sprite faces left, and is mirrored where the object goes right
FACING = frozenset("bird fish turtle car horse plane train bicycle duck rabbit rocket".split())


def identify(phrase: str) -> tuple[str, str]:
    """`(noun, colour)` named by a phrase, colour "" where none is named. Raises where the noun is unknown."""
    words = phrase.lower().split()
    nouns = [_FORMS[word] for word in words if word in _FORMS]
    if not nouns:
        raise AnimaticError(f"phrase {phrase!r} names no object of the toy world; known: {', '.join(NOUNS)}")

    colours = [word for word in words if word in COLOURS]
    return nouns[-1], colours[0] if colours and nouns[-1] in COLOURABLE else ""


_FORMS = {form: noun for noun in NOUNS for form in (noun, plurals(noun)[0])}


@lru_cache(maxsize=16384)
def sprite(noun: str, colour: str, side: int, mirrored: bool = False) -> np.ndarray:
    """A sprite of `side` pixels: float `[side, side, rgba]`, colours premultiplied by alpha, all in 0..1."""
    if mirrored:
        return np.ascontiguousarray(sprite(noun, colour, side)[:, ::-1])
    return stamp(_painted(noun, colour), side)


@cache
def aspect(noun: str) -> tuple[float, float]:
    """Width and height of the drawn part of a sprite, as fractions of its square."""
    alpha = _painted(noun, "")[..., 3] > 0.3
    return float(alpha.any(0).sum() / alpha.shape[1]), float(alpha.any(1).sum() / alpha.shape[0])


def tight(noun: str, x: float, y: float, side: float) -> Box:
    """The box of a sprite whose square of `side` pixels stands at pixel (x, y), cut to the frame."""
    w, h = aspect(noun)
    cx, cy = (x + side / 2) / SIZE, (y + side / 2) / SIZE
    half_w, half_h = w * side / SIZE / 2, h * side / SIZE / 2
    return max(0.0, cx - half_w), max(0.0, cy - half_h), min(1.0, cx + half_w), min(1.0, cy + half_h)


def place(box: Box) -> Square:
    """The square `(x, y, side)` in pixels for a box: the inverse of `tight`, rounded to whole pixels."""
    longer = max(box[2] - box[0], box[3] - box[1])
    side = int(np.clip(np.floor(longer * SIZE + 0.5), SMALLEST, LARGEST))
    x, y = ((box[k] + box[k + 2]) / 2 * SIZE - side / 2 for k in (0, 1))
    return int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), side


def mirrored(noun: str, boxes: Sequence[Box | None]) -> list[bool]:
    """Whether the sprite is mirrored in each frame, so that it faces its direction of motion.

    Before its first horizontal motion it faces the direction of that motion, afterwards that of its last one. An object
    that never moves horizontally faces left or right by the parity of its first place, since a `Scene` does not say.
    """
    present = [i for i, box in enumerate(boxes) if box is not None]
    if noun not in FACING or not present:
        return [False] * len(boxes)

    # speed of the centre in pixels a frame, by central differences over the frames in which it is there
    centres = np.array([(box[0] + box[2]) / 2 * SIZE for box in boxes if box is not None])
    speed = np.gradient(centres) if len(centres) > 1 else np.zeros(1)
    signs = np.where(speed > STANDING, 1, np.where(speed < -STANDING, -1, 0))

    first = next((sign for sign in signs if sign), None)
    facing = first or (1 if sum(place(boxes[present[0]])[:2]) % 2 else -1)  # type: ignore[arg-type]
    turned = [False] * len(boxes)
    for i, sign in zip(present, signs, strict=True):
        facing = sign or facing
        turned[i] = facing > 0
    return turned


def draw(scene: Scene, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene as video uint8 `[frame, SIZE, SIZE, 3]` and visible cover float `[track, frame, SIZE, SIZE]` in 0..1.

    Later tracks stand in front. Phrases and background must be of the toy world.
    """
    scene = scene.at(frames)
    video = np.repeat(backdrop(scene.background)[None], frames, 0)
    cover = np.zeros((len(scene.tracks), frames, SIZE, SIZE), np.float32)

    for i, track in enumerate(scene.tracks):
        noun, colour = identify(track.phrase)
        turned = mirrored(noun, track.boxes)
        for f, box in enumerate(track.boxes):
            if box is None:
                continue
            x, y, side = place(box)

            # The part of the sprite inside the frame.
            top, left, bottom, right = max(0, y), max(0, x), min(SIZE, y + side), min(SIZE, x + side)
            inside = sprite(noun, colour, side, turned[f])[top - y : bottom - y, left - x : right - x]
            here = (f, slice(top, bottom), slice(left, right))

            # Compositing with premultiplied alpha over what is behind it.
            alpha = inside[..., 3:]
            video[here] = video[here] * (1 - alpha) + inside[..., :3]
            cover[:, *here] *= 1 - alpha[..., 0]
            cover[i, *here] = alpha[..., 0]
    return (video * 255 + 0.5).astype(np.uint8), cover


@cache
def _painted(noun: str, colour: str) -> np.ndarray:
    """One sprite at its stored size: float `[72, 72, rgba]` in 0..1, its paintable hues in `colour`."""
    file = files("animatic.training") / "sprites" / f"{noun}.png"
    with file.open("rb") as stream:
        picture = Image.open(stream).convert("RGBA")
    rgba = np.asarray(picture, np.float32) / 255
    if not colour:
        return rgba

    # which pixels are painted: those of the noun's hues that are not gray
    low, high = NOUNS[noun] or (0, 0)
    hsv = np.asarray(picture.convert("RGB").convert("HSV"), np.float32) / 255
    hue, saturation = hsv[..., 0] * 360, hsv[..., 1]
    painted = (np.mod(hue - low, 360) <= high - low) & (saturation > 0.25) | (high - low >= 360)

    # their light, relative to their own median, shades the colour towards black and towards white
    rgb = rgba[..., :3]
    light = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    shade = (light / np.median(light[painted & (rgba[..., 3] > 0.5)]))[..., None]
    target = np.array(COLOURS[colour], np.float32) / 255
    dark = target * np.clip(0.15 + 0.85 * shade, 0, 1)
    bright = np.clip(shade - 1, 0, 1) * 0.8
    out = rgba.copy()
    out[..., :3] = np.where(painted[..., None], dark + (1 - dark) * bright, rgb)
    return out
