"""Layout attention: pixels are led to look at the words of the boxes they are in. One forward pass, no gradient.

What is added to the attention logits follows DenseDiffusion (Kim et al. 2023) in spirit: up inside the box, down
outside, less as noise falls; but it is constant there, so that attention stays fused.

In transformers a bias on tokens x tokens would be gigabytes. What is added to the logit of cell i and word j is a
product, push of i times "j is the word", so it goes into queries and keys as a channel a word: exact, and still fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.attention import TEXT_KINDS, matches_any
from ..core.control import Control, Run, one_each
from ..core.types import Attend, AttentionCall, Branch, Fraction, Step
from ..scene import Scene
from .targets import Targets


@dataclass
class LayoutAttention(Control):
    """Lead cells to the words of the boxes they are in. Rows of negative prompts are left alone.

    `inside`: added to the logits of a thing's words in its box, times the noise level; `outside`: taken away elsewhere,
    times the noise level; 0 and 0 change nothing. `until`: the first share of the noise levels. `sites`: the attention
    layers (globs).
    """

    scenes: Sequence[Scene] = field(repr=False)
    inside: float = 4.0
    outside: float = 8.0
    until: Fraction = 0.6
    layers: tuple[str, ...] = ("*",)
    needs = frozenset({"text maps"})
    _pace: int = field(init=False, repr=False)  # latent frames a token
    _targets: Targets = field(init=False, repr=False)
    _made: dict[tuple, tuple[Tensor, Tensor]] = field(init=False, repr=False)

    def begin(self, run: Run) -> LayoutAttention:
        one_each(self, self.scenes, run.x)
        own = copy(self)
        own._pace, own._made = run.backbone.geometry.patch[0], {}
        own._targets = Targets.in_run(self.scenes, run)
        return own

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        wanted = site.step.fraction < self.until and (self.inside or self.outside)
        if not wanted or site.kind not in TEXT_KINDS or not matches_any(site.layer, self.layers):
            return inner(site, q, k, v, mask)
        push, words = self._biases(site.grid, site.cond.branches, site.text_keys.stop, k.shape[2])
        if site.kind == "joint" or site.entries_per_branch < site.grid[0]:
            return inner(site, *_with_bias_channels(site.step, q, k, push, words), v, mask)
        bias = (push * site.step.noise).to(q) @ words.to(q).transpose(-1, -2)
        bias = bias.unflatten(2, (site.entries_per_branch, -1)).transpose(1, 2).flatten(0, 1)
        return inner(site, q, k, v, bias if mask is None else mask + bias)

    def _biases(
        self, grid: tuple[int, int, int], rows: tuple[Branch, ...], text: int, keys: int
    ) -> tuple[Tensor, Tensor]:
        """Pushes `[row, 1, cell, wanted]` of the cells of all frames, and one-hot words `[row, 1, key, wanted]`.

        The first `text` of the keys are the tokens of one prompt.
        """
        key = (grid, rows, keys)
        if key not in self._made:
            goal, frames = self._targets, grid[0] * self._pace
            push = goal.masks(*grid[1:]).flatten(-2) * (self.inside + self.outside) - self.outside
            made = push.new_zeros(*goal.tokens.shape, *push.shape[1:])  # [scene, wanted, frame, cell]
            made.index_put_((goal.rows, goal.columns), push, accumulate=True)
            said = [conditioned_on(goal.tokens[row.sample], row, text) for row in rows]
            parts = [
                made[row.sample, :, row.first_frame : row.first_frame + frames] * t[:, None, None]
                for row, t in zip(rows, said, strict=True)
            ]
            push = torch.stack(parts).unflatten(2, (grid[0], self._pace)).mean(3).flatten(2)
            words = F.one_hot(goal.tokens[[row.sample for row in rows]] % text, keys).float()
            self._made[key] = push.movedim(1, -1)[:, None], words.movedim(1, -1)[:, None]
        return self._made[key]


def _with_bias_channels(step: Step, q: Tensor, k: Tensor, push: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys with a channel for every wanted word; the others make up for the scale of wider heads."""
    widest = q.shape[-1] + push.shape[-1]
    push = F.pad(push * (step.noise * widest**0.5), (0, 0, q.shape[2] - push.shape[2], 0)).to(q)
    q = torch.cat([q * (widest / q.shape[-1]) ** 0.5, push.expand(-1, q.shape[1], -1, -1)], -1)
    return q, torch.cat([k, words.to(k).expand(-1, k.shape[1], -1, -1)], -1)


def conditioned_on(tokens: Tensor, row: Branch, words: int) -> Tensor:
    """Which of a story's tokens, `words` to a part, a row is told; a negative row none."""
    parts = [] if row.negative else [part for part, _ in row.prompt_weights]
    return torch.isin(tokens // words, torch.tensor(parts, device=tokens.device))
