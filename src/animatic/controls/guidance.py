"""Classifier-free guidance: predictions are extrapolated from the unconditional towards the conditional branch.

Ho & Salimans 2022, arXiv 2207.12598, equation 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.control import Control, Run
from ..core.encoded_prompt import segments
from ..core.types import Conditioning, Denoise, Step
from ..errors import AnimaticError


@dataclass
class Guidance(Control):
    """prediction = unconditional + scale * (conditional - unconditional).

    `scale`: the same as --guidance; None is that of the run. At 1 only the conditional branches are evaluated. `x` has
    one entry a sample, and is repeated for the branches. An energy around it evaluates the conditional branches alone.
    """

    scale: float | None = None
    stands_around = frozenset({"Windows", "ShareKV"})
    only_one = True
    guides = True

    def begin(self, run: Run) -> Guidance:
        # a copy: methods share their controls between runs
        scale = run.guidance if self.scale is None else self.scale
        return replace(self, scale=scale)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        # at scale 1 the unconditional branches cancel out, and an energy has none
        scale = self.at(step)
        negative = [i for i, branch in enumerate(cond.branches) if branch.negative]
        if scale == 1 or not negative:
            return inner(x, step, cond.positive)

        # one evaluation of the network for all branches
        prediction = inner(x[cond.samples], step, cond)
        positive = [i for i, branch in enumerate(cond.branches) if not branch.negative]
        unconditional = prediction[negative]
        conditional = prediction[positive]
        return unconditional + scale * (conditional - unconditional)

    def at(self, step: Step) -> float:
        """The scale at a noise level."""
        return self._scale()

    def _scale(self) -> float:
        """The scale, which `begin` has taken from the run where it was left open."""
        if self.scale is None:
            raise AnimaticError("guidance has no scale before the run begins; want Guidance(7.5), or begin(run) first")
        return self.scale


@dataclass
class ZeroNegative(Control):
    """Unconditional branches are conditioned on zeros instead of an encoded text where a run has no negative prompt.

    `force_uc_zero_embeddings` of CogVideoX's SAT code (Yang et al. 2024, arXiv 2408.06072,
    https://github.com/THUDM/CogVideo).
    """

    def begin(self, run: Run) -> Control:
        # a negative prompt of any scene, or of the model, is an encoded text for all
        defaults = run.backbone.defaults
        parts = [part for scene in run.scenes for part in segments(scene)]
        has_negative = any(defaults.negative_text(part.negative) for part in parts)
        return Control() if has_negative else self

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        # conditional branches keep their text
        negative = torch.tensor([branch.negative for branch in cond.branches], device=cond.text.device)
        return replace(cond, text=cond.text.masked_fill(negative[:, None, None], 0.0))


@dataclass
class WaveGuidance(Guidance):
    """CogVideoX's "dynamic" guidance: 1 + scale (1 - cos(pi ((count - t) / count)^5)) / 2, t in training timesteps.

    Yang et al. 2024, arXiv 2408.06072; DiTCtrl and diffusers have it so too. As t is far larger than `count`, the scale
    does not rise over the run: it is a fixed sequence between 1 and 1 + scale. `scale`: the same as --guidance; None is
    that of the run.
    """

    def at(self, step: Step) -> float:
        # t runs to 1000 and count to some 50, so that the power is not of a fraction: as in the original
        turns = (step.count - float(step.t)) / step.count
        return 1 + self._scale() * (1 - math.cos(math.pi * turns**5)) / 2
