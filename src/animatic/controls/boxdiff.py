"""BoxDiff: inner-box, outer-box and corner constraints on attention averaged over layers and heads.

Xie et al. 2023, arXiv 2307.10816, https://github.com/showlab/BoxDiff; its form in LMD's repository,
https://github.com/TonyLianLong/LLM-groundedDiffusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.attention import mean_map
from ..core.types import Fraction, Step
from .pair_attention import edges, top_mean
from .targets import Targets

TEMPERATURE = 100.0  # the mean attention is multiplied by this before the softmax over words


@dataclass(frozen=True)
class BoxDiff:
    """Energy per sample: for each token of an object, what its box lacks, what is outside, and the box's corners.

    `inside`: fraction of the cells in the box, and of those around it, whose largest values count; `smooth`: the
    paper's 3 x 3 blur. Maps of several sizes are brought to the largest. It needs the attention of every word.
    `summed`: a sum over tokens (the original's), not a mean, so that longer phrases weigh more. `legacy`: the
    original's arithmetic, a sum over tokens and frames, in which the inner term of a box under 1 / `inside` cells is
    lost, and edges are those of each box.
    """

    inside: Fraction = 0.2
    smooth: bool = True
    summed: bool = False
    legacy: bool = False
    every_word = True

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step | None = None) -> Tensor:
        attention = self.words(found, targets)  # [pair, frame, height, width]
        height, width = attention.shape[-2:]
        boxes = targets.masks(height, width)
        if self.smooth:
            attention = blur(attention)

        cells = attention.flatten(-2)
        total = self._inner_and_outer(cells, boxes.flatten(-2))  # [pair, frame]
        for axis in (-2, -1):
            total = total + self._corners(attention, boxes, targets, axis)

        energy = total.sum(1) if self.legacy else total.mean(1)
        if self.legacy or self.summed:
            by_sample = energy.new_zeros(len(targets.tokens))
            return by_sample.index_add(0, targets.samples, energy)
        return targets.per_sample(energy)

    def _inner_and_outer(self, attention: Tensor, boxes: Tensor) -> Tensor:
        """Inner-box and outer-box constraints of attention and boxes `[pair, frame, cell]`: `[pair, frame]`."""
        around = 1 - boxes
        cells = boxes.sum(-1) * self.inside
        cells_around = around.sum(-1) * self.inside

        # 0 where there is no inner term
        counts = cells >= 1 if self.legacy else boxes.amax(-1)
        highest_inside = top_mean(attention * boxes, cells)
        inner = F.relu(1 - highest_inside) * counts
        highest_around = top_mean(attention * around, cells_around)
        outer = F.relu(highest_around)
        return inner + outer

    def _corners(self, attention: Tensor, boxes: Tensor, targets: Targets, axis: int) -> Tensor:
        """Corner constraint: the largest values along an axis must be the box's, near its edges: `[pair, frame]`."""
        projected = attention.amax(axis)
        box = boxes.amax(axis)  # [pair, frame, cell]
        if self.legacy:
            near = edges_of_each(targets, axis, attention.shape[-2:])
        else:
            with_head = box[:, :, None]
            near = edges(with_head)[:, :, 0]
        error = (projected - box).abs() * near
        return error.mean(-1)

    def words(self, found: Mapping[str, Tensor], targets: Targets) -> Tensor:
        """The attention of each pair's word `[pair, frame, height, width]`, after a softmax over its prompt's words.

        The start token and the last token are left out.
        """
        mean = mean_map(found).movedim(2, 1)  # [sample, token, frame, height, width]
        size = targets.tokens_per_prompt or mean.shape[1]
        by_prompt = mean.unflatten(1, (-1, size))

        # softmax is over the words alone: the start token would have nearly all of the attention
        words = by_prompt[:, :, 1:-1]
        probabilities = (words * TEMPERATURE).softmax(2)

        prompt = targets.columns // size
        word = targets.columns % size - 1
        return probabilities[targets.samples, prompt, word]


def edges_of_each(targets: Targets, axis: int, size: Sequence[int]) -> Tensor:
    """1 near an edge of the silhouette of any box of a pair's objects: `[pair, frame, cell]`."""
    height, width = size
    silhouettes = []
    for scene in targets.scenes:
        boxes = scene.masks(targets.frames, height, width, targets.legacy)
        masks = torch.from_numpy(boxes).float()  # [track, frame, height, width]
        silhouette = masks.amax(axis)
        silhouettes.append(silhouette[:, :, None])

    near = []
    for sample, tracks in targets.objects:
        of_tracks = silhouettes[sample][list(tracks)]
        of_any = edges(of_tracks).amax(0)
        near.append(of_any[:, 0])
    return torch.stack(near).to(targets.tokens.device)


def blur(a: Tensor) -> Tensor:
    """3 x 3 blur of `[pair, frame, height, width]`, reflected at the border.

    Weights are exp(-d^2), the kernel of the paper's code at sigma 0.5, where a Gaussian's would be exp(-2 d^2).
    """
    distance = torch.tensor([1.0, 0.0, 1.0], device=a.device)  # squared
    side = torch.exp(-distance)
    kernel = side[:, None] * side

    # every frame is an image of one channel
    images = a.flatten(0, 1)[:, None]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    normed = kernel / kernel.sum()
    blurred = F.conv2d(padded, normed[None, None])
    return blurred.view(a.shape)
