"""A run that went wrong is stopped where it did: numbers that are not finite would be decoded to black frames."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

from torch import Tensor

from ..core.control import Control, Run
from ..core.types import Conditioning, Denoise, Step
from ..errors import AnimaticError


@dataclass
class Finite(Control):
    """Raises `AnimaticError` at the first noise level whose sample holds infinities or NaN, the clean one included.

    Put it first, so that it looks before other controls do. `guidance` is told in the message.
    """

    guidance: float
    _scheduler: str = field(init=False, repr=False, default="")

    def begin(self, run: Run) -> Finite:
        own = copy(self)
        own._scheduler = run.schedule.name
        return own

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if not bool(x.isfinite().all()):
            how = f"step {step.index} of {step.count} of {self._scheduler} at guidance {self.guidance:g}"
            raise AnimaticError(
                f"the sample is not finite after {how}; want another scheduler, less guidance, or float32 weights"
            )
        return x
