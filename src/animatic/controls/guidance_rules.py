"""How guidance combines the conditional and the unconditional prediction: as published first, and what improves it.

The arithmetic of the improved ones is that of `diffusers.guiders`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Annotated

import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from diffusers.guiders.classifier_free_zero_star_guidance import cfg_zero_star_scale
from pydantic import Field
from torch import Tensor

from ..core.control import Run, bound
from ..core.schedule import Schedule
from ..core.types import Fraction, Step
from ..errors import AnimaticError


@dataclass
class Extrapolated:
    """prediction = unconditional + scale * (conditional - unconditional).

    Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, equation 6).
    """

    def begin(self, run: Run) -> Extrapolated:
        """The rule that takes part in one run; one with state returns a fresh copy."""
        return self

    def check(self, schedule: Schedule) -> None:
        """Raise `AnimaticError` where the rule does not suit a schedule."""

    def guided(self, x: Tensor, conditional: Tensor, unconditional: Tensor, scale: float, step: Step) -> Tensor:
        """The guided prediction of each sample, for `x` and predictions `[sample, channel, frame, height, width]`."""
        return unconditional + scale * (conditional - unconditional)


@dataclass
class ZeroStar(Extrapolated):
    """CFG-Zero*: the unconditional prediction is scaled to be nearest the conditional one.

    Fan et al. 2025, arXiv 2503.18886, https://github.com/WeichenFan/CFG-Zero-star. `zero_init`: the number of first
    steps in which the velocity is zero, so that the sample stays as it is; for models of flow matching alone.
    """

    zero_init: Annotated[int, Field(ge=0)] = 0

    def check(self, schedule: Schedule) -> None:
        if self.zero_init and not schedule.flow:
            reason = f"guidance.rule.zero_init is {self.zero_init}, which is for models of flow matching"
            raise AnimaticError(f"{reason}, and {schedule.name} is none of theirs; want 0")

    def guided(self, x: Tensor, conditional: Tensor, unconditional: Tensor, scale: float, step: Step) -> Tensor:
        if step.index < self.zero_init:
            return torch.zeros_like(conditional)

        # one factor a sample
        factor = cfg_zero_star_scale(conditional.flatten(1), unconditional.flatten(1))
        scaled = factor.view(-1, 1, 1, 1, 1) * unconditional
        return super().guided(x, conditional, scaled, scale, step)


@dataclass
class Projected(Extrapolated):
    """APG: of the difference between both clean estimates, the part that is parallel to the conditional one is reduced.

    Sadat et al. 2024, arXiv 2410.02416, algorithm 1, on each frame as on a picture there. `parallel`: the factor of the
    parallel part (eta). `norm`: the most that the difference of a frame may measure (r); 0 is off.
    `reverse_momentum`: how much of the differences at earlier levels is subtracted (-beta). At 1, 0 and 0 it is
    classifier-free guidance.
    """

    parallel: Fraction = 0.0
    norm: Annotated[float, Field(ge=0)] = 15.0
    reverse_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    _schedule: Schedule = bound()
    _level: int = bound(default=-1)  # of the newest difference
    _earlier: Tensor | int = bound(default=0)  # the running difference before that level
    _newest: Tensor | int = bound(default=0)

    def begin(self, run: Run) -> Projected:
        own = copy(self)
        own._schedule = run.schedule
        own._level = -1
        own._earlier = 0
        own._newest = 0
        return own

    def guided(self, x: Tensor, conditional: Tensor, unconditional: Tensor, scale: float, step: Step) -> Tensor:
        # the network may be evaluated several times at a level, each time after the same earlier ones
        if step.index != self._level:
            self._level = step.index
            self._earlier = self._newest
        momentum = MomentumBuffer(-self.reverse_momentum)
        momentum.running_average = self._earlier

        # the paper guides clean estimates
        schedule = self._schedule
        clean = normalized_guidance(
            schedule.estimate(x.float(), conditional.float(), step),
            schedule.estimate(x.float(), unconditional.float(), step),
            scale - 1,
            momentum,
            eta=self.parallel,
            norm_threshold=self.norm,
            use_original_formulation=True,  # conditional + (scale - 1) * difference, as in the paper
            norm_dim=(1, 3, 4),
        )
        if isinstance(momentum.running_average, Tensor):
            self._newest = momentum.running_average.detach()
        return schedule.prediction(x.float(), clean, step).to(conditional.dtype)
