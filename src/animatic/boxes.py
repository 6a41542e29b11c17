"""Boxes: one at its key frames, and between them in every frame of a clip; the cells of a grid that one covers.

A box is `(x0, y0, x1, y1)` in fractions of the frame, origin top left; `None` means absent.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

Box = tuple[float, float, float, float]


def _within_frame(box: Box) -> Box:
    # pydantic puts the name of the field before these messages.
    x0, y0, x1, y1 = box
    if not all(0 <= v <= 1 for v in box):
        raise ValueError(f"found {list(box)}; want four numbers in 0..1 (x0, y0, x1, y1)")
    if x0 > x1 or y0 > y1:
        raise ValueError(f"found {list(box)}, reversed; want x0 <= x1 and y0 <= y1")
    return box


FramedBox = Annotated[Box, AfterValidator(_within_frame)]


def linear_frames(boxes: Sequence[Box | None], frames: int) -> tuple[Box | None, ...]:
    """A box for each of `frames` (>= 1) from those of evenly spaced key frames, linear in time; None where absent.

    Between a present and an absent key frame the nearer one decides.
    """
    last = len(boxes) - 1
    out: list[Box | None] = []
    for f in range(frames):
        # Where the frame lies between two key frames.
        at = f * last / max(1, frames - 1)
        low = min(int(at), last)
        fraction = at - low
        out.append(_between(boxes[low], boxes[min(low + 1, last)], fraction))
    return tuple(out)


def timed_frames(boxes: Sequence[Box | None], times: Sequence[float], frames: int) -> tuple[Box | None, ...]:
    """The same as `linear_frames` for key frames at `times`, one for each, rising from 0 to 1."""
    last = len(boxes) - 1
    out: list[Box | None] = []
    for f in range(frames):
        # Where the frame lies between two key frames.
        time = f / max(1, frames - 1)
        low = min(bisect_right(times, time) - 1, last)
        high = min(low + 1, last)
        fraction = (time - times[low]) / (times[high] - times[low]) if high > low else 0.0
        out.append(_between(boxes[low], boxes[high], fraction))
    return tuple(out)


def _between(a: Box | None, b: Box | None, fraction: float) -> Box | None:
    """A box between two; the nearer of them where one is absent."""
    if a is None or b is None:
        return a if fraction < 0.5 else b

    # Rounding may exceed 1 by its last digit.
    x0, y0, x1, y1 = (min(1.0, u + (v - u) * fraction) for u, v in zip(a, b, strict=True))
    return x0, y0, x1, y1


def lvd_frames(boxes: Sequence[Box | None], frames: int) -> tuple[Box | None, ...]:
    """A box for each of `frames` by LVD's rule: knots at i/(k-1) but presence in bins of 1/k.

    So gaps are interpolated across. Lian et al. 2023, https://arxiv.org/abs/2309.17444.
    """
    count = len(boxes)
    present = [i for i, box in enumerate(boxes) if box is not None]
    if not present:
        return (None,) * frames

    # Boxes at their key frames; between them numpy interpolates, absent ones are skipped.
    knots = np.array(present) / max(1, count - 1)
    values = np.array([boxes[i] for i in present])

    # The last time is a little less than 1, so that it falls into the last bin.
    times = np.linspace(0, 1 - 1e-5, frames)
    columns = [np.interp(times, knots, values[:, c]) for c in range(4)]
    out: list[Box | None] = []
    for f, time in enumerate(times):
        if boxes[int(time * count)] is None:
            out.append(None)
        else:
            x0, y0, x1, y1 = (float(column[f]) for column in columns)
            out.append((x0, y0, x1, y1))
    return tuple(out)


def cells(low: float, high: float, count: int, legacy: bool = False) -> slice:
    """The cells of a row of `count` that the span `low..high` (0..1) covers, rounded half to even.

    At least one, the cell under its centre, unless `legacy` (LVD's rounding).
    """
    if legacy:  # start and length are rounded apart, then cut to the grid
        start = round(low * count)
        stop = start + round((high - low) * count)
        return slice(max(0, start), max(0, min(count, stop)))

    start = round(low * count)
    stop = round(high * count)
    if start == stop:
        centre = (low + high) / 2
        start = min(count - 1, int(centre * count))
        stop = start + 1
    return slice(start, stop)
