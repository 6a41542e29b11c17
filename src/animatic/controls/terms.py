"""Layout energies: how far the text attention of each object is from its boxes, for all objects in one batch.

Attention is arranged by pairs of one token and one object: A `[pair, frame, head, cell]` with masks M
`[pair, frame, 1, cell]`, see `pair_attention`. Every energy is a mean over heads and frames, so that one threshold fits
all models; `legacy` is the original's arithmetic, sums over both.

LVD (Lian et al. 2024, arXiv 2309.17444, https://github.com/TonyLianLong/LLM-groundedVideoDiffusion), LMD (Lian et al.
2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion), backward guidance (Chen et al. 2023,
arXiv 2304.03373, https://github.com/silent-chen/layout-guidance), BoxDiff (Xie et al. 2023, arXiv 2307.10816,
https://github.com/showlab/BoxDiff).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.types import Fraction, Step
from .energy import Terms
from .pair_attention import Attention, by_pairs, edges, not_zero, top_mean
from .targets import Targets

LEAST = 0.01  # lower bound of logarithms' arguments, and of ratios' denominators, in LVD


class Term(ABC):
    """An energy per sample: the mean over layers of an energy per pair."""

    every_word = False

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step | None = None) -> Tensor:
        """Energy `[sample]` from maps by layer."""
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for maps in found.values():
            same_shape = by_shape.setdefault(maps.shape, [])
            same_shape.append(maps)

        # layers of one size are evaluated together
        energies = []
        for layers in by_shape.values():
            pairs = by_pairs(layers, targets)
            energy = self.layer(pairs)  # [layer * pair]
            by_layer = energy.unflatten(0, (len(layers), -1))
            energies.append(by_layer.sum(0))
        none = targets.weights.new_zeros(())
        total = sum(energies, none)
        return targets.per_sample(total / len(found))

    @abstractmethod
    def layer(self, at: Attention) -> Tensor:
        """Energy `[pair]` of the attention of one layer."""


@dataclass(frozen=True)
class BoxEnergy(Term):
    """LVD's energy: high attention in the box, low attention around it, its centre of mass at the box's centre.

    `inside`: fraction of the cells in the box whose largest values count (LVD `fg_top_p`); `outside`: the same of the
    cells around it (`bg_top_p`); `foreground`: weight of the inside term (`fg_weight`); `background`: weight of the
    outside term (`bg_weight`); `centre`: weight of the centre-of-mass terms (`com_loss_scale`), position and velocity,
    in frame sizes; `corners`: weight of the silhouette's edges (`boxdiff_loss_scale`, see `Corners`); `normed`: those
    are a mean over heads and cells, else a sum (`boxdiff_normed`); `legacy`: sums over heads and frames, centres in
    cells, as in LVD. In frames without a box for the object, only the outside term counts.
    """

    inside: Fraction = 0.75
    outside: Fraction = 0.75
    foreground: float = 1.0
    background: float = 4.0
    centre: float = 0.0
    corners: float = 0.0
    normed: bool = True
    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        # the mean of the largest values inside should be 1, that of the largest outside 0
        cells_inside = at.m.sum(-1) * self.inside
        cells_outside = at.outside.sum(-1) * self.outside
        inner = 1 - top_mean(at.a * at.m, cells_inside)
        outer = top_mean(at.a * at.outside, cells_outside)
        if not self.legacy:
            inner = inner * at.present

        weighted = self.foreground * inner + self.background * outer
        energy = _over(weighted, self.legacy)
        if self.centre:
            energy = energy + self.centre * self._centre(at)
        if self.corners:
            corners = Corners(self.normed, self.legacy)
            energy = energy + self.corners * corners.layer(at)
        return energy

    def _centre(self, at: Attention) -> Tensor:
        """Squared errors of the centre of mass and of its velocity (LVD eq. 5): `[pair]`."""
        # positions of the cells along both axes, in cells (legacy) or in frame sizes
        cells = (at.height, at.width)
        units = (1.0, 1.0) if self.legacy else cells
        axes = []
        for n, unit in zip(cells, units, strict=True):
            positions = torch.arange(n, device=at.a.device)
            axes.append(positions / unit)
        grid = torch.meshgrid(*axes, indexing="ij")

        present = at.present
        both = present[:, :-1]
        total = at.a.new_zeros(len(at.a))
        for axis in grid:
            place = axis.flatten()
            attention_centre = (at.a * place).sum(-1) / not_zero(at.a.sum(-1))
            box_centre = (at.m * place).sum(-1) / not_zero(at.m.sum(-1))
            offset = attention_centre - box_centre  # [pair, frame, head]

            # velocities are compared between frames that both have a box
            drift = offset.diff(dim=1) * present[:, 1:] * both
            in_box = offset * present
            position = in_box.square().mean(2).sum(1)
            velocity = drift.square().mean(2).sum(1)
            error = position + velocity

            # a sum over frames (legacy), or their mean
            if not self.legacy:
                error = error / at.a.shape[1]
            total = total + error
        return total


@dataclass(frozen=True)
class Ratio(Term):
    """Squared fraction of the attention that falls outside the box (backward guidance, Chen et al. 2023).

    `least` is added to the denominator: 0.01 in LVD, 0 in LMD. `legacy`: a sum over frames, not a mean.
    """

    least: float = LEAST
    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        attention_inside = (at.a * at.m).sum(-1)
        attention = at.a.sum(-1) + self.least
        inside = attention_inside / not_zero(attention)
        outside = 1 - inside
        if self.legacy:
            return outside.square().mean(2).sum(1)
        counted = outside.square() * at.present
        return counted.mean((1, 2))


@dataclass(frozen=True)
class CrossEntropy(Term):
    """The box energy in logarithms: of the values at the top of the box, and of the mean at the top of the rest.

    `inside`: fraction of the cells in the box whose largest values count; `outside`: the same of the cells around it;
    `foreground`: weight of the inside term; `background`: weight of the outside term; `legacy`: sums over heads and
    frames, as in LVD.
    """

    inside: Fraction = 0.75
    outside: Fraction = 0.75
    foreground: float = 1.0
    background: float = 4.0
    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        a = at.a.clamp(LEAST, 1 - LEAST)

        # clamped after the product: outside the box the logarithm is that of LEAST
        clamped = (a * at.m).clamp(min=LEAST)
        cells_inside = at.m.sum(-1) * self.inside
        inner = -top_mean(clamped.log(), cells_inside)

        # the logarithm of 1 minus the mean of the largest values outside
        cells_outside = at.outside.sum(-1) * self.outside
        highest_outside = top_mean(a * at.outside, cells_outside)
        outer = -(1 - highest_outside).log()
        if not self.legacy:
            inner = inner * at.present
        weighted = self.foreground * inner + self.background * outer
        return _over(weighted, self.legacy)


@dataclass(frozen=True)
class Corners(Term):
    """The silhouette of attention along each axis must be the box's, within a cell of its edges (BoxDiff, LVD's form).

    `normed`: a mean over heads and cells; else a sum, LVD's other form. `legacy`: a sum over frames, in which an object
    without a box has one of size 0 at the origin, as in LVD.
    """

    normed: bool = True
    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        absent = 1 - at.present if self.legacy else None
        size = (at.height, at.width)
        total = at.a.new_zeros(len(at.a))
        for axis in (-2, -1):
            # silhouettes: the largest value along the axis
            attention = at.a.unflatten(-1, size).amax(axis)
            box = at.m.unflatten(-1, size).amax(axis)
            near = edges(box, absent)
            error = (attention - box).abs() * near
            by_frame = error.mean((2, 3)) if self.normed else error.sum((2, 3))
            total = total + by_frame.sum(1)
        if self.legacy:
            return total
        return total / at.a.shape[1]


@dataclass(frozen=True)
class Sync(Term):
    """Squared change of the attention in a box to the next frame (LVD's attention sync); 0 where there is no box.

    `legacy`: a sum over heads and frames, not a mean.
    """

    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        box = at.m[:, :-1]
        change = at.a.diff(dim=1).square() * box
        cells = box.sum(-1).clamp(min=1)
        mean_change = change.sum(-1) / cells  # [pair, frame - 1, head]
        if self.legacy:
            return mean_change.sum((1, 2))

        # divided by all frames, not by the pairs of neighbours
        by_pair = mean_change.mean(2).sum(1)
        return by_pair / at.a.shape[1]


@dataclass(frozen=True)
class Sum:
    """The sum of several energies; `terms` are pairs of weight and energy."""

    terms: tuple[tuple[float, Terms], ...]

    @property
    def every_word(self) -> bool:
        return any(term.every_word for _, term in self.terms)

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor:
        none = targets.weights.new_zeros(len(targets.tokens))
        energies = (weight * term(found, targets, step) for weight, term in self.terms)
        return sum(energies, none)


def _over(energy: Tensor, legacy: bool) -> Tensor:
    """An energy `[pair, frame, head]` summed (`legacy`) or averaged over frames and heads: `[pair]`."""
    if legacy:
        return energy.sum((1, 2))
    return energy.mean((1, 2))
