"""Clips too long or too large for the network: it answers window by window, and answers are blended where they overlap.

Predictions are blended, never steps, so one solver state serves all (MultiDiffusion, Bar-Tal et al. 2023). What a call
needs at once depends on the window alone, not on the clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from ..backbones.concat_conditioning import CONCAT
from ..core.control import Control
from ..core.types import Conditioning, Denoise, Step
from ..errors import AnimaticError

Span = tuple[int, int]


@dataclass(frozen=True)
class Tiles(Control):
    """Windows of `frames`, and tiles of `side` latent cells (0: all of it), that share `overlap` and `margin`."""

    frames: int = 0
    overlap: int = 0
    side: int = 0
    margin: int = 8

    def __post_init__(self) -> None:
        for size, shared, name in ((self.frames, self.overlap, "frames"), (self.side, self.margin, "cells")):
            if size and not 0 <= shared < size:
                raise AnimaticError(f"windows of {size} {name} share {shared}; want 0 to {size - 1}")

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        sizes = ((self.frames, self.overlap), (self.side, self.margin), (self.side, self.margin))
        ways = [list(spans(n, size, shared)) for n, (size, shared) in zip(x.shape[2:], sizes, strict=True)]
        if all(len(way) == 1 for way in ways):
            return inner(x, step, cond)
        total, weights = torch.zeros_like(x), x.new_zeros(x.shape[2:])
        for window in product(*ways):
            here = tuple(slice(*span) for span in window)
            answer = inner(x[:, :, *here], step, _part(cond, here))
            weight = x.new_ones(answer.shape[2:])
            for axis, (_, shared) in enumerate(sizes):
                ramp = _ramp(answer.shape[2 + axis], shared).to(x)
                weight = weight * ramp.view(*(-1 if a == axis else 1 for a in range(3)))
            total[:, :, *here] += answer * weight
            weights[here] += weight
        return total / weights


def spans(count: int, size: int, shared: int) -> Iterator[Span]:
    """Windows `(first, stop)` of `size` that cover `count`, each sharing `shared` or more with the one before.

    Where nothing is to be shared nothing is, and the last window is what is left.
    """
    if not size or size >= count:
        yield 0, count
        return
    if not shared:
        yield from ((first, min(first + size, count)) for first in range(0, count, size))
        return
    for first in range(0, count - size, size - shared):
        yield first, first + size
    yield count - size, count


def _ramp(count: int, shared: int) -> Tensor:
    """Weights that rise at the first and fall at the last `shared` places."""
    at = torch.arange(count)
    return (torch.minimum(at, at.flip(0)) + 1).clamp(max=shared + 1) / (shared + 1)


def _part(cond: Conditioning, here: tuple[slice, ...]) -> Conditioning:
    """What is told of a window: what stands beside it, and where its first frame is."""
    extra = dict(cond.extra)
    if CONCAT in extra:
        extra[CONCAT] = extra[CONCAT][:, :, *here]
    first = here[0].start
    return replace(
        cond, extra=extra, branches=tuple(replace(row, first_frame=row.first_frame + first) for row in cond.branches)
    )
