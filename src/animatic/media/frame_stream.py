"""A video file whose frames are decoded when they are asked for: a short part of a long file takes little memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import AnimaticError
from . import ffmpeg
from .frame_buffer import check_memory, note_lost


class FrameSource(Protocol):
    """Frames by number: a video in memory, or one in a file."""

    @property
    def fps(self) -> float: ...

    @property
    def info(self) -> Mapping[str, Any]: ...

    def __len__(self) -> int: ...

    def take(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The frames of these numbers, which may repeat: uint8 `[number, height, width, 3]`."""
        ...


class FrameStream:
    """The frames that `ffmpeg.read` would return, without their sound; those that are asked for are in memory alone.

    The file is decoded once for its timing, and again, as far as needed, by each `take`. `held` is kept as long as the
    stream is: a temporary file. Raises `AnimaticError` where the file cannot be read.
    """

    def __init__(self, path: Path, held: object = None) -> None:
        plan = ffmpeg.probe(path)
        self.path, self.held = path, held
        self.height, self.width = plan.height, plan.width
        self.info: Mapping[str, Any] = plan.info
        timing = ffmpeg.timing_of(path, plan.info, lambda frame, size: None)
        self.fps = timing.fps

        # The tick of the constant rate from which each frame is shown.
        self._starts, self._count = np.zeros(1, int), 1
        if timing.rate is not None:
            note_lost(timing.times, timing.rate, plan.info, path)
            self._starts, self._count = timing.rate.starts, timing.rate.count

    def __len__(self) -> int:
        return self._count

    def take(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The frames of these numbers, which may repeat: uint8 `[number, height, width, 3]`.

        Raises `AnimaticError` where they need more memory than is free, or the file is no longer what it was.
        """
        check_memory(self.path, len(numbers), self.height, self.width)
        wanted = np.searchsorted(self._starts, numbers, side="right") - 1
        frames = np.empty((len(wanted), self.height, self.width, 3), np.uint8)
        found = np.zeros(len(wanted), bool)
        with ffmpeg.opened(self.path) as (container, stream):
            for number, (frame, size) in enumerate(ffmpeg.sized_frames(container, stream)):
                places = wanted == number
                if places.any():
                    frames[places] = ffmpeg.upright(frame, size)
                    found |= places
                if found.all():
                    break
        if not found.all():
            raise AnimaticError(f"{self.path}: has fewer frames than before; want a file that nothing writes")
        return frames
