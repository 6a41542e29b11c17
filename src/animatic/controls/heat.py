"""Attention seen: where the words of each thing were looked at, or what they looked at, over the frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import AnimaticError
from ..sampling import Attend, Cond, Control, Denoise, Maps, Run, Site, Step
from ..scene import Scene
from .energy import Targets

Each = Callable[[int, str, str, int, Tensor], None]
"""(row, phrase, layer, step, map `[frame, height, width]` in probabilities, on the grid of the layer)."""


@dataclass
class Heat(Control):
    """Calls `show(row, phrase, map)` at the end for each thing told of: its mean attention `[frame, height, width]`.

    A mean over tokens, heads, layers that match `sites` and noise levels, those numbered in `steps` or all, on the grid
    of the latents, in 0..1 of its own maximum. Things of the same words share a map. `each` is called for every layer
    and noise level. With `back` it is not how cells look at words but how words look at cells, which they do where
    both are one sequence. Memory is layers x cells x words. Changes nothing.
    """

    scenes: Sequence[Scene] = field(repr=False)
    show: Callable[[int, str, Tensor], None]
    sites: tuple[str, ...] = ("*",)
    steps: tuple[int, ...] = ()
    back: bool = False
    each: Each | None = None
    needs = frozenset({"text maps"})
    _targets: Targets | None = field(default=None, repr=False)
    _sum: Tensor | None = field(default=None, repr=False)
    _looked: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def begin(self, run: Run) -> Heat:
        targets = Targets.of(self.scenes, run.backbone.text, run.x.shape[2], run.x.device)
        pairs = run.x.new_zeros(len(targets.rows), *run.x.shape[2:], dtype=torch.float32)
        return replace(self, _targets=targets, _sum=pairs, _looked={})

    def attend(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if self.back and site.kind == "joint" and any(fnmatchcase(site.name, glob) for glob in self.sites):
            assert self._targets is not None  # begin has been called
            tokens = self._targets.tokens[site.cond.streams][:, None, :, None]
            words = q.gather(2, tokens.expand(-1, q.shape[1], -1, q.shape[3]))
            looks = (words @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1).mean(1)[..., site.text.stop :]
            self._looked[site.name] = looks.unflatten(2, site.grid).movedim(1, -1)[:, :, None]
        return inner(site, q, k, v, mask)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        goal = self._targets
        if goal is None or not len(goal.rows) or (self.steps and step.index not in self.steps):
            return inner(x, step, cond)
        self._looked.clear()
        maps = Maps(goal.tokens[cond.streams], self.sites, mean=True)
        prediction = inner(x, step, cond if self.back else replace(cond, maps=maps))
        if self.back and not self._looked:
            raise AnimaticError(
                f"words look at nothing in {', '.join(self.sites)}; want layers of text and video as one"
            )
        self._add(self._looked if self.back else maps.found, goal, step)
        return prediction

    def _add(self, seen: Mapping[str, Tensor], goal: Targets, step: Step) -> None:
        assert self._sum is not None  # begin has been called
        for name, p in seen.items():  # the positive rows stand last, whether or not the negative ones were asked
            found = p[-len(goal.tokens) :].float().mean(2).movedim(-1, 1)[goal.rows, goal.columns]
            for (row, phrase), pairs in self._named(goal).items() if self.each else ():
                assert self.each is not None
                self.each(row, phrase, name, step.index, found[pairs].mean(0))
            found = found.repeat_interleave(self._sum.shape[1] // found.shape[1], 1)
            self._sum += F.interpolate(found, self._sum.shape[-2:], mode="bilinear", align_corners=False)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        if step.clean and self._targets is not None and self._sum is not None:
            for (row, phrase), pairs in self._named(self._targets).items():
                heat = self._sum[pairs].mean(0)
                self.show(row, phrase, heat / heat.amax().clamp(min=1e-12))
        return x

    def _named(self, goal: Targets) -> dict[tuple[int, str], list[int]]:
        """The pairs of each row and phrase."""
        named: dict[tuple[int, str], list[int]] = {}
        for pair, (row, tracks) in enumerate(goal.things):
            named.setdefault((row, self.scenes[row].tracks[tracks[0]].phrase), []).append(pair)
        return named
