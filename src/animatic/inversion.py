"""Inversion: the noise that a given video would have been made from (DDIM, Song et al. 2021; flow, Euler).

The loop run backwards: its schedule goes from the clean sample to noise, each step the exact inverse of a forward one.
A forward step asks the network at its noisy end, which going backwards is not known yet: `Implicit` finds it as a fixed
point (Pan et al. 2023, AIDI).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .controls.guidance import Guidance
from .core.backbone import Backbone
from .core.control import Control
from .core.loop import sample
from .core.schedule import Schedule
from .core.types import Conditioning, Denoise, Step
from .errors import AnimaticError


class Backwards:
    """A schedule from clean to noise, for `sample`: each step is the noisier end of its way."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        levels = list(schedule)
        self._ways = list(pairwise(levels))  # (high, low) noise
        self._ways.reverse()

    def __iter__(self) -> Iterator[Step]:
        for i, (high, _) in enumerate(self._ways):
            yield replace(high, index=i)
        yield Step(len(self), len(self), 0.0)

    def __len__(self) -> int:
        return len(self._ways)

    def fitted(self, x: Tensor) -> Backwards:
        return self

    def start(self, x: Tensor) -> Tensor:
        return x

    def scale(self, x: Tensor, step: Step) -> Tensor:
        return self._schedule.scale(x, step)

    def advance(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """The noisier sample from which a DDIM (or Euler) step with this prediction leads to `x`: both are linear."""
        # x = kept * noisier + added * prediction: the two factors are found by steps from (1, 0) and (0, 1),
        # in float64, for `kept` divides
        high, low = self._ways[step.index]
        one = x.new_tensor(1.0, dtype=torch.float64)
        none = x.new_tensor(0.0, dtype=torch.float64)
        kept = float(self._forward(one, none, high, low))
        added = float(self._forward(none, one, high, low))
        return (x - added * prediction) / kept

    def _forward(self, x: Tensor, prediction: Tensor, high: Step, low: Step) -> Tensor:
        clean = self._schedule.estimate(x, prediction, high)

        # what is left of x without its signal, in units of the noise
        none = torch.zeros_like(clean)
        signal = self._schedule.noised(clean, none, high)
        noise = (x - signal) / (high.gain * high.noise)
        return self._schedule.noised(clean, noise, low)


@dataclass
class Implicit(Control):
    """The prediction at the end of a backward step, by asking `times` more where the last answer leads."""

    schedule: Backwards
    times: int = 3

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        answer = inner(x, step, cond)
        for _ in range(self.times):
            noisier = self.schedule.advance(x, answer, step)
            answer = inner(noisier, step, cond)
        return answer


@dataclass
class Unguided(Control):
    """The unconditional branch of one sample gets the conditional text: guidance of any scale leaves it alone.

    Inversion is unguided, and so is the way back from its noise to the frames; the other samples keep their guidance.
    """

    sample: int = 0

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        # The row of each branch; an unconditional one of this sample takes that of its conditional branch.
        rows = list(range(len(cond.branches)))
        for i, branch in enumerate(cond.branches):
            if branch.negative and branch.sample == self.sample:
                conditional = replace(branch, negative=False)
                rows[i] = cond.branches.index(conditional)
        extra = {name: value[rows] for name, value in cond.extra.items()}
        return replace(cond, text=cond.text[rows], extra=extra)


@torch.no_grad()
def invert(latents: Tensor, cond: Conditioning, backbone: Backbone, steps: int, times: int = 3) -> Tensor:
    """Noise that leads to `latents` in `steps` unguided steps of DDIM, or of Euler where the model is of flow."""
    # Deterministic solvers of one step, whose inverse is known.
    solver = "flow" if backbone.schedule(steps).flow else "ddim"
    forwards = backbone.schedule(steps, solver).fitted(latents)
    schedule: Any = Backwards(forwards)
    controls = [Guidance(1.0), Implicit(schedule, times)]
    noise = sample(backbone, schedule, latents, cond, controls)
    if not bool(noise.isfinite().all()):
        raise AnimaticError(f"inversion in {steps} steps did not converge; want more steps")
    return noise
