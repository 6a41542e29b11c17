"""What a layout energy is made of: how far text attention is from its boxes. One batch, no loops over things.

Maps come as `[row, frame, head, height, width, wanted]` per layer; here they are taken apart into pairs of one token
and one thing: A `[pair, frame, head, cell]` with masks M `[pair, frame, 1, cell]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .energy import Targets


@dataclass(frozen=True)
class BoxEnergy:
    """LVD's energy: attention high at the top of the box, low at the top of the rest, its centre where the box's is.

    `inside`, `outside`: share of the cells whose largest values count; `background`: weight of the outside term;
    `centre`: weight of the centre-of-mass terms (LVD `com_loss_scale`), position and velocity, in frame sizes.
    A mean over heads, frames, tokens, things and layers, so that one threshold fits all models; frames in which a thing
    is absent only push it away. `legacy` is LVD's own arithmetic: sums over heads and frames, centres in cells.
    """

    inside: float = 0.75
    outside: float = 0.75
    foreground: float = 1.0
    background: float = 4.0
    centre: float = 0.0
    legacy: bool = False

    def __call__(self, found: Mapping[str, Tensor], targets: Targets) -> Tensor:
        """Energy `[row]`."""
        total = sum((self._layer(p, targets) for p in found.values()), torch.zeros((), device=targets.share.device))
        return targets.of_rows(total / len(found))

    def _layer(self, p: Tensor, targets: Targets) -> Tensor:
        """Energy of one layer `[pair]`."""
        height, width = p.shape[3:5]
        a = p.movedim(-1, 1)[targets.rows, targets.columns].float().flatten(-2)
        m = targets.masks(height, width).flatten(-2)[:, :, None]
        present = m.amax(-1)  # [pair, frame, 1]
        fg = 1 - top_mean(a * m, (m.sum(-1) * self.inside))
        bg = top_mean(a * (1 - m), ((1 - m).sum(-1) * self.outside))
        if not self.legacy:
            fg = fg * present
        energy = self.foreground * fg + self.background * bg  # [pair, frame, head]
        energy = energy.sum((1, 2)) if self.legacy else energy.mean((1, 2))
        return energy + self.centre * self._centre(a, m, present, height, width) if self.centre else energy

    def _centre(self, a: Tensor, m: Tensor, present: Tensor, height: int, width: int) -> Tensor:
        """Squared errors of the centre of mass and of its velocity (LVD eq. 5), `[pair]`."""
        units = (1.0, 1.0) if self.legacy else (height, width)
        grid = torch.meshgrid(
            *(torch.arange(n, device=a.device) / u for n, u in zip((height, width), units, strict=True)), indexing="ij"
        )
        total = a.new_zeros(len(a))
        for place in (axis.flatten() for axis in grid):
            have, want = ((v * place).sum(-1) / v.sum(-1).clamp(min=1e-12) for v in (a, m))
            off = have - want  # [pair, frame, head]
            drift = off.diff(dim=1) * present[:, 1:] * present[:, :-1]
            error = ((off * present).square().mean(2).sum(1)) + drift.square().mean(2).sum(1)
            total = total + (error if self.legacy else error / a.shape[1])
        return total


def top_mean(values: Tensor, count: Tensor) -> Tensor:
    """Mean of the `floor(count)` (at least 1) largest along the last axis; `count` lacks that axis and broadcasts."""
    count = count.floor().clamp(min=1)
    ranked = values.sort(-1, descending=True).values
    chosen = torch.arange(values.shape[-1], device=values.device) < count[..., None]
    return (ranked * chosen).sum(-1) / count
