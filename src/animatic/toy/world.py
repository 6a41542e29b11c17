"""The toy world of `mini-2`: emoji sprites of any size at any pixel of painted backgrounds, rendered as a `Scene` says.

Sprites with a front face the direction of their motion.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache, lru_cache

import numpy as np

from ..errors import AnimaticError
from ..prompting.english import plurals
from ..scene import Box, Scene
from .backdrop import BACKGROUNDS as BACKGROUNDS  # part of this world's interface
from .backdrop import SIZE, backdrop
from .drawing import Canvas, drawn_part, is_paintable, repaint, stamp, stored_sprite, tight_box

FRAMES = 16  # of a clip
FPS = 8.0
SMALLEST, LARGEST = 16, 40  # pixels: the side of a sprite's square
STANDING = 0.25  # pixels a frame: below it an object does not turn

Square = tuple[int, int, int]  # x, y and side in pixels

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

    # The last noun is the head: "a boat house" is a house.
    noun = nouns[-1]
    colours = [word for word in words if word in COLOURS]
    colour = colours[0] if colours and noun in COLOURABLE else ""
    return noun, colour


_FORMS = {form: noun for noun in NOUNS for form in (noun, plurals(noun)[0])}


@lru_cache(maxsize=16384)
def sprite(noun: str, colour: str, side: int, mirrored: bool = False) -> np.ndarray:
    """A sprite of `side` pixels: float `[side, side, rgba]`, colours premultiplied by alpha, all in 0..1."""
    if mirrored:
        unmirrored = sprite(noun, colour, side)
        return np.ascontiguousarray(unmirrored[:, ::-1])
    return stamp(_painted(noun, colour), side)


def known_nouns(words: Collection[str]) -> tuple[str, ...]:
    """The nouns that a model which knows `words` can show: all, where it knows any word."""
    return tuple(noun for noun in NOUNS if not words or noun in words)


@cache
def aspect(noun: str) -> tuple[float, float]:
    """Width and height of the drawn part of a sprite, as fractions of its square."""
    return drawn_part(_painted(noun, ""))


def tight(noun: str, x: float, y: float, side: float) -> Box:
    """The box of a sprite whose square of `side` pixels stands at pixel (x, y), cut to the frame."""
    return tight_box(aspect(noun), x, y, side, SIZE)


def place(box: Box, size: int = SIZE) -> Square:
    """The square `(x, y, side)` in whole pixels of a frame of `size` for a box: the inverse of `tight`, rounded."""
    # Some sprites are flat: the longer side of the box is that of the square.
    x0, y0, x1, y1 = box
    longer = max(x1 - x0, y1 - y0)
    rounded = np.floor(longer * size + 0.5)
    side = int(np.clip(rounded, SMALLEST * size // SIZE, LARGEST * size // SIZE))

    # floor(v + 0.5) rounds halves up, where round() takes the even number.
    x = (x0 + x1) / 2 * size - side / 2
    y = (y0 + y1) / 2 * size - side / 2
    left = int(np.floor(x + 0.5))
    top = int(np.floor(y + 0.5))
    return left, top, side


def mirrored(noun: str, boxes: Sequence[Box | None]) -> list[bool]:
    """Whether the sprite is mirrored in each frame, so that it faces its direction of motion.

    Before its first horizontal motion it faces the direction of that motion, afterwards that of its last one. An object
    that never moves horizontally faces left: a `Scene` does not say, and a network would learn the mean of both.
    """
    present = [i for i, box in enumerate(boxes) if box is not None]
    if noun not in FACING or not present:
        return [False] * len(boxes)

    # Speed of the centre in pixels a frame, by central differences over the frames in which it is there.
    there = [box for box in boxes if box is not None]
    lefts = np.array([box[0] for box in there])
    rights = np.array([box[2] for box in there])
    centres = (lefts + rights) / 2 * SIZE
    speed = np.gradient(centres) if len(centres) > 1 else np.zeros(1)
    signs = np.zeros(len(speed), int)
    signs[speed > STANDING] = 1
    signs[speed < -STANDING] = -1

    # What it faces before its first motion: -1 is left, as sprites are stored.
    facing = next((sign for sign in signs if sign), -1)

    # From then on it keeps the direction of its last motion.
    turned = [False] * len(boxes)
    for i, sign in zip(present, signs, strict=True):
        facing = sign or facing
        turned[i] = facing > 0
    return turned


def draw(scene: Scene, frames: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A scene as video uint8 `[frame, size, size, 3]` and visible cover float `[track, frame, size, size]` in 0..1.

    Later tracks stand in front. Raises `AnimaticError` where a phrase or the background is not of the toy world.
    """
    scene = scene.at(frames)
    canvas = Canvas(backdrop(scene.background, size), frames, len(scene.tracks))
    for i, track in enumerate(scene.tracks):
        noun, colour = identify(track.phrase)
        turned = mirrored(noun, track.boxes)
        for f, box in enumerate(track.boxes):
            if box is None:
                continue
            x, y, side = place(box, size)
            shown = sprite(noun, colour, side, turned[f])
            canvas.paste(shown, i, f, x, y)
    return canvas.finished()


@cache
def _painted(noun: str, colour: str) -> np.ndarray:
    """One sprite at its stored size: float `[72, 72, rgba]` in 0..1, its paintable hues in `colour`."""
    picture = stored_sprite(noun)
    rgba = np.asarray(picture, np.float32) / 255
    if not colour:
        return rgba

    converted = picture.convert("RGB").convert("HSV")
    hsv = np.asarray(converted, np.float32) / 255
    hue = hsv[..., 0] * 360
    saturation = hsv[..., 1]
    painted = is_paintable(hue, saturation, NOUNS[noun] or (0, 0))
    return repaint(rgba, painted, COLOURS[colour])
