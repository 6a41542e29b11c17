"""Conversion between unequal frame durations and a constant frame rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MAX_FPS = 120.0  # frames per second that an uneven video is brought to at most
TICK_TOLERANCE = 0.1  # of a tick, that times may be off a tick they are written for: files round them
MOST_ROUNDED = 0.49  # of a tick, that times may be off where the file's clock is no finer
MIN_DELAY = 10  # ms; delays up to this are shown for `DEFAULT_DELAY` by every browser
DEFAULT_DELAY = 100  # ms


@dataclass(frozen=True)
class ConstantRate:
    """Frame i is shown from tick `starts[i]` until the next begins; `count` ticks in all, `fps` a second."""

    fps: float
    starts: np.ndarray
    count: int

    @property
    def lost(self) -> int:
        """Frames that are shown for no tick at all."""
        return int((np.diff(self.starts, append=self.count) == 0).sum())


def constant_rate(times: Sequence[float], last: float, rates: Iterable[float], clock: float = 0.0) -> ConstantRate:
    """The slowest of `rates` (frames per second) on whose ticks every frame is shown at its time.

    `times` in seconds, rising, rounded to multiples of `clock` (Matroska's is a millisecond); `last` is how long the
    last frame is shown. Where no rate fits, the slowest at which no frame is lost and none is late by more than a tick;
    where frames come faster than `MAX_FPS`, that.
    """
    since_first = np.asarray(times, float) - times[0]
    at = np.maximum.accumulate(since_first)

    # The stated rates, the fastest, and the one of the smallest gap; none much above the mean rate of the frames.
    candidates = {*rates, MAX_FPS}
    gaps = np.diff(at)
    if len(gaps) and gaps.min() > 0:
        candidates.add(1 / gaps.min())
    average = 0.0
    if len(at) > 1 and at[-1] > clock:
        average = (len(at) - 1) / (at[-1] - clock)
    limit = max(MAX_FPS, average * (1 + 1e-3))
    known = sorted(rate for rate in candidates if 0 < rate <= limit)

    # Times that lie on a rate's ticks.
    for fps in known:
        ticks = at * fps
        starts = np.rint(ticks).astype(int)
        tolerance = min(MOST_ROUNDED, max(TICK_TOLERANCE, clock * fps))
        is_rising = (np.diff(starts) > 0).all()
        if is_rising and np.abs(ticks - starts).max() <= tolerance:
            return _lasting(fps, starts, at[-1] + last)

    # Times that jitter: a frame whose tick is taken waits for the next.
    numbers = np.arange(len(at))
    for fps in known:
        ticks = at * fps
        free = np.rint(ticks).astype(int) - numbers
        starts = np.maximum.accumulate(free) + numbers
        if (starts - ticks).max() <= 1:
            return _lasting(fps, starts, at[-1] + last)

    starts = np.rint(at * MAX_FPS).astype(int)
    return _lasting(MAX_FPS, starts, at[-1] + last)


def _lasting(fps: float, starts: np.ndarray, seconds: float) -> ConstantRate:
    least = int(starts[-1]) + 1  # the last frame is shown for a tick at least
    return ConstantRate(fps, starts, max(least, round(seconds * fps)))


def browser_durations(delays: Sequence[float]) -> list[float]:
    """How long pictures with these delays (ms) are shown by browsers, in seconds."""
    return [(DEFAULT_DELAY if delay <= MIN_DELAY else delay) / 1000 for delay in delays]


def kept_frames(count: int, fps: float, fastest: float) -> list[int]:
    """Which of `count` frames are shown where at most `fastest` a second can be: all, or some, time kept."""
    if fps <= fastest:
        return list(range(count))

    # A frame for each tick: the one that is shown then.
    ticks = max(1, round(count * fastest / fps))
    shown = [int(tick * fps / fastest + 1e-6) for tick in range(ticks)]
    return [min(count - 1, number) for number in shown]


def delays(count: int, fps: float, unit: int) -> list[int]:
    """How long each of `count` frames is shown in ms, in multiples of `unit`: rounded so that the clip never drifts."""
    ends = []
    for number in range(count + 1):
        milliseconds = 1000 * number / fps
        ends.append(round(milliseconds / unit) * unit)
    return [end - begin for begin, end in pairwise(ends)]
