"""Classifier-free guidance: predictions are extrapolated from the unconditional towards the conditional branch.

Ho & Salimans 2022, arXiv 2207.12598, equation 6.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field, replace

import torch
from diffusers.guiders.guider_utils import rescale_noise_cfg
from torch import Tensor

from ..core.backbone import Backbone
from ..core.control import Control, Run, bound
from ..core.encoded_prompt import segments
from ..core.schedule import Schedule
from ..core.types import Conditioning, Denoise, Fraction, Span, Step
from ..errors import AnimaticError
from .guidance_rules import Extrapolated


@dataclass
class Guidance(Control):
    """prediction = unconditional + scale * (conditional - unconditional), or as `rule` combines the two.

    `scale`: the same as --guidance; None is that of the run. At 1 only the conditional branches are evaluated. `x` has
    one entry a sample, and is repeated for the branches. An energy around it evaluates the conditional branches alone.

    `interval`: the part of the run that is guided, [from, to) as fractions of the noise levels; outside it the scale
    is 1 (Kynkäänniemi et al. 2024, arXiv 2404.07724); None is the model's own. `rescale`: how far the standard
    deviation of each guided prediction is moved to that of the conditional one, 0 is off; 0.7 in the paper (Lin et al.
    2023, arXiv 2305.08891, section 3.4). `rule`: how both predictions are combined. `low_noise_scale`: of a second
    network for low noise (Wan 2.2 A14B, `guidance_scale_2` of diffusers' pipeline); None is the model's own where
    `scale` is that, else `scale`.
    """

    scale: float | None = None
    interval: Span | None = None
    rescale: Fraction = 0.0
    rule: Extrapolated = field(default_factory=Extrapolated)
    low_noise_scale: float | None = None
    _backbone: Backbone | None = bound(default=None)
    stands_around = frozenset({"Windows", "ShareKV"})
    only_one = True
    guides = True

    def begin(self, run: Run) -> Guidance:
        # a copy: methods share their controls between runs
        scale = run.guidance if self.scale is None else self.scale
        self.check(scale, run.schedule)

        # Set without effect it would be swallowed.
        levels = [step for step in run.schedule if not step.clean]
        if self.low_noise_scale is not None and not any(map(run.backbone.has_low_noise, levels)):
            reason = f"no step of {run.backbone.name} is of a second network for low noise"
            raise AnimaticError(f"guidance.low_noise_scale has no effect: {reason}")

        # A scale that somebody chose is that of both networks.
        defaults = run.backbone.defaults
        second = self.low_noise_scale
        if second is None:
            second = defaults.low_noise_guidance if scale == defaults.guidance else None
        interval = defaults.guidance_interval if self.interval is None else self.interval
        own = replace(self, scale=scale, interval=interval, rule=self.rule.begin(run), low_noise_scale=second)
        own._backbone = run.backbone
        return own

    def check(self, scale: float, schedule: Schedule) -> None:
        """Raise `AnimaticError` where settings do not suit a schedule, or have no effect at a scale."""
        first, end = self.interval or (0.0, 1.0)
        if first >= end:
            raise AnimaticError(f"guidance.interval is {first:g},{end:g}; want a smaller fraction first, as in 0.2,0.8")
        self.rule.check(schedule)
        plain = type(self)()
        changed = [name for name in ("interval", "rescale", "rule") if getattr(self, name) != getattr(plain, name)]
        if changed and scale == self.unguided:
            setting = f"{type(self).__name__.lower()}.{changed[0]}"
            raise AnimaticError(f"{setting} has no effect at a guidance scale of {scale:g}; want another --guidance")

    @property
    def unguided(self) -> float:
        """The scale at which nothing is guided."""
        return 1.0

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        # at scale 1 the unconditional branches cancel out, and an energy has none
        is_guided = self.interval is None or step.within(self.interval)
        scale = self.at(step) if is_guided else 1.0
        negative = [i for i, branch in enumerate(cond.branches) if branch.negative]
        if scale == 1 or not negative:
            return inner(x, step, cond.positive)

        # one evaluation of the network for all branches
        prediction = inner(x[cond.samples], step, cond)
        positive = [i for i, branch in enumerate(cond.branches) if not branch.negative]
        unconditional = prediction[negative]
        conditional = prediction[positive]
        guided = self.rule.guided(x, conditional, unconditional, scale, step)

        # a prediction of zeros has no deviation
        if self.rescale and bool(guided.any()):
            guided = rescale_noise_cfg(guided, conditional, self.rescale)
        return guided

    def at(self, step: Step) -> float:
        """The scale at a noise level."""
        if self.low_noise_scale is not None and self._backbone is not None and self._backbone.has_low_noise(step):
            return self.low_noise_scale
        return self._scale()

    def _scale(self) -> float:
        """The scale, which `begin` has taken from the run where it was left open."""
        if self.scale is None:
            raise AnimaticError("guidance has no scale before the run begins; want Guidance(7.5), or begin(run) first")
        return self.scale


@dataclass
class ZeroNegative(Control):
    """Unconditional branches are conditioned on zeros instead of an encoded text where a sample has no negative prompt.

    `force_uc_zero_embeddings` of CogVideoX's SAT code (Yang et al. 2024, arXiv 2408.06072,
    https://github.com/THUDM/CogVideo).
    """

    _encoded: frozenset[int] = bound(default=frozenset())  # samples whose negative prompt is an encoded text

    def begin(self, run: Run) -> Control:
        # a negative prompt of any scene of a story is an encoded text for the whole story
        defaults = run.backbone.defaults
        encoded = []
        for sample, scene in enumerate(run.scenes):
            if any(defaults.negative_text(part.negative) for part in segments(scene)):
                encoded.append(sample)
        if run.scenes and len(encoded) == len(run.scenes):
            return Control()

        own = copy(self)
        own._encoded = frozenset(encoded)
        return own

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        # conditional branches keep their text
        zeros = [branch.negative and branch.sample not in self._encoded for branch in cond.branches]
        mask = torch.tensor(zeros, device=cond.text.device)
        return replace(cond, text=cond.text.masked_fill(mask[:, None, None], 0.0))


@dataclass
class WaveGuidance(Guidance):
    """CogVideoX's "dynamic" guidance: 1 + scale (1 - cos(pi ((count - t) / count)^5)) / 2, t in training timesteps.

    Yang et al. 2024, arXiv 2408.06072; DiTCtrl and diffusers have it so too. As t is far larger than `count`, the scale
    does not rise over the run: it is a fixed sequence between 1 and 1 + scale. `scale`: the same as --guidance; None is
    that of the run. `interval`, `rescale`, `rule` and `low_noise_scale`: as those of
    `Guidance`.
    """

    @property
    def unguided(self) -> float:
        return 0.0

    def at(self, step: Step) -> float:
        # t runs to 1000 and count to some 50, so that the power is not of a fraction: as in the original
        turns = (step.count - float(step.t)) / step.count
        return 1 + super().at(step) * (1 - math.cos(math.pi * turns**5)) / 2
