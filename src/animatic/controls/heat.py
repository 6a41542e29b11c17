"""Attention seen: where the words of each thing were looked at, over the frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sampling import Cond, Control, Denoise, Maps, Run, Step
from ..scene import Scene
from .energy import Targets


@dataclass
class Heat(Control):
    """Calls `show(row, phrase, map)` at the end for each thing told of: its mean attention `[frame, height, width]`.

    A mean over tokens, heads, layers that match `sites` and noise levels, on the grid of the latents, in 0..1 of its
    own maximum. Things of the same words share a map. Changes nothing.
    """

    scenes: Sequence[Scene] = field(repr=False)
    show: Callable[[int, str, Tensor], None]
    sites: tuple[str, ...] = ("*",)
    needs = frozenset({"text maps"})
    _targets: Targets | None = field(default=None, repr=False)
    _sum: Tensor | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Heat:
        targets = Targets.of(self.scenes, run.backbone.text, run.x.shape[2], run.x.device)
        pairs = run.x.new_zeros(len(targets.rows), *run.x.shape[2:], dtype=torch.float32)
        return replace(self, _targets=targets, _sum=pairs)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        goal, total = self._targets, self._sum
        if goal is None or total is None or not len(goal.rows):
            return inner(x, step, cond)
        maps = Maps(goal.tokens[cond.streams], self.sites)
        prediction = inner(x, step, replace(cond, maps=maps))
        for p in maps.found.values():  # the positive rows stand last, whether or not the negative ones were asked
            found = p[-len(goal.tokens) :].float().mean(2).movedim(-1, 1)[goal.rows, goal.columns]
            total += F.interpolate(found, total.shape[-2:], mode="bilinear", align_corners=False)
        return prediction

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        if step.clean and self._targets is not None and self._sum is not None:
            named: dict[tuple[int, str], list[int]] = {}
            for pair, (row, tracks) in enumerate(self._targets.things):
                named.setdefault((row, self.scenes[row].tracks[tracks[0]].phrase), []).append(pair)
            for (row, phrase), pairs in named.items():
                heat = self._sum[pairs].mean(0)
                self.show(row, phrase, heat / heat.amax().clamp(min=1e-12))
        return x
