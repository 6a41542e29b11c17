"""What a layout energy is made of: how far text attention is from its boxes. One batch, no loops over things.

Maps come as `[row, frame, head, height, width, wanted]` per layer; here they are taken apart into pairs of one token
and one thing: A `[pair, frame, head, cell]` with masks M `[pair, frame, 1, cell]`. Every energy is a mean over heads
and frames, so that one threshold fits all models; `legacy` is the original's arithmetic, sums over both.
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

LEAST = 0.01  # LVD clamps logarithms and ratios here


@dataclass(frozen=True)
class Attention:
    """Layers of one size: `a` `[pair, frame, head, cell]`, masks `m` `[pair, frame, 1, cell]`, the size in cells."""

    a: Tensor
    m: Tensor
    height: int
    width: int

    @property
    def present(self) -> Tensor:
        """1 where a thing is there: `[pair, frame, 1]`."""
        return self.m.amax(-1)


class Term(ABC):
    """An energy per row: the mean over layers of an energy per pair."""

    every_word = False

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step | None = None) -> Tensor:
        """Energy `[row]` from maps by layer."""
        alike: dict[torch.Size, list[Tensor]] = {}
        for p in found.values():
            alike.setdefault(p.shape, []).append(p)
        each = (self.layer(_taken(maps, targets)).unflatten(0, (len(maps), -1)).sum(0) for maps in alike.values())
        return targets.of_rows(sum(each, targets.weights.new_zeros(())) / len(found))

    @abstractmethod
    def layer(self, at: Attention) -> Tensor:
        """Energy `[pair]`."""


def _taken(maps: Sequence[Tensor], targets: Targets) -> Attention:
    """Layers of one size, as if each had pairs of its own."""
    height, width = maps[0].shape[3:5]
    a = torch.stack(list(maps)).movedim(-1, 2)[:, targets.rows, targets.columns].float().flatten(-2).flatten(0, 1)
    m = targets.masks(height, width).flatten(-2)[:, :, None].repeat(len(maps), 1, 1, 1)
    return Attention(a, m, height, width)


@dataclass(frozen=True)
class BoxEnergy(Term):
    """LVD's energy: attention high at the top of the box, low at the top of the rest, its centre where the box's is.

    `inside`: share of the cells in the box whose largest values count (LVD `fg_top_p`); `outside`: the same of the
    cells around it (`bg_top_p`); `foreground`: weight of the inside term (`fg_weight`); `background`: weight of the
    outside term (`bg_weight`); `centre`: weight of the centre-of-mass terms (`com_loss_scale`), position and velocity,
    in frame sizes; `corners`: weight of the silhouette's edges (`boxdiff_loss_scale`, see `Corners`); `normed`: those
    are a mean over heads and cells, else a sum (`boxdiff_normed`); `legacy`: sums over heads and frames, centres in
    cells, as in LVD. Frames in which a thing is absent only push it away.
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
        fg = 1 - top_mean(at.a * at.m, at.m.sum(-1) * self.inside)
        bg = top_mean(at.a * (1 - at.m), (1 - at.m).sum(-1) * self.outside)
        if not self.legacy:
            fg = fg * at.present
        energy = _over(self.foreground * fg + self.background * bg, self.legacy)
        if self.centre:
            energy = energy + self.centre * self._centre(at)
        if self.corners:
            energy = energy + self.corners * Corners(self.normed, self.legacy).layer(at)
        return energy

    def _centre(self, at: Attention) -> Tensor:
        """Squared errors of the centre of mass and of its velocity (LVD eq. 5), `[pair]`."""
        units = (1.0, 1.0) if self.legacy else (at.height, at.width)
        axes = (torch.arange(n, device=at.a.device) / u for n, u in zip((at.height, at.width), units, strict=True))
        grid = torch.meshgrid(*axes, indexing="ij")
        total, present = at.a.new_zeros(len(at.a)), at.present
        for place in (axis.flatten() for axis in grid):
            have, want = ((v * place).sum(-1) / not_zero(v.sum(-1)) for v in (at.a, at.m))
            off = have - want  # [pair, frame, head]
            drift = off.diff(dim=1) * present[:, 1:] * present[:, :-1]
            error = ((off * present).square().mean(2).sum(1)) + drift.square().mean(2).sum(1)
            total = total + (error if self.legacy else error / at.a.shape[1])
        return total


