"""How the scenes of a story follow one another: by words that are mixed, by a cut, or by a crossfade.

A request says it in one text, one entry for each join of two scenes or one for all: `2` windows are given a mix of both
prompts (DiTCtrl), `cut` changes the picture at once, `crossfade:8` dissolves one picture into the next over 8 frames.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import AnimaticError

CUT = "cut"
CROSSFADE = "crossfade"
MOST = 10_000  # windows or frames of one transition
_ENTRY = re.compile(rf"(?P<windows>\d+)|{CUT}|{CROSSFADE}:(?P<frames>\d+)", re.ASCII)
WANTED = f"want a number of mixed windows, {CUT}, or {CROSSFADE}:FRAMES, such as 1, or 2,{CUT},{CROSSFADE}:8"


@dataclass(frozen=True)
class Transition:
    """From one scene to the next.

    `windows`: how many are given a mix of both prompts; None where no window shows both scenes. `frames`: of the
    video, in which both pictures are seen; 0 where there is a cut.
    """

    windows: int | None = None
    frames: int = 0


def transitions_of(value: int | str, joins: int) -> tuple[Transition, ...]:
    """The transition at each of `joins` joins. Raises `AnimaticError` where `value` is none, or has others than these.

    A whole number, or a text with a single entry, is the same for all.
    """
    is_text = isinstance(value, str)
    if not is_text and (isinstance(value, bool) or not isinstance(value, int)):
        raise AnimaticError(f"transitions is {value!r}; {WANTED}")
    found = [_parsed(entry.strip(), value) for entry in str(value).split(",")]
    if len(found) == 1:
        return tuple(found) * joins
    if len(found) != joins:
        raise AnimaticError(
            f"transitions is {value!r}, {len(found)} for {joins} joins of scenes; want one for each, or one for all"
        )
    return tuple(found)


def _parsed(entry: str, value: int | str) -> Transition:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise AnimaticError(f"transitions is {value!r}; {WANTED}")
    if match["windows"] is not None:
        return Transition(windows=_counted(match["windows"], value))
    if match["frames"] is None:
        return Transition()
    frames = _counted(match["frames"], value)
    if frames == 0:
        raise AnimaticError(f"transitions is {value!r}; a crossfade of 0 frames is a {CUT}")
    return Transition(frames=frames)


def _counted(digits: str, value: int | str) -> int:
    if len(digits) > 5 or int(digits) > MOST:
        raise AnimaticError(f"transitions is {str(value)[:60]!r}; want numbers of at most {MOST}")
    return int(digits)


def check_crossfades(frames: int, cuts: Sequence[int], fades: Sequence[int]) -> None:
    """Raise `AnimaticError` where a crossfade is longer than what it joins: see `crossfaded`."""
    borders = [0, *cuts, frames]
    around = [0, *fades, 0]
    for i in range(len(borders) - 1):
        length = borders[i + 1] - borders[i]
        if around[i] + around[i + 1] > length:
            fade = max(around[i], around[i + 1])
            joined = f"a crossfade of {fade} frames joins a part of {length} frames between cuts"
            raise AnimaticError(f"{joined}; want fewer, or longer scenes")


def crossfaded(clip: np.ndarray, cuts: Sequence[int], fades: Sequence[int]) -> np.ndarray:
    """Frames `[frame, height, width, 3]`, uint8, in which parts between `cuts` overlap by as many frames as `fades`.

    Where parts overlap the first fades out as the next fades in, linearly. The clip is as many frames shorter.
    """
    first, *others = np.split(clip, list(cuts))
    parts = [first]
    for part, fade in zip(others, fades, strict=True):
        before = parts[-1]
        incoming = (np.arange(fade, dtype=np.float32) + 1) / (fade + 1)
        incoming = incoming[:, None, None, None]
        both = before[len(before) - fade :] * (1 - incoming) + part[:fade] * incoming
        parts[-1] = before[: len(before) - fade]
        parts += [np.round(both).astype(clip.dtype), part[fade:]]
    return np.concatenate(parts)
