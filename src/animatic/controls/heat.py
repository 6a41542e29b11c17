"""Attention seen: where the words of each thing were looked at, or what they looked at, over the frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.attention import matches_any, predict_with_maps, resized
from ..core.control import Control, Run
from ..core.types import Attend, AttentionCall, Conditioning, Denoise, Step
from ..errors import AnimaticError
from ..scene import Scene
from .targets import Targets

Each = Callable[[int, str, str, int, Tensor], None]
"""(row, phrase, layer, step, map `[frame, height, width]` in probabilities, on the grid of the layer)."""


@dataclass
class AttentionMaps(Control):
    """Calls `show(row, phrase, map)` at the end for each thing told of: its mean attention `[frame, height, width]`.

    A mean over tokens, heads, layers that match `sites` and noise levels, those numbered in `steps` or all, on the grid
    of the latents, in 0..1 of its own maximum. Things of the same words share a map. `each` is called for every layer
    and noise level. With `back` it is not how cells look at words but how words look at cells, which they do where
    both are one sequence. Memory is layers x cells x words. Changes nothing.
    """

    scenes: Sequence[Scene] = field(repr=False)
    show: Callable[[int, str, Tensor], None]
    layers: tuple[str, ...] = ("*",)
    steps: tuple[int, ...] = ()
    from_text: bool = False
    each: Each | None = None
    needs = frozenset({"text maps"})
    _targets: Targets = field(init=False, repr=False)
    _sum: Tensor = field(init=False, repr=False)
    _looked: dict[str, Tensor] = field(init=False, repr=False)

    def begin(self, run: Run) -> AttentionMaps:
        if late := [step for step in self.steps if step >= len(run.schedule)]:
            last = len(run.schedule) - 1
            raise AnimaticError(f"attention of step {late[0]} is wanted; this run has steps 0 to {last}")
        own = copy(self)
        own._targets = Targets.in_run(self.scenes, run)
        own._sum = run.x.new_zeros(len(own._targets.rows), *run.x.shape[2:], dtype=torch.float32)
        own._looked = {}
        return own

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        if self.from_text and site.kind == "joint" and matches_any(site.layer, self.layers):
            tokens = self._targets.tokens[site.cond.samples][:, None, :, None]
            words = q.gather(2, tokens.expand(-1, q.shape[1], -1, q.shape[3]))
            looks = (words @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1).mean(1)[..., site.text_keys.stop :]
            self._looked[site.layer] = looks.unflatten(2, site.grid).movedim(1, -1)[:, :, None]
        return inner(site, q, k, v, mask)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        goal = self._targets
        if not len(goal.rows) or (self.steps and step.index not in self.steps):
            return inner(x, step, cond)
        if self.from_text:
            self._looked.clear()
            prediction, found = inner(x, step, cond), self._looked
        else:
            prediction, found = predict_with_maps(inner, x, step, cond, goal.tokens, self.layers, mean=True)
        if not found:
            layers = ", ".join(self.layers)
            if self.from_text:
                raise AnimaticError(f"words look at nothing in {layers}; want layers of text and video as one")
            raise AnimaticError(f"no attention was seen in {layers}: a control asks with words of its own instead")
        for name, p in found.items():
            heat = p[-len(goal.tokens) :].float().mean(2).movedim(-1, 1)[goal.rows, goal.columns]
            if self.each:
                for (row, phrase), pairs in self._named().items():
                    self.each(row, phrase, name, step.index, heat[pairs].mean(0))
            self._sum += resized(heat.repeat_interleave(self._sum.shape[1] // heat.shape[1], 1), self._sum.shape[-2:])
        return prediction

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if step.clean:
            for (row, phrase), pairs in self._named().items():
                heat = self._sum[pairs].mean(0)
                self.show(row, phrase, heat / heat.amax().clamp(min=1e-12))
        return x

    def _named(self) -> dict[tuple[int, str], list[int]]:
        """The pairs of each row and phrase."""
        named: dict[tuple[int, str], list[int]] = {}
        for pair, (row, tracks) in enumerate(self._targets.objects):
            named.setdefault((row, self.scenes[row].tracks[tracks[0]].phrase), []).append(pair)
        return named