@dataclass(frozen=True)
class Ratio(Term):
    """Squared share of the attention that falls outside the box (Chen et al. 2023, backward guidance).

    `least` is added to the denominator: 0.01 in LVD, 0 in LMD. `legacy`: a sum over frames, not a mean.
    """

    least: float = LEAST
    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        outside = 1 - (at.a * at.m).sum(-1) / not_zero(at.a.sum(-1) + self.least)
        if self.legacy:
            return outside.square().mean(2).sum(1)
        return (outside.square() * at.present).mean((1, 2))


@dataclass(frozen=True)
class CrossEntropy(Term):
    """The box energy in logarithms: of the values at the top of the box, and of the mean at the top of the rest.

    `inside`: share of the cells in the box whose largest values count; `outside`: the same of the cells around it;
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
        # clamped after the product: where nothing is in the box, -log(LEAST) stands
        surprise = -(a * at.m).clamp(min=LEAST).log()
        fg = -top_mean(-surprise, at.m.sum(-1) * self.inside)
        bg = -(1 - top_mean(a * (1 - at.m), (1 - at.m).sum(-1) * self.outside)).log()
        if not self.legacy:
            fg = fg * at.present
        return _over(self.foreground * fg + self.background * bg, self.legacy)


@dataclass(frozen=True)
class Corners(Term):
    """The silhouette of attention along each axis must be the box's, within a cell of the edges (BoxDiff; LVD's form).

    `normed`: a mean over heads and cells; else a sum, LVD's other form. `legacy`: a sum over frames, and an absent
    thing has a box of no size at the origin, as in LVD.
    """

    normed: bool = True
    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        total = at.a.new_zeros(len(at.a))
        for axis in (-2, -1):
            have, want = (v.unflatten(-1, (at.height, at.width)).amax(axis) for v in (at.a, at.m))
            error = (have - want).abs() * edges(want, 1 - at.present if self.legacy else None)
            total = total + (error.mean((2, 3)) if self.normed else error.sum((2, 3))).sum(1)
        return total if self.legacy else total / at.a.shape[1]


@dataclass(frozen=True)
class Sync(Term):
    """Attention inside a box changes little to the next frame (LVD's attention sync); no box costs nothing.

    `legacy`: a sum over heads and frames, not a mean.
    """

    legacy: bool = False

    def layer(self, at: Attention) -> Tensor:
        change = (at.a.diff(dim=1).square() * at.m[:, :-1]).sum(-1) / at.m[:, :-1].sum(-1).clamp(min=1)
        return change.sum((1, 2)) if self.legacy else change.mean(2).sum(1) / at.a.shape[1]


@dataclass(frozen=True)
class Sum:
    """Energies with their weights."""

    terms: tuple[tuple[float, Terms], ...]

    @property
    def every_word(self) -> bool:
        return any(term.every_word for _, term in self.terms)

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor:
        each = (weight * term(found, targets, step) for weight, term in self.terms)
        return sum(each, targets.weights.new_zeros(len(targets.tokens)))


def _over(energy: Tensor, legacy: bool) -> Tensor:
    """`[pair, frame, head]` to `[pair]`."""
    return energy.sum((1, 2)) if legacy else energy.mean((1, 2))


def not_zero(sums: Tensor) -> Tensor:
    """Sums to divide by: an exact 0 becomes the least number there is.

    Nothing larger would do: a softmax is 1e-13 where a logit is 30 below the others, and has a shape there too.
    """
    return sums.clamp(min=torch.finfo(sums.dtype).tiny)


def top_mean(values: Tensor, count: Tensor) -> Tensor:
    """Mean of the `floor(count)` (at least 1) largest along the last axis; `count` lacks that axis and broadcasts."""
    count = count.floor().clamp(min=1)
    ranked = values.sort(-1, descending=True).values
    chosen = torch.arange(values.shape[-1], device=values.device) < count[..., None]
    return (ranked * chosen).sum(-1) / count


def edges(want: Tensor, nowhere: Tensor | None = None) -> Tensor:
    """1 in the cells before, at and after each edge of a silhouette `[pair, frame, 1, cell]`.

    `nowhere` `[pair, frame, 1]`: 1 for an absent thing, to which the original gives a box of no size at the origin.
    """
    edge = F.pad(want, (1, 1)).diff().abs()  # between cells, the frame's two sides included
    if nowhere is not None:
        edge = torch.cat([edge[..., :1] + nowhere[..., None], edge[..., 1:]], -1)
    return F.max_pool1d(F.pad(edge, (1, 0)).flatten(0, 2)[:, None], 3, 1).view(want.shape)
