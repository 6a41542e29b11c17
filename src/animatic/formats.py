"""Video files: frames to bytes and back, with what they were made from inside."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence, PngImagePlugin

from .errors import AnimaticError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"),
    *(".gif", ".webp", ".apng"),
)
"""What clips are looked for by, in lower case. A file is read by what it holds, whatever its name."""

KEY = "animatic"  # of the metadata that says what a file was made from
CODECS = {  # name, pixel format, options
    ".mp4": ("libx264", "yuv420p", {"crf": "12", "preset": "medium", "threads": "1"}),  # its bytes depend on threads
    ".mkv": ("ffv1", "bgr0", {}),  # nothing lost
}


def _by_ffmpeg(frames: np.ndarray, fps: float, info: Mapping[str, Any], suffix: str) -> bytes:
    """H.264 that every browser plays, or FFV1."""
    import av

    codec, layout, options = CODECS[suffix]
    if suffix == ".mp4":  # 4:2:0 colour wants even sizes
        frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    flags = {"movflags": "use_metadata_tags+faststart"} if suffix == ".mp4" else {}
    told = json.dumps(dict(info))
    with tempfile.TemporaryDirectory() as folder:  # moving the index to the front (faststart) wants a real file
        path = Path(folder) / f"video{suffix}"
        with av.open(path, "w", options=flags) as container:
            container.metadata.update({KEY: told, "title": str(info.get("prompt", "")), "comment": told})
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], layout
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        return path.read_bytes()


def _by_pillow(frames: np.ndarray, fps: float, info: Mapping[str, Any], suffix: str) -> bytes:
    first, *rest = map(Image.fromarray, frames)
    told, text, buffer = json.dumps(dict(info)), PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_itxt(KEY, told)
    how: dict[str, dict[str, Any]] = {
        ".gif": {"comment": told.encode(), "optimize": False},
        ".webp": {"lossless": True, "xmp": told.encode()},
        ".png": {"pnginfo": text},
    }
    timing = {"save_all": True, "append_images": rest, "loop": 0, "duration": round(1000 / fps)} if rest else {}
    first.save(buffer, suffix[1:].upper(), **how[suffix], **timing)
    return buffer.getvalue()


Writer = Callable[[np.ndarray, float, Mapping[str, Any], str], bytes]
"""Frames uint8 `[frame, height, width, 3]`, frames per second, what they were made from, suffix -> the file."""

WRITERS: dict[str, Writer] = {
    ".mp4": _by_ffmpeg,
    ".mkv": _by_ffmpeg,
    ".gif": _by_pillow,
    ".webp": _by_pillow,
    ".png": _by_pillow,
}


def read(path: Path) -> tuple[np.ndarray, float, dict[str, Any]]:
    """Frames, frames per second and what was told inside, of any kind that FFmpeg or Pillow knows."""
    return _read_pillow(path) if path.suffix in (".gif", ".webp", ".png") else _read_av(path)


def _read_pillow(path: Path) -> tuple[np.ndarray, float, dict[str, Any]]:
    try:
        with Image.open(path) as picture:
            pages = ImageSequence.all_frames(picture)
            frames = np.stack([np.asarray(page.convert("RGB")) for page in pages])
    except (OSError, SyntaxError, ValueError) as error:
        raise AnimaticError(f"{path}: cannot be read ({error})") from None
    info, durations = pages[0].info, [float(page.info.get("duration", 0)) for page in pages]
    duration = next(filter(None, durations), 125.0)
    return frames, 1000 / duration, _told(info.get(KEY) or info.get("comment") or info.get("xmp"))


def _read_av(path: Path) -> tuple[np.ndarray, float, dict[str, Any]]:
    import av

    frames: list[np.ndarray] = []
    times: list[float] = []
    broken = False
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or 8)
            told = {name.lower(): value for name, value in container.metadata.items()}
            expected = stream.frames or round((container.duration or 0) / av.time_base * fps)
            try:
                for frame in container.decode(stream):
                    frames.append(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4))  # upright
                    times.append(len(times) / fps if frame.time is None else frame.time)
            except (OSError, av.FFmpegError):
                broken = True
                if not frames:
                    raise
    except (OSError, IndexError, av.FFmpegError) as error:
        raise AnimaticError(f"{path}: cannot be read ({error})") from None
    if not frames:
        raise AnimaticError(f"{path}: has no frames")
    info = _told(told.get(KEY) or told.get("comment"))
    if broken or len(frames) < 0.9 * expected:
        info["damage"] = f"{path}: {len(frames)} of {max(expected, len(frames))} frames could be read"
    return np.stack(_steady(frames, times, fps)), fps, info


def _steady(frames: list[np.ndarray], times: list[float], fps: float) -> list[np.ndarray]:
    """Frames on an even beat: at each tick the last that has begun. What is even already stays as it is."""
    if len(frames) < 3 or np.ptp(np.diff(times)) < 0.5 / fps:
        return frames
    ticks = times[0] + np.arange(max(1, round((times[-1] - times[0]) * fps) + 1)) / fps
    return [frames[int(np.searchsorted(times, t + 1e-6, "right")) - 1] for t in ticks]


def _told(text: str | bytes | None) -> dict[str, Any]:
    """The JSON we wrote, or nothing where somebody else wrote the comment."""
    try:
        data = json.loads(text or "{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return data if isinstance(data, dict) else {}
