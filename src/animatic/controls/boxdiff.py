"""BoxDiff (Xie et al. 2023): inner box, outer box and corners, on attention averaged over layers and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.attention import mean_map
from ..core.types import Fraction, Step
from .targets import Targets
from .terms import edges, top_mean

SHARPER = 100.0  # what the mean attention is multiplied by before a softmax over the words


@dataclass(frozen=True)
class BoxDiff:
    """Energy per row: for each token of a thing, what is missing inside, what is too much outside, and the corners.

    `inside`: share of the cells in the box, and around it, whose largest values count; `smooth`: the paper's 3 x 3
    blur. Layers of several sizes are brought to the largest. It needs the attention of every word. `summed`: a sum over
    tokens (the original's), not a mean, so that longer phrases are pushed harder. `legacy`: the original's arithmetic,
    a sum over tokens and frames, in which the inner term of a box under 1 / `inside` cells is lost, and edges are those
    of each box.
    """

    inside: Fraction = 0.2
    smooth: bool = True
    summed: bool = False
    legacy: bool = False
    every_word = True

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step | None = None) -> Tensor:
        a = self.words(found, targets)
        m = targets.masks(*a.shape[-2:])
        if self.smooth:
            a = blur(a)
        flat, mask = a.flatten(-2), m.flatten(-2)
        size, rest = mask.sum(-1) * self.inside, (1 - mask).sum(-1) * self.inside
        fg = F.relu(1 - top_mean(flat * mask, size)) * (size >= 1 if self.legacy else mask.amax(-1))
        bg = F.relu(top_mean(flat * (1 - mask), rest))
        total = fg + bg
        for axis in (-2, -1):
            have, want = a.amax(axis), m.amax(axis)
            near = edges_of_each(targets, axis, a.shape[-2:]) if self.legacy else edges(want[:, :, None])[:, :, 0]
            total = total + ((have - want).abs() * near).mean(-1)
        each = total.sum(1) if self.legacy else total.mean(1)
        if self.legacy or self.summed:
            return each.new_zeros(len(targets.tokens)).index_add(0, targets.rows, each)
        return targets.of_rows(each)

    def words(self, found: Mapping[str, Tensor], targets: Targets) -> Tensor:
        """Each pair's word `[pair, frame, height, width]`, sharpened over the words of its own prompt.

        The start token and the last are left out.
        """
        mean = mean_map(found).movedim(2, 1)  # [row, wanted, frame, height, width]
        size = targets.size or mean.shape[1]
        words = mean.unflatten(1, (-1, size))[:, :, 1:-1]
        sharp = (words * SHARPER).softmax(2)
        return sharp[targets.rows, targets.columns // size, targets.columns % size - 1]


def edges_of_each(targets: Targets, axis: int, size: Sequence[int]) -> Tensor:
    """1 near an edge of the silhouette of any box of a pair's things: `[pair, frame, cell]`."""
    silhouettes = [
        torch.from_numpy(scene.masks(targets.frames, size[0], size[1], targets.legacy)).float().amax(axis)[:, :, None]
        for scene in targets.scenes
    ]
    near = [edges(silhouettes[row][list(tracks)]).amax(0)[:, 0] for row, tracks in targets.objects]
    return torch.stack(near).to(targets.tokens.device)


def blur(a: Tensor) -> Tensor:
    """3 x 3, reflected at the border; weights exp(-d^2), the paper's kernel at sigma 0.5, which is no true Gaussian."""
    side = torch.exp(-torch.tensor([1.0, 0.0, 1.0], device=a.device))
    kernel = side[:, None] * side
    padded = F.pad(a.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded, (kernel / kernel.sum())[None, None]).view(a.shape)
