"""Classifier-free guidance (Ho & Salimans 2022): away from what the negative rows answer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..sampling import Cond, Control, Denoise, Step


@dataclass
class Guidance(Control):
    """prediction = negative + scale * (positive - negative). At scale 1 only the positive rows are evaluated."""

    scale: float

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        if self.scale == 1:
            return inner(x, step, cond.positive)
        answer = inner(x[cond.streams], step, cond)
        negative, positive = (
            answer[[i for i, row in enumerate(cond.rows) if row.negative is sign]] for sign in (True, False)
        )
        return negative + self.scale * (positive - negative)
