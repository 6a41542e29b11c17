"""Video and picture files read to frames: recognised by content, and probed before they are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import joblib_files, npz_files
from . import pictures as picture_files
from .frame_buffer import Decoded, Probe


def probe(path: Path) -> Probe:
    """Size and metadata of the video in a file. Raises `AnimaticError` where there is none."""
    return _reader(path).probe(path)


def read(path: Path, most: int = 0) -> Decoded:
    """The video or picture in a file of any kind that FFmpeg, Pillow or NumPy knows, upright, in square pixels.

    Transparency is put on white. Raises `AnimaticError` where the file cannot be read or needs more than `most` bytes
    (0: what is free), which is checked before more than the first frame is decoded.
    """
    return _reader(path).read(path, most)


def _reader(path: Path) -> Any:
    """The module that reads this file: `probe(path)` and `read(path, most)`."""
    for module in (picture_files, npz_files, joblib_files):
        if module.can_read(path):
            return module
    from . import ffmpeg as ffmpeg_files  # FFmpeg's libraries are loaded where they are needed

    return ffmpeg_files
