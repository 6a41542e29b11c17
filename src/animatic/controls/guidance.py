"""Classifier-free guidance (Ho & Salimans 2022): away from what the negative rows answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.control import Control
from ..core.types import Conditioning, Denoise, Step


@dataclass
class Guidance(Control):
    """prediction = negative + scale * (positive - negative).

    `scale`: the same as --guidance; at 1 only the positive rows are evaluated.
    """

    scale: float

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        scale = self.at(step)
        if scale == 1:
            return inner(x, step, cond.positive)
        answer = inner(x[cond.samples], step, cond)
        negative, positive = (
            answer[[i for i, row in enumerate(cond.branches) if row.negative is sign]] for sign in (True, False)
        )
        return negative + scale * (positive - negative)

    def at(self, step: Step) -> float:
        """The scale of a step."""
        return self.scale


@dataclass
class ZeroNegative(Control):
    """The negative rows are given zeros instead of an encoded text (`force_uc_zero_embeddings` of SAT's CogVideoX)."""

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        negative = torch.tensor([row.negative for row in cond.branches], device=cond.text.device)
        return replace(cond, text=cond.text.masked_fill(negative[:, None, None], 0.0))


@dataclass
class WaveGuidance(Guidance):
    """CogVideoX's "dynamic" guidance: 1 + scale (1 - cos(pi ((count - t) / count)^5)) / 2, t in training steps.

    As t is far larger than `count`, that is no rise but a fixed sequence from 1 to 1 + scale. DiTCtrl and diffusers
    have it so too. `scale`: the same as --guidance.
    """

    def at(self, step: Step) -> float:
        turns = (step.count - float(step.t)) / step.count
        return 1 + self.scale * (1 - math.cos(math.pi * turns**5)) / 2
