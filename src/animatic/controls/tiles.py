"""Clips too long or too large for the network: predicted tile by tile, averaged where tiles overlap.

MultiDiffusion (Bar-Tal et al. 2023, arXiv 2302.08113, https://github.com/omerbt/MultiDiffusion): predictions are
averaged, never solver steps, so one solver serves all. The memory of a call depends on the tile, not on the clip.
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
    """Windows of `frames` latent frames that share `overlap`, and tiles of `side` latent cells that share `margin`.

    A size of 0 is the whole of the axis. Raises `AnimaticError` where tiles share all of their size.
    """

    frames: int = 0
    overlap: int = 0
    side: int = 0
    margin: int = 8

    def __post_init__(self) -> None:
        in_time = (self.frames, self.overlap, "frames")
        in_space = (self.side, self.margin, "cells")
        for size, shared, name in (in_time, in_space):
            if size and not 0 <= shared < size:
                raise AnimaticError(f"windows of {size} {name} share {shared}; want 0 to {size - 1}")

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        in_time = (self.frames, self.overlap)
        in_space = (self.side, self.margin)
        sizes = (in_time, in_space, in_space)
        axes = []
        for count, (size, shared) in zip(x.shape[2:], sizes, strict=True):
            axes.append(list(spans(count, size, shared)))
        if all(len(axis) == 1 for axis in axes):
            return inner(x, step, cond)

        total = torch.zeros_like(x)
        weights = x.new_zeros(x.shape[2:])
        for tile in product(*axes):
            here = tuple(slice(*span) for span in tile)
            part = x[:, :, *here]
            prediction = inner(part, step, _part(cond, here))

            # the weight is a product of ramps, one for each axis: [frame, height, width]
            weight = x.new_ones(prediction.shape[2:])
            for axis, (_, shared) in enumerate(sizes):
                count = weight.shape[axis]
                ramp = _ramp(count, shared).to(x)
                shape = [1, 1, 1]
                shape[axis] = count
                weight = weight * ramp.view(shape)
            total[:, :, *here] += prediction * weight
            weights[here] += weight
        return total / weights


def spans(count: int, size: int, shared: int) -> Iterator[Span]:
    """Spans `(first, stop)` of length `size` that cover `count` positions, each sharing `shared` or more with the last.

    Where `shared` is 0 they do not overlap, and the last may be shorter. `size` 0: one span.
    """
    if not size or size >= count:
        yield 0, count
        return
    if not shared:
        for first in range(0, count, size):
            yield first, min(first + size, count)
        return

    # the last one ends at the end, and shares more where the step does not fit
    step = size - shared
    for first in range(0, count - size, step):
        yield first, first + size
    yield count - size, count


def _ramp(count: int, shared: int) -> Tensor:
    """Weights `[count]` that rise over the first and fall over the last `shared` positions."""
    # counted from 1: a weight of 0 would leave a border cell of the clip without any
    position = torch.arange(count)
    nearer = torch.minimum(position, position.flip(0))
    from_edge = nearer + 1
    level = shared + 1
    return from_edge.clamp(max=level) / level


def _part(cond: Conditioning, here: tuple[slice, ...]) -> Conditioning:
    """The conditioning of a tile: its part of the concatenated channels, and its first frame."""
    extra = dict(cond.extra)
    if CONCAT in extra:
        channels = extra[CONCAT]
        extra[CONCAT] = channels[:, :, *here]

    # branches count frames from the clip's first
    first = here[0].start
    branches = []
    for branch in cond.branches:
        own_first = branch.first_frame + first
        branches.append(replace(branch, first_frame=own_first))
    return replace(cond, extra=extra, branches=tuple(branches))
