"""Layout energies: how far the text attention of each object is from its boxes, for all objects in one batch.

Maps come as `[sample, frame, head, height, width, token]` per layer. Here they are arranged by pairs of one token and
one object: A `[pair, frame, head, cell]` with masks M `[pair, frame, 1, cell]`. Every energy is a mean over heads and
frames, so that one threshold fits all models; `legacy` is the original's arithmetic, sums over both.

LVD (Lian et al. 2024, arXiv 2309.17444, https://github.com/TonyLianLong/LLM-groundedVideoDiffusion), LMD (Lian et al.
2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion), backward guidance (Chen et al. 2023,
arXiv 2304.03373, https://github.com/silent-chen/layout-guidance), BoxDiff (Xie et al. 2023, arXiv 2307.10816,
https://github.com/showlab/BoxDiff).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.types import Fraction, Step
from .energy import Terms
from .targets import Targets

LEAST = 0.01  # lower bound of logarithms' arguments, and of ratios' denominators, in LVD


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


class Term(ABC):
    """An energy per sample: the mean over layers of an energy per pair."""

    every_word = False

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step | None = None) -> Tensor:
        """Energy `[sample]` from maps by layer."""
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for maps in found.values():
            by_shape.setdefault(maps.shape, []).append(maps)

        # layers of one size are evaluated together
        energies = []
        for layers in by_shape.values():
            energy = self.layer(_by_pairs(layers, targets))
            energies.append(energy.unflatten(0, (len(layers), -1)).sum(0))
        return targets.per_sample(sum(energies, targets.weights.new_zeros(())) / len(found))

    @abstractmethod
    def layer(self, at: Attention) -> Tensor:
        """Energy `[pair]` of the attention of one layer."""


def _by_pairs(layers: Sequence[Tensor], targets: Targets) -> Attention:
    """Maps of layers of one size as one `Attention`, with `layer * pair` pairs."""
    height, width = layers[0].shape[3:5]
    maps = torch.stack(list(layers)).movedim(-1, 2)  # [layer, sample, token, frame, head, height, width]
    a = maps[:, targets.samples, targets.columns].float().flatten(-2).flatten(0, 1)
    m = targets.masks(height, width).flatten(-2)[:, :, None].repeat(len(layers), 1, 1, 1)
    return Attention(a, m, height, width)


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
        inner = 1 - top_mean(at.a * at.m, at.m.sum(-1) * self.inside)
        outer = top_mean(at.a * at.outside, at.outside.sum(-1) * self.outside)
        if not self.legacy:
            inner = inner * at.present

        energy = _over(self.foreground * inner + self.background * outer, self.legacy)
        if self.centre:
            energy = energy + self.centre * self._centre(at)
        if self.corners:
            energy = energy + self.corners * Corners(self.normed, self.legacy).layer(at)
        return energy

    def _centre(self, at: Attention) -> Tensor:
        """Squared errors of the centre of mass and of its velocity (LVD eq. 5): `[pair]`."""
        cells = (at.height, at.width)
        units = (1.0, 1.0) if self.legacy else cells
        axes = (torch.arange(n, device=at.a.device) / unit for n, unit in zip(cells, units, strict=True))
        grid = torch.meshgrid(*axes, indexing="ij")

        total = at.a.new_zeros(len(at.a))
        present = at.present
        for axis in grid:
            place = axis.flatten()
            attention_centre, box_centre = ((x * place).sum(-1) / not_zero(x.sum(-1)) for x in (at.a, at.m))
            offset = attention_centre - box_centre  # [pair, frame, head]
            drift = offset.diff(dim=1) * present[:, 1:] * present[:, :-1]
            position = (offset * present).square().mean(2).sum(1)
            velocity = drift.square().mean(2).sum(1)
            error = position + velocity
            total = total + (error if self.legacy else error / at.a.shape[1])
        return total


@dataclass(frozen=True)
class Ratio(Term):
    """Squared fraction of the attention that falls outside the box (backward guidance, Chen et al. 2023).

    `least` is added to the denominator: 0.01 in LVD, 0 in LMD. `legacy`: a sum over frames, not a mean.
    """

    least: float = LEAST
    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        inside = (at.a * at.m).sum(-1) / not_zero(at.a.sum(-1) + self.least)
        outside = 1 - inside
        if self.legacy:
            return outside.square().mean(2).sum(1)
        return (outside.square() * at.present).mean((1, 2))


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
        log_inside = (a * at.m).clamp(min=LEAST).log()
        inner = -top_mean(log_inside, at.m.sum(-1) * self.inside)
        outer = -(1 - top_mean(a * at.outside, at.outside.sum(-1) * self.outside)).log()
        if not self.legacy:
            inner = inner * at.present
        return _over(self.foreground * inner + self.background * outer, self.legacy)


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
        total = at.a.new_zeros(len(at.a))
        for axis in (-2, -1):
            attention, box = (x.unflatten(-1, (at.height, at.width)).amax(axis) for x in (at.a, at.m))
            error = (attention - box).abs() * edges(box, absent)
            by_frame = error.mean((2, 3)) if self.normed else error.sum((2, 3))
            total = total + by_frame.sum(1)
        return total if self.legacy else total / at.a.shape[1]


@dataclass(frozen=True)
class Sync(Term):
    """Squared change of the attention in a box to the next frame (LVD's attention sync); 0 where there is no box.

    `legacy`: a sum over heads and frames, not a mean.
    """

    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        box = at.m[:, :-1]
        change = (at.a.diff(dim=1).square() * box).sum(-1) / box.sum(-1).clamp(min=1)
        if self.legacy:
            return change.sum((1, 2))
        return change.mean(2).sum(1) / at.a.shape[1]


@dataclass(frozen=True)
class Sum:
    """The sum of several energies; `terms` are pairs of weight and energy."""

    terms: tuple[tuple[float, Terms], ...]

    @property
    def every_word(self) -> bool:
        return any(term.every_word for _, term in self.terms)

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor:
        energies = (weight * term(found, targets, step) for weight, term in self.terms)
        return sum(energies, targets.weights.new_zeros(len(targets.tokens)))


def _over(energy: Tensor, legacy: bool) -> Tensor:
    """An energy `[pair, frame, head]` summed (`legacy`) or averaged over frames and heads: `[pair]`."""
    return energy.sum((1, 2)) if legacy else energy.mean((1, 2))


def not_zero(sums: Tensor) -> Tensor:
    """Sums to divide by: an exact 0 becomes the smallest positive normal number.

    Nothing larger would do: a softmax is 1e-13 where a logit is 30 below the others, and has a centre there too.
    """
    return sums.clamp(min=torch.finfo(sums.dtype).tiny)


def top_mean(values: Tensor, count: Tensor) -> Tensor:
    """Mean of the `floor(count)` (at least 1) largest along the last axis; `count` has no such axis and broadcasts."""
    count = count.floor().clamp(min=1)
    ranked = values.sort(-1, descending=True).values
    chosen = torch.arange(values.shape[-1], device=values.device) < count[..., None]
    return (ranked * chosen).sum(-1) / count


def edges(box: Tensor, absent: Tensor | None = None) -> Tensor:
    """1 in the cells before, at and after each edge of a box's silhouette `[pair, frame, 1, cell]`.

    `absent` `[pair, frame, 1]`: 1 where the object has no box, for which the original has one of size 0 at the origin.
    """
    edge = F.pad(box, (1, 1)).diff().abs()  # between cells, the frame's two sides included
    if absent is not None:
        edge = torch.cat([edge[..., :1] + absent[..., None], edge[..., 1:]], -1)
    return F.max_pool1d(F.pad(edge, (1, 0)).flatten(0, 2)[:, None], 3, 1).view(box.shape)
