"""Frames between two others by bilateral block matching: the classical way, and the first guess of `mini-interpolate`.

Every pixel of the frame in between tries motions; of each, the place it came from in the frame before and the place it
goes to in the frame after should look alike (Choi et al. 2007, bilateral motion estimation). No frame has holes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SEARCH_RADIUS = 4  # motions tried each way, in steps of `factor` pixels (of 64), so that parts of them are whole pixels
BLOCK = 17  # pixels that must look alike
MOTION_PENALTY = 0.03  # what a step of motion costs: the shorter of two that fit alike is believed


def frame_between(before: Tensor, after: Tensor, index: int, factor: int) -> Tensor:
    """The frame `index / factor` of the way: images `[n, 3, height, width]` in -1..1 before, after, and made."""
    best = cost = None
    pace = max(1, min(before.shape[-2:]) // 64)  # large pictures move further
    height, width = before.shape[-2:]
    room = factor * SEARCH_RADIUS * pace
    a, b = (F.pad(image, (room,) * 4, mode="replicate") for image in (before, after))

    def moved(image: Tensor, down: int, right: int) -> Tensor:
        return image[..., room - down : room - down + height, room - right : room - right + width]

    motions = [
        (pace * y, pace * x)
        for y in range(-SEARCH_RADIUS, SEARCH_RADIUS + 1)
        for x in range(-SEARCH_RADIUS, SEARCH_RADIUS + 1)
    ]
    for y, x in sorted(motions, key=lambda m: m[0] ** 2 + m[1] ** 2):
        came, goes = moved(a, index * y, index * x), moved(b, (index - factor) * y, (index - factor) * x)
        apart = _around((came - goes).abs().mean(1, keepdim=True))
        apart = apart + MOTION_PENALTY / pace * (y * y + x * x) ** 0.5
        blend = torch.lerp(came, goes, index / factor)
        if best is None or cost is None:
            best, cost = blend, apart
        else:
            best, cost = torch.where(apart < cost, blend, best), torch.minimum(apart, cost)
    assert best is not None
    return best


def _around(apart: Tensor) -> Tensor:
    """The mean over blocks, as differences of running sums; beyond the border is nothing."""
    for dim in (-1, -2):
        room = (BLOCK // 2 + 1, BLOCK // 2) if dim == -1 else (0, 0, BLOCK // 2 + 1, BLOCK // 2)
        total = F.pad(apart, room).cumsum(dim)
        apart = (total.narrow(dim, BLOCK, apart.shape[dim]) - total.narrow(dim, 0, apart.shape[dim])) / BLOCK
    return apart
