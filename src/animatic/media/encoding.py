"""Frames written to files, with their timing, their sound, and the request that they were made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from ..errors import AnimaticError
from . import npz_files
from .formats import HD_LINES, KEY
from .sound import MP4_CODECS, Muxer, Sound
from .timing import delays, kept_frames

CODECS = {  # name, pixel format, options
    ".mp4": (
        "libx264",
        "yuv420p",
        {"crf": "12", "preset": "medium", "threads": "1"},
    ),  # the bytes of a file depend on the number of threads
    ".mkv": ("ffv1", "bgr0", {"level": "3", "slicecrc": "1"}),  # lossless, with a checksum of each slice
}
LOSSLESS = (".mkv", ".npz")  # frames of any size are written unchanged
MAX_FPS = {".gif": 50.0, ".webp": 90.0, ".png": 90.0}
"""Frames per second: browsers show each for a tenth of a second where a delay is 10 ms or less."""
DELAY_UNIT = {".gif": 10, ".webp": 1, ".png": 1}  # ms

# Codes of ITU-T H.273: matrix coefficients, primaries and transfer.
BT709, BT601, LIMITED_RANGE = 1, 6, 1


def _by_ffmpeg(path: Path, frames: np.ndarray, fps: float, info: Mapping[str, Any], sound: Sound | None) -> None:
    """H.264 that every browser plays, or FFV1."""
    import av

    # Codec, pixel format and options by the kind of file.
    suffix = path.suffix
    is_mp4 = suffix == ".mp4"
    codec, layout, options = CODECS[suffix]
    height, width = frames.shape[1:3]
    if is_mp4:  # 4:2:0 colour wants even sizes
        height += height % 2
        width += width % 2
    flags = {"movflags": "use_metadata_tags+faststart"} if is_mp4 else {}
    origin = json.dumps(dict(info))

    with _one_line(f"{width} x {height} as {codec}"), av.open(str(path), "w", options=flags) as container:
        title = str(info.get("prompt", ""))
        container.metadata.update({KEY: origin, "title": title, "comment": origin})
        rate = Fraction(fps).limit_denominator(1001)  # 1001: broadcast's 30000/1001
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.height = height
        stream.width = width
        stream.pix_fmt = layout
        if is_mp4:
            _tag(stream.codec_context, height)
        tracks = Muxer(container, sound, MP4_CODECS if is_mp4 else ())

        # Sound is written as time goes on, so that players find both tracks close together.
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(_padded(pixels, height, width), format="rgb24")
            if is_mp4:
                matrix = stream.codec_context.colorspace
                frame = frame.reformat(format=layout, dst_colorspace=matrix, dst_color_range=LIMITED_RANGE)
            container.mux(stream.encode(frame))
            tracks.until(number / fps)
        container.mux(stream.encode(None))
        tracks.close()


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn FFmpeg's errors into an `AnimaticError` of one line."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise AnimaticError(f"a video of {what} cannot be written ({error.strerror})") from None


def _tag(context: Any, height: int) -> None:
    """Write the colour space into the file: pixels are sRGB, whose primaries are those of BT.709 at any size."""
    context.colorspace = BT709 if height >= HD_LINES else BT601
    context.color_primaries = BT709
    context.color_trc = BT709
    context.color_range = LIMITED_RANGE


def _padded(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """One frame with its last row and column repeated up to this size."""
    if pixels.shape[:2] != (height, width):
        below = height - pixels.shape[0]
        right = width - pixels.shape[1]
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)


@dataclass(frozen=True, eq=False)
class LazyImages(Sequence[Image.Image]):
    """Some of the frames as Pillow images, each made on access: Pillow iterates over them more than once."""

    frames: np.ndarray
    chosen: Sequence[int]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: Any) -> Any:
        return Image.fromarray(self.frames[self.chosen[place]])


def _by_pillow(path: Path, frames: np.ndarray, fps: float, info: Mapping[str, Any], sound: Sound | None) -> None:
    """GIF, WebP or PNG, animated where there is more than one frame; frames beyond `MAX_FPS` a second are left out."""
    suffix = path.suffix
    origin = json.dumps(dict(info))

    # Where each format keeps the metadata.
    text = PngImagePlugin.PngInfo()
    text.add_itxt(KEY, origin)
    metadata: dict[str, dict[str, Any]] = {
        ".gif": {"comment": origin.encode(), "optimize": False},
        ".webp": {"lossless": True, "xmp": origin.encode()},
        ".png": {"pnginfo": text},
    }
    options = metadata[suffix]

    # Browsers show no more than so many frames a second of these formats.
    fastest = MAX_FPS[suffix]
    chosen = kept_frames(len(frames), fps, fastest)
    if len(chosen) > 1:
        rest = LazyImages(frames, chosen[1:])
        durations = delays(len(chosen), min(fps, fastest), DELAY_UNIT[suffix])
        options |= {"save_all": True, "append_images": rest, "loop": 0, "duration": durations}
    first = Image.fromarray(frames[0])
    first.save(path, suffix[1:].upper(), **options)


def format_losses(suffix: str, count: int, fps: float, sound: Sound | None) -> list[str]:
    """What a file of this kind cannot hold of `count` frames at `fps` with `sound`, a line each."""
    kind = suffix[1:]

    # Formats of pictures hold no sound, and have a fastest rate.
    lines = []
    if sound is not None and suffix not in CODECS:
        lines.append(f"{kind} holds no sound: it is left out; mp4 and mkv keep it")
    if suffix in MAX_FPS:
        fastest = MAX_FPS[suffix]
        lost = count - len(kept_frames(count, fps, fastest))
        if lost:
            limit = f"{kind} shows {fastest:g} frames a second at most"
            lines.append(f"{limit}: {lost} of {count} frames are left out, the timing is kept")
    return lines


Writer = Callable[[Path, np.ndarray, float, Mapping[str, Any], Sound | None], None]
"""Writes frames uint8 `[frame, height, width, 3]`, frames per second, metadata and sound into a file."""

WRITERS: dict[str, Writer] = {
    ".mp4": _by_ffmpeg,
    ".mkv": _by_ffmpeg,
    ".gif": _by_pillow,
    ".webp": _by_pillow,
    ".png": _by_pillow,
    ".npz": npz_files.write,
}

FORMATS = "mp4, gif, webp, png; mkv (FFV1) and npz lose nothing"
"""What `WRITERS` writes, in words."""


def check_format(name: str) -> None:
    """Raise where nothing is written in this format ("mp4")."""
    if f".{name}" not in WRITERS:
        raise AnimaticError(f"unknown format {name!r}; known: {FORMATS}")
