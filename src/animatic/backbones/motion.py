"""Frames between two others by bilateral block matching: the stage `motion`, and the prior of interpolation.

For every pixel of the new frame the motion is searched whose source in the frame before and target in the frame after
match best, over a block around them (bilateral motion estimation, Choi et al. 2007,
https://doi.org/10.1109/TCSVT.2007.893835). As motions are those of the new frame, it has no holes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SEARCH_RADIUS = 4  # motions searched each way, in steps of `factor` pixels (of 64), so that fractions are whole pixels
BLOCK = 17  # pixels a side over which the match is averaged
MOTION_PENALTY = 0.03  # cost of a step of motion: of two that match alike the shorter one is taken


def frame_between(before: Tensor, after: Tensor, index: int, factor: int) -> Tensor:
    """The frame at `index / factor` of the way from `before` to `after`, images `[n, 3, height, width]` in -1..1.

    `index` is in 0..factor. Motions of up to 4 x `factor` pixels are found where the shorter side has 64 pixels, and
    proportionally larger ones in larger images.
    """
    # The frames are padded by the largest motion, so that each shift is a view.
    height, width = before.shape[-2:]
    step = max(1, min(height, width) // 64)  # pixels between the motions that are tried
    margin = factor * SEARCH_RADIUS * step
    padded_before = F.pad(before, (margin,) * 4, mode="replicate")
    padded_after = F.pad(after, (margin,) * 4, mode="replicate")

    def moved(image: Tensor, down: int, right: int) -> Tensor:
        top = margin - down
        left = margin - right
        return image[..., top : top + height, left : left + width]

    # All motions, the shorter ones first.
    offsets = [step * i for i in range(-SEARCH_RADIUS, SEARCH_RADIUS + 1)]
    motions = [(y, x) for y in offsets for x in offsets]
    motions.sort(key=lambda motion: motion[0] ** 2 + motion[1] ** 2)

    # Per pixel the blend along the motion of least cost.
    best: Tensor | None = None
    lowest: Tensor | None = None
    for y, x in motions:
        source = moved(padded_before, index * y, index * x)
        after_index = index - factor
        target = moved(padded_after, after_index * y, after_index * x)

        # The cost of a motion: how much the two frames differ along it, and a little for its length.
        difference = (source - target).abs().mean(1, keepdim=True)
        length = (y * y + x * x) ** 0.5
        cost = _block_mean(difference) + MOTION_PENALTY / step * length
        blend = torch.lerp(source, target, index / factor)
        if best is None or lowest is None:
            best = blend
            lowest = cost
        else:
            best = torch.where(cost < lowest, blend, best)
            lowest = torch.minimum(cost, lowest)
    assert best is not None
    return best


def _block_mean(difference: Tensor) -> Tensor:
    """The mean over blocks around each pixel, by differences of cumulative sums; zero beyond the border."""
    # A block reaches BLOCK // 2 to both sides; one more row before it makes the difference of two sums.
    before = BLOCK // 2 + 1
    after = BLOCK // 2
    for dim in (-1, -2):
        margin = (before, after) if dim == -1 else (0, 0, before, after)
        size = difference.shape[dim]
        total = F.pad(difference, margin).cumsum(dim)
        upper = total.narrow(dim, BLOCK, size)
        lower = total.narrow(dim, 0, size)
        block_sum = upper - lower
        difference = block_sum / BLOCK
    return difference
