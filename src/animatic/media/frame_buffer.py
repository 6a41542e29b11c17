"""Frames read from a file, in one array without a second copy, and their metadata."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import AnimaticError
from ..free_memory import free_memory
from .sound import Sound
from .timing import ConstantRate

VARIABLE = "ANIMATIC_MOST_VIDEO"  # in the environment: another limit, such as 16e9
MOST_BYTES = 6e9  # of the frames of one video that is read whole: half a minute of 1920x1080
RATE = 8.0  # frames per second, where a file does not say


@dataclass(frozen=True)
class Probe:
    """A file by its metadata, before it is decoded. `frames` is a lower bound for images of unequal delays."""

    frames: int
    height: int
    width: int
    fps: float
    info: dict[str, Any]
    sound: bool = False


class Decoded(NamedTuple):
    """Frames uint8 `[frame, height, width, 3]`, frames per second, metadata, sound."""

    frames: np.ndarray
    fps: float
    info: dict[str, Any]
    sound: Sound | None


class FrameBuffer:
    """Frames of one size in one array that grows in place, up to `most` bytes (0: `most_bytes`)."""

    def __init__(self, path: Path, count: int, height: int, width: int, most: int = 0) -> None:
        self.path, self.count = path, 0
        self.most = most or most_bytes()  # before any is taken
        self.frames = np.empty((0, height, width, 3), np.uint8)
        self._grow(max(1, count))

    def append(self, pixels: np.ndarray) -> None:
        if self.count == len(self.frames):
            self._grow(self.count + self.count // 4 + 8)
        self.frames[self.count] = pixels
        self.count += 1

    def repeated(self, rate: ConstantRate) -> np.ndarray:
        """The frames, each repeated for as many ticks as it is shown."""
        # Frames that are shown at all are moved together first, then each to its ticks, the last one first: neither
        # pass overwrites a frame that is still to be read.
        ends = np.append(rate.starts[1:], rate.count)
        kept = np.flatnonzero(ends > rate.starts)
        for place, number in enumerate(kept):
            self.frames[place] = self.frames[number]
        self._grow(rate.count)
        for place in reversed(range(len(kept))):
            number = kept[place]
            start, end = rate.starts[number], ends[number]
            self.frames[start:end] = self.frames[place].copy()
        return self.frames

    def trimmed(self) -> np.ndarray:
        """The frames as they were appended."""
        self._grow(self.count)
        return self.frames

    def _grow(self, count: int) -> None:
        """Make room for `count` frames in all. Raises before it is taken."""
        height, width = self.frames.shape[1:3]
        check_memory(self.path, count, height, width, self.most)
        self.frames.resize((count, height, width, 3), refcheck=False)  # in place: no second copy


def check_memory(path: Path, count: int, height: int, width: int, most: int = 0) -> None:
    """Raise `AnimaticError` where so many frames need more than `most` bytes (0: `most_bytes`)."""
    needed = 3 * count * height * width
    limit = most or most_bytes()
    if needed <= limit:
        return
    size = f"{count} frames of {width} x {height} need {format_bytes(needed)}"
    if not most and needed <= free_memory():
        want = f"a shorter or smaller video, or {VARIABLE} with another limit, such as {needed:.1e}"
        raise AnimaticError(f"{path}: {size}, and a video may take {format_bytes(limit)}; want {want}")
    raise AnimaticError(f"{path}: {size}, {format_bytes(limit)} are free; want a shorter or smaller video")


def most_bytes() -> int:
    """The most bytes that a video's frames may take: `MOST_BYTES`, or what the environment says, if so much is free.

    Raises `AnimaticError` where the environment has a limit that is no number above 0.
    """
    given = os.environ.get(VARIABLE, "")
    try:
        most = float(given) if given else MOST_BYTES
    except ValueError:
        most = 0.0
    if not most > 0:
        raise AnimaticError(f"{VARIABLE} is {given[:40]!r}; want a number of bytes, such as 16e9")
    return int(min(most, free_memory()))


def format_bytes(size: int) -> str:
    """A number of bytes as text, in MB or GB."""
    if size >= 2**28:
        return f"{size / 2**30:.1f} GB"
    return f"{size / 2**20:.1f} MB"


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Pixels `[height, width, 4]` whose last channel is opacity, on white as on a page: uint8 `[height, width, 3]`."""
    colours = pixels[..., :3]
    opacity = pixels[..., 3:].astype(np.uint16)
    if (opacity == 255).all():
        return colours

    # Integers, rounded: the same on every machine.
    mixed = colours * opacity + 255 * (255 - opacity)
    rounded = (mixed + 127) // 255
    return rounded.astype(np.uint8)


def at_constant_rate(
    buffer: FrameBuffer, times: Sequence[float], rate: ConstantRate, info: dict[str, Any], path: Path
) -> np.ndarray:
    """The frames of `buffer`, shown at `times` (seconds), at `rate`; frames left out are noted in `info`."""
    note_lost(times, rate, info, path)
    is_even = rate.count == len(times) and not rate.lost
    return buffer.trimmed() if is_even else buffer.repeated(rate)


def note_lost(times: Sequence[float], rate: ConstantRate, info: dict[str, Any], path: Path) -> None:
    """Note in `info` how many of the frames are shown for no tick of the rate."""
    if rate.lost:
        lost = f"{rate.lost} of {len(times)} frames"
        add_damage(info, f"{path}: {lost} follow within 1/{rate.fps:g} s and are left out")


def add_damage(info: dict[str, Any], text: str) -> None:
    """Note in `info` that a file could not be read whole."""
    damages = (info.get("damage"), text)
    info["damage"] = "; ".join(filter(None, damages))
