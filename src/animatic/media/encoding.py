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
    ".mkv": ("ffv1", "bgr0", {}),  # lossless
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

    suffix = path.suffix
    codec, layout, options = CODECS[suffix]
    height, width = frames.shape[1:3]
    if suffix == ".mp4":  # 4:2:0 colour wants even sizes
        height, width = height + height % 2, width + width % 2
    flags = {"movflags": "use_metadata_tags+faststart"} if suffix == ".mp4" else {}
    origin = json.dumps(dict(info))

    with _one_line(f"{width} x {height} as {codec}"), av.open(str(path), "w", options=flags) as container:
        container.metadata.update({KEY: origin, "title": str(info.get("prompt", "")), "comment": origin})
        rate = Fraction(fps).limit_denominator(1001)  # 1001: broadcast's 30000/1001
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, layout
        if suffix == ".mp4":
            _tag(stream.codec_context, height)
        tracks = Muxer(container, sound, MP4_CODECS if suffix == ".mp4" else ())

        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(_padded(pixels, height, width), format="rgb24")
            if suffix == ".mp4":
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
        pixels = np.pad(pixels, ((0, height - len(pixels)), (0, width - pixels.shape[1]), (0, 0)), mode="edge")
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
    chosen = kept_frames(len(frames), fps, MAX_FPS[suffix])
    origin = json.dumps(dict(info))
    text = PngImagePlugin.PngInfo()
    text.add_itxt(KEY, origin)
    options: dict[str, dict[str, Any]] = {
        ".gif": {"comment": origin.encode(), "optimize": False},
        ".webp": {"lossless": True, "xmp": origin.encode()},
        ".png": {"pnginfo": text},
    }
    timing: dict[str, Any] = {}
    if len(chosen) > 1:
        rest = LazyImages(frames, chosen[1:])
        durations = delays(len(chosen), min(fps, MAX_FPS[suffix]), DELAY_UNIT[suffix])
        timing = {"save_all": True, "append_images": rest, "loop": 0, "duration": durations}
    Image.fromarray(frames[0]).save(path, suffix[1:].upper(), **options[suffix], **timing)


def format_losses(suffix: str, count: int, fps: float, sound: Sound | None) -> list[str]:
    """What a file of this kind cannot hold of `count` frames at `fps` with `sound`, a line each."""
    lines = []
    if sound is not None and suffix not in CODECS:
        lines.append(f"{suffix[1:]} holds no sound: it is left out; mp4 and mkv keep it")
    if suffix in MAX_FPS and (left := count - len(kept_frames(count, fps, MAX_FPS[suffix]))):
        fastest = f"{suffix[1:]} shows {MAX_FPS[suffix]:g} frames a second at most"
        lines.append(f"{fastest}: {left} of {count} frames are left out, the timing is kept")
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
