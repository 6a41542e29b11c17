"""Frames as stages hand them to networks: padded, batched, and a long clip piece by piece so that memory is bounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..controls.tiles import spans

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


def process_in_pieces(
    frames: np.ndarray,
    size: int,
    overlap: int,
    process: Callable[[np.ndarray, Progress], np.ndarray],
    progress: Progress,
    factor: int = 1,
) -> np.ndarray:
    """Apply `process` to `size` frames at a time, and cross-fade linearly where neighbouring pieces overlap.

    Frames are uint8 `[frame, height, width, 3]`. Neighbouring pieces share `overlap` of the frames. `process` receives
    a piece and a progress callback of its own, and returns `factor` frames for each frame but the last, for which it
    returns one; height and width may differ from those of its input.
    """
    pieces = list(spans(len(frames), size, overlap))
    result: np.ndarray | None = None
    written = 0  # frames of the result so far
    for i, (first, stop) in enumerate(pieces):

        def piece_progress(step: int, count: int, i: int = i) -> None:
            progress(i * count + step, len(pieces) * count)

        # Frames are counted in those of the result from here on.
        processed = process(frames[first:stop], piece_progress)
        start = first * factor
        end = start + len(processed)
        if result is None:  # the first piece shows the height and width
            count = (len(frames) - 1) * factor + 1
            result = np.empty((count, *processed.shape[1:]), np.uint8)

        # Frames of both this piece and the one before: the weight of this piece rises linearly.
        common = written - start
        weight = np.arange(1, common + 1) / (common + 1)
        weight = weight[:, None, None, None]
        before = result[start:written] * (1 - weight)
        faded = before + processed[:common] * weight
        result[start:written] = (faded + 0.5).astype(np.uint8)

        result[written:end] = processed[common:]
        written = end
    assert result is not None
    return result


def overlap_within(requested: int | None, default: int, window: int) -> int:
    """Frames that neighbouring windows share: as requested (`Tiles` raises where it is too many), or the default.

    The default is reduced to `window` - 1 where the window is shorter.
    """
    return min(default, window - 1) if requested is None else requested


def unit_noise(source: torch.Generator, like: Tensor, frames: int | None = None) -> Tensor:
    """Gaussian noise of the shape, type and device of `like` `[sample, channel, frame, height, width]`.

    It is drawn on the CPU, so that it is the same for every device. `frames` 1: every frame has the same noise.
    """
    # One frame of noise is expanded, not copied.
    shape = list(like.shape)
    shape[2] = frames or shape[2]
    return torch.randn(shape, generator=source).to(like).expand_as(like)


def padded(frames: np.ndarray, multiple: int) -> np.ndarray:
    """Frames whose height and width are multiples of `multiple`: the last rows and columns are repeated."""
    height, width = frames.shape[1:3]
    below = -height % multiple
    right = -width % multiple
    if not below and not right:
        return frames
    after = [(0, 0), (0, below), (0, right), (0, 0)]
    return np.pad(frames, after, mode="edge")


def as_batch(frames: np.ndarray) -> Tensor:
    """One clip as a batch: uint8 `[1, frame, height, width, 3]`."""
    return torch.from_numpy(np.ascontiguousarray(frames))[None]
