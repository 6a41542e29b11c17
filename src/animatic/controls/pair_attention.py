"""Attention by pairs of one token and one object, and what layout energies measure of it.

Maps come as `[sample, frame, head, height, width, token]` per layer. Here they are arranged by pairs: probabilities
`[pair, frame, head, cell]` with masks `[pair, frame, 1, cell]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .targets import Targets


@dataclass(frozen=True)
class Attention:
    """Attention of layers of one size.

    `a` `[pair, frame, head, cell]`: probabilities; `m` `[pair, frame, 1, cell]`: masks, 0 or 1; `height` and `width`:
    the grid in cells.
    """

    a: Tensor
    m: Tensor
    height: int
    width: int

    @property
    def present(self) -> Tensor:
        """1 where the object has a box: `[pair, frame, 1]`."""
        return self.m.amax(-1)

    @property
    def outside(self) -> Tensor:
        """1 in the cells outside the box: `[pair, frame, 1, cell]`."""
        return 1 - self.m


def by_pairs(layers: Sequence[Tensor], targets: Targets) -> Attention:
    """Maps of layers of one size as one `Attention`, with `layer * pair` pairs."""
    height, width = layers[0].shape[3:5]
    stacked = torch.stack(list(layers))
    maps = stacked.movedim(-1, 2)  # [layer, sample, token, frame, head, height, width]
    of_pairs = maps[:, targets.samples, targets.columns].float()
    cells = of_pairs.flatten(-2)
    a = cells.flatten(0, 1)  # [layer * pair, frame, head, cell]

    masks = targets.masks(height, width).flatten(-2)
    masks = masks[:, :, None]  # [pair, frame, 1, cell]
    m = masks.repeat(len(layers), 1, 1, 1)
    return Attention(a, m, height, width)


def not_zero(sums: Tensor) -> Tensor:
    """Sums to divide by: an exact 0 becomes the smallest positive normal number.

    Nothing larger would do: a softmax is 1e-13 where a logit is 30 below the others, and has a centre there too.
    """
    least = torch.finfo(sums.dtype).tiny
    return sums.clamp(min=least)


def top_mean(values: Tensor, count: Tensor) -> Tensor:
    """Mean of the `floor(count)` (at least 1) largest along the last axis; `count` has no such axis and broadcasts."""
    count = count.floor().clamp(min=1)
    ranked = values.sort(-1, descending=True).values

    # a mask and not a slice: every row has a count of its own
    ranks = torch.arange(values.shape[-1], device=values.device)
    chosen = ranks < count[..., None]
    total = (ranked * chosen).sum(-1)
    return total / count


def edges(box: Tensor, absent: Tensor | None = None) -> Tensor:
    """1 in the cells before, at and after each edge of a box's silhouette `[pair, frame, 1, cell]`.

    `absent` `[pair, frame, 1]`: 1 where the object has no box, for which the original has one of size 0 at the origin.
    """
    # edges are between cells, the frame's two sides included
    edge = F.pad(box, (1, 1)).diff().abs()  # [pair, frame, 1, cell + 1]
    if absent is not None:
        first = edge[..., :1] + absent[..., None]
        edge = torch.cat([first, edge[..., 1:]], -1)

    # a cell is near an edge if one of three is: on its left or right side, or one cell further left
    padded = F.pad(edge, (1, 0))
    lines = padded.flatten(0, 2)
    lines = lines[:, None]  # one channel, as pooling wants it
    return F.max_pool1d(lines, 3, 1).view(box.shape)
