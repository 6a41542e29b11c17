"""Layout attention: pixels are led to look at the words of the boxes they are in. One forward pass, no gradient.

What is added to the attention logits follows DenseDiffusion (Kim et al. 2023) in spirit: up inside the box, down
outside, less as noise falls; but it is constant there, so that attention stays fused.

In transformers a bias on tokens x tokens would be gigabytes. What is added to the logit of cell i and word j is a
product, push of i times "j is the word", so it goes into queries and keys as a channel a word: exact, and still fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
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
    _pace: int = field(default=1, repr=False)  # latent frames a token
    _targets: Targets | None = field(default=None, repr=False)
    _made: dict[tuple, Tensor] = field(default_factory=dict, repr=False)
    _pairs: dict[tuple, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def begin(self, run: Run) -> LayoutAttention:
        if len(self.scenes) != len(run.x):
            raise AnimaticError(
                f"LayoutAttention has {len(self.scenes)} scenes for {len(run.x)} samples; want one each"
            )
        targets = Targets.of(self.scenes, run.backbone.text, run.x.shape[2], run.x.device)
        return replace(self, _targets=targets, _made={}, _pairs={}, _pace=run.backbone.geometry.patch[0])

    def attend(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        listening = (
            site.kind in ("cross", "joint") and site.step.fraction < self.until and (self.inside or self.outside)
        )
        if not listening or not any(fnmatchcase(site.name, glob) for glob in self.sites):
            return inner(site, q, k, v, mask)
        if site.kind == "joint" or site.fold < site.grid[0]:
            return inner(site, *self._led(site, q, k), v, mask)
        bias = self._bias(site.grid, site.cond.rows, k.shape[2], site.fold).to(q.dtype) * site.step.noise
        return inner(site, q, k, v, bias if mask is None else mask + bias)

    def _led(self, site: Site, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys with a channel for every wanted word; the others make up for the scale of wider heads."""
        push, words = self._channels(site.grid, site.cond.rows, k.shape[2])
        widest = q.shape[-1] + push.shape[-1]
        push = F.pad(push * (site.step.noise * widest**0.5), (0, 0, q.shape[2] - push.shape[2], 0)).to(q)
        q = torch.cat([q * (widest / q.shape[-1]) ** 0.5, push.expand(-1, q.shape[1], -1, -1)], -1)
        return q, torch.cat([k, words.to(k).expand(-1, k.shape[1], -1, -1)], -1)

    def _channels(self, grid: tuple[int, int, int], rows: tuple[Row, ...], keys: int) -> tuple[Tensor, Tensor]:
        """Pushes `[row, 1, video token, wanted]` and one-hot words `[row, 1, key, wanted]`, text first."""
        key = (grid, rows, keys)
        if key not in self._pairs:
            goal, frames = self._targets, grid[0] * self._pace
            assert goal is not None  # begin has been called
            push = goal.masks(*grid[1:]).flatten(-2) * (self.inside + self.outside) - self.outside
            made = push.new_zeros(*goal.tokens.shape, *push.shape[1:])  # [scene, wanted, frame, cell]
            made.index_put_((goal.rows, goal.columns), push, accumulate=True)
            said = [told(goal.tokens[r.stream], r, keys) for r in rows]
            parts = [
                made[r.stream, :, r.first : r.first + frames] * t[:, None, None]
                for r, t in zip(rows, said, strict=True)
            ]
            push = torch.stack(parts).unflatten(2, (grid[0], self._pace)).mean(3).flatten(2)
            words = F.one_hot(goal.tokens[[r.stream for r in rows]] % keys, keys).float()
            self._pairs[key] = push.movedim(1, -1)[:, None], words.movedim(1, -1)[:, None]
        return self._pairs[key]

    def _bias(self, grid: tuple[int, int, int], rows: tuple[Row, ...], words: int, fold: int) -> Tensor:
        """`[row * frame, 1, cell, word]`, made once for each size of layer."""
        key = (grid, rows, words)
        if key not in self._made:
            goal = self._targets
            assert goal is not None  # begin has been called
            boxes = goal.masks(*grid[1:]).flatten(-2)  # [pair, frame, cell]
            push = boxes * (self.inside + self.outside) - self.outside
            tokens = goal.tokens[goal.rows, goal.columns]
            parts = []
            for r in rows:
                mine = ((goal.rows == r.stream) & told(tokens, r, words)).nonzero()[:, 0]
                part = push.new_zeros(fold, push.shape[2], words)
                part.movedim(-1, 0).index_put_(
                    (tokens[mine] % words,), push[mine, r.first : r.first + fold], accumulate=True
                )
                parts.append(part)
            self._made[key] = torch.cat(parts)[:, None]
        return self._made[key]


def told(tokens: Tensor, row: Row, words: int) -> Tensor:
    """Which of a story's tokens, `words` to a part, a row is told; a negative row none."""
    parts = [] if row.negative else [part for part, _ in row.parts]
    return torch.isin(tokens // words, torch.tensor(parts, device=tokens.device))
