"""Layout attention: pixels are led to look at the words of the boxes they are in. One forward pass, no gradient.

What is added to the attention logits follows DenseDiffusion (Kim et al. 2023) in spirit: up inside the box, down
outside, less as noise falls; but it is constant there, so that attention stays fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from ..errors import AnimaticError
from ..sampling import Attend, Control, Row, Run, Share, Site
from ..scene import Scene
from .energy import Targets


@dataclass
class LayoutAttention(Control):
    """Add `inside` to the logits of a thing's words in its box, take `outside` away elsewhere, times the noise level.

    In the layers `sites` (globs), at the first `until` (share) of the noise levels; rows of negative prompts are left
    alone. 0 and 0 change nothing.
    """

    scenes: Sequence[Scene] = field(repr=False)
    inside: float = 4.0
    outside: float = 8.0
    until: Share = 0.6
    sites: tuple[str, ...] = ("*",)
    needs = frozenset({"text maps"})
    _targets: Targets | None = field(default=None, repr=False)
    _made: dict[tuple, Tensor] = field(default_factory=dict, repr=False)

    def begin(self, run: Run) -> LayoutAttention:
        if len(self.scenes) != len(run.x):
            raise AnimaticError(
                f"LayoutAttention has {len(self.scenes)} scenes for {len(run.x)} samples; want one each"
            )
        targets = Targets.of(self.scenes, run.backbone.text, run.x.shape[2], run.x.device)
        return replace(self, _targets=targets, _made={})

    def attend(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        listening = site.kind == "cross" and site.step.fraction < self.until and (self.inside or self.outside)
        if not listening or not any(fnmatchcase(site.name, glob) for glob in self.sites):
            return inner(site, q, k, v, mask)
        bias = self._bias(site.grid, site.cond.rows, k.shape[2], site.fold).to(q.dtype) * site.step.noise
        return inner(site, q, k, v, bias if mask is None else mask + bias)

    def _bias(self, grid: tuple[int, int, int], rows: tuple[Row, ...], words: int, fold: int) -> Tensor:
        """`[row * frame, 1, cell, word]`, made once for each size of layer."""
        key = (grid, rows, words)
        if key not in self._made:
            goal = self._targets
            assert goal is not None  # begin has been called
            boxes = goal.masks(*grid[1:]).flatten(-2)  # [pair, frame, cell]
            push = boxes * (self.inside + self.outside) - self.outside
            made = torch.zeros(len(self.scenes), *push.shape[1:], words, device=push.device)
            made.movedim(-1, 1).index_put_((goal.rows, goal.tokens[goal.rows, goal.columns]), push, accumulate=True)
            parts = [
                torch.zeros_like(made[0, :fold]) if r.negative else made[r.stream, r.first : r.first + fold]
                for r in rows
            ]
            self._made[key] = torch.cat(parts)[:, None]
        return self._made[key]
