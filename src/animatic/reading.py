"""Video and picture files to frames: known by what they hold, whatever their names, probed before they are read."""

from __future__ import annotations

from pathlib import Path

from . import npz_files, picture_files
from .frame_buffer import Decoded, Probe


def probe(path: Path) -> Probe:
    """How large the video in a file is. Raises `AnimaticError` where there is none."""
    from . import ffmpeg_files  # FFmpeg's libraries are loaded where they are needed

    if npz_files.knows(path):
        return npz_files.probe(path)
    return picture_files.probe(path) if picture_files.knows(path) else ffmpeg_files.probe(path)


def read(path: Path, most: int = 0) -> Decoded:
    """The video or picture in a file of any kind that FFmpeg, Pillow or NumPy knows, upright, in square pixels.

    What is transparent stands on white. Raises `AnimaticError` where the file cannot be read or needs more than `most`
    bytes (0: what is free), which is looked at before more than the first frame is decoded.
    """
    from . import ffmpeg_files

    if npz_files.knows(path):
        return npz_files.read(path, most)
    return picture_files.read(path, most) if picture_files.knows(path) else ffmpeg_files.read(path, most)
