"""Video and picture files read to frames: recognised by content, and probed before they are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import joblib_files, npz_files
from . import pictures as picture_files
from .frame_buffer import Decoded, Probe

if TYPE_CHECKING:
    from .frame_stream import FrameStream

SMALL = 2**26  # bytes of frames that are read at once: reading them as a stream decodes the file twice


def probe(path: Path) -> Probe:
    """Size and metadata of the video in a file. Raises `AnimaticError` where there is none."""
    return _reader(path).probe(path)


def read(path: Path, most: int = 0) -> Decoded:
    """The video or picture in a file of any kind that FFmpeg, Pillow or NumPy knows, upright, in square pixels.

    Transparency is put on white. Raises `AnimaticError` where the file cannot be read or needs more than `most` bytes
    (0: what is free), which is checked before more than the first frame is decoded.
    """
    return _reader(path).read(path, most)


def streamed(path: Path, held: object = None) -> FrameStream | None:
    """The video in a file as a stream where all its frames would take much memory; None where it is small.

    Pictures and arrays are read whole whatever they take: their formats are of short clips. `held` is kept as long as
    the stream is.
    """
    if not _is_of_ffmpeg(path):
        return None
    plan = probe(path)
    if 3 * plan.frames * plan.height * plan.width <= SMALL:
        return None
    from .frame_stream import FrameStream  # FFmpeg's libraries are loaded where they are needed

    return FrameStream(path, held)


def _is_of_ffmpeg(path: Path) -> bool:
    return not any(module.can_read(path) for module in (picture_files, npz_files, joblib_files))


def _reader(path: Path) -> Any:
    """The module that reads this file: `probe(path)` and `read(path, most)`."""
    for module in (picture_files, npz_files, joblib_files):
        if module.can_read(path):
            return module
    from . import ffmpeg as ffmpeg_files  # FFmpeg's libraries are loaded where they are needed

    return ffmpeg_files
