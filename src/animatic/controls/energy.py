"""Energy guidance: before each step, move the sample downhill on an energy of its text attention.

x <- x - scale * sqrt(1 - alpha_bar) * dE/dx   (LMD eq. 4, LVD eq. 4)

The energy is asked of the conditional rows alone, through `inner`: whatever is nested inside (grounding, windows,
sharing) is guided too. What the energies themselves are stands in `terms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from ..core.control import Control, Run, one_each
from ..core.types import AttentionMapRequest, Conditioning, Denoise, Fraction, Step
from ..errors import AnimaticError
from ..scene import Scene
from .targets import Targets


class Terms(Protocol):
    """What an energy is made of: found maps and targets to an energy `[row]`, at a noise level."""

    @property
    def every_word(self) -> bool:
        """Whether it needs the attention of all words, not only of those that name things."""
        ...

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor: ...


@dataclass(frozen=True)
class NoiseLevel:
    """sqrt(1 - alpha_bar)."""

    def __call__(self, step: Step) -> float:
        return step.noise


@dataclass(frozen=True)
class LinearDecay:
    """sqrt of what falls linearly from 1 at the first level, whatever the noise (BoxDiff).

    `last`: what it falls to at the last level.
    """

    last: float = 0.5

    def __call__(self, step: Step) -> float:
        return (1 - (1 - self.last) * step.index / max(1, step.count - 1)) ** 0.5


@dataclass
class Energy(Control):
    """Steps downhill on an energy at each of the first noise levels: scale x shape of the level x gradient.

    `terms`: what the energy is made of. `sites`: the attention layers that are read (globs). `scale`: the length of a
    step. `until`: the first share of the noise levels is guided, such as 10/40 for 10 of 40 steps. `iters`: most steps
    at a level, one number, or one for each level, of which the last stands for all that follow. `threshold`: a row
    whose energy is at or below it gets no further step at a level; it is judged after each step, so that it has no
    effect where `iters` is 1. `shape`: how the length of a step hangs on the level.

    With `legacy` the value judged is carried over between levels, as in LMD and LVD, so that a row once good is never
    looked at again, and boxes are rounded as there. With `apart` objects of the same words are judged one by one (LVD),
    not as one.
    """

    scenes: Sequence[Scene] = field(repr=False)
    terms: Terms
    layers: tuple[str, ...] = ("*",)
    scale: float = 5.0
    until: Fraction = 0.25
    iterations: int | tuple[int, ...] = 5
    threshold: float = 0.0
    step_size: Callable[[Step], float] = NoiseLevel()
    legacy: bool = False
    separate_objects: bool = False
    needs = frozenset({"text maps"})
    _targets: Targets = field(init=False, repr=False)
    _last: Tensor = field(init=False, repr=False)
    _scheduler: str = field(init=False, repr=False)

    def begin(self, run: Run) -> Energy:
        one_each(self, self.scenes, run.x)
        own = copy(self)
        own._targets = Targets.in_run(self.scenes, run, self.legacy, self.terms.every_word, self.separate_objects)
        own._scheduler = run.schedule.name
        own._last = run.x.new_full((len(run.x),), torch.inf)
        return own

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        targets = self._targets
        if step.clean or step.fraction >= self.until or not len(targets.rows):
            return x
        last = self._last if self.legacy else torch.full_like(self._last, torch.inf)
        active = last > self.threshold
        for _ in range(self._iters_at(step.index) if bool(active.any()) else 0):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                maps = AttentionMapRequest(targets.tokens, self.layers, maps_only=True)
                inner(x, step, replace(cond.positive, map_request=maps))
                energy = self.terms(maps.found, targets, step)
                (gradient,) = torch.autograd.grad(energy.sum(), x)
            # gain^2: the update is meant in variance-preserving units, x and its gradient are both in the scheduler's
            size = self.scale * self.step_size(step) * step.gain**2
            x = x.detach() - size * gradient * active.view(-1, 1, 1, 1, 1)
            last = torch.where(active, energy.detach(), last)
            active = last > self.threshold
            facts = torch.stack([energy.isfinite().all(), x.isfinite().all(), active.any()])
            sane, finite, more = facts.tolist()  # the one wait for the device
            if not sane:
                hint = f"before any push; want another scheduler than {self._scheduler}, or float32 weights"
                raise AnimaticError(f"Energy at step {step.index}: the model's attention is not finite, {hint}")
            if not finite:
                hint = f"lower scale ({self.scale})"
                raise AnimaticError(f"Energy at step {step.index}: the update is not finite; {hint}")
            if not more:
                break
        self._last = last
        return x.detach()

    def _iters_at(self, index: int) -> int:
        return (
            self.iterations
            if isinstance(self.iterations, int)
            else self.iterations[min(index, len(self.iterations) - 1)]
        )
