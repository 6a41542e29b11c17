"""Pictures and their animations, GIF, WebP, PNG and JPEG: read by Pillow with timing, orientation and metadata."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..errors import AnimaticError
from .formats import embedded_info
from .frame_buffer import RATE, Decoded, FrameBuffer, Probe, add_damage, at_constant_rate, check_memory, on_white
from .timing import browser_durations, constant_rate

MAGIC = (b"GIF87a", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # and WebP's, in two places
MOTION_JPEG = (".mjpeg", ".mjpg")  # begin as a photograph does, but are videos
ORIENTATION = 0x0112  # of Exif; from 5 on rows are columns
UNREADABLE = (
    *(OSError, EOFError, SyntaxError, TypeError, ValueError, LookupError, OverflowError, struct.error),
    *(zlib.error, Image.DecompressionBombError),
)


def can_read(path: Path) -> bool:
    """Whether these functions read it: by its first bytes, whatever its name."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:  # reported by the reader
        return False
    if path.suffix.lower() in MOTION_JPEG:
        return False
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return is_webp or head.startswith(MAGIC)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    try:
        with Image.open(path) as picture:
            yield picture
    except UNREADABLE as error:
        raise AnimaticError(f"{path}: cannot be read ({error})") from None


def probe(path: Path) -> Probe:
    """Width, height and number of frames from the header; the rate is that of the first delay."""
    with opened(path) as picture:
        (delay,) = browser_durations([picture.info.get("duration") or 0])
        count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # MPO: a stereo pair
        width, height = picture.size
        is_turned = picture.getexif().get(ORIENTATION, 1) >= 5
        if is_turned:
            width, height = height, width
        info = embedded_info(picture.info)
    return Probe(count, height, width, 1 / delay, info)


def read(path: Path, most: int = 0) -> Decoded:
    """All frames, each for as long as a browser shows it, at a constant rate."""
    plan = probe(path)
    check_memory(path, plan.frames, plan.height, plan.width, most)
    buffer = FrameBuffer(path, plan.frames, plan.height, plan.width, most)
    delays: list[float] = []
    with opened(path) as picture:
        for number in range(plan.frames):
            try:
                picture.seek(number)
                upright = ImageOps.exif_transpose(picture)
                buffer.append(eight_bits(upright, path))
            except UNREADABLE:
                if not delays:
                    raise
                add_damage(plan.info, f"{path}: {len(delays)} of {plan.frames} frames could be read")
                break
            delays.append(picture.info.get("duration") or 0)  # of WebP known now only

    if len(delays) == 1:
        fps = 1000 / delays[0] if delays[0] else RATE
        return Decoded(buffer.trimmed(), fps, plan.info, None)

    # The slower rates are tried first: the mean, then the one that has all times on its ticks.
    seconds = browser_durations(delays)
    times = np.cumsum([0.0, *seconds[:-1]]).tolist()
    mean_rate = len(seconds) / sum(seconds)
    common_ms = reduce(gcd, (round(1000 * second) for second in seconds))
    rate = constant_rate(times, seconds[-1], [mean_rate, 1000 / common_ms])
    frames = at_constant_rate(buffer, times, rate, plan.info, path)
    return Decoded(frames, rate.fps, plan.info, None)


def eight_bits(picture: Image.Image, path: Path) -> np.ndarray:
    """A picture of any kind as uint8 `[height, width, 3]`: 16 bits are scaled, transparency is put on white."""
    if picture.mode == "F":
        raise AnimaticError(f"{path}: its pixels are floats of no known range; want 8 or 16 bits")
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.uint32).clip(0, 65535)
        levels = ((grey * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(levels[..., None], 3, -1)
    if picture.has_transparency_data:
        return on_white(np.asarray(picture.convert("RGBA")))
    return np.asarray(picture.convert("RGB"))
