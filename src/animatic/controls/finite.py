"""Stops a run at the first sample that is not finite, which would be decoded to black frames."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from torch import Tensor

from ..core.control import Control, Run, bound
from ..core.types import Conditioning, Denoise, Step
from ..errors import AnimaticError


@dataclass
class Finite(Control):
    """Raises `AnimaticError` at the first noise level whose sample holds infinities or NaN, the clean one included.

    Put it first in the list, so that it checks a sample before other controls use it.
    """

    _run: Run = bound()

    def begin(self, run: Run) -> Finite:
        own = copy(self)
        own._run = run
        return own

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        # one synchronisation with the device for each step
        if not bool(x.isfinite().all()):
            scheduler, guidance = self._run.schedule.name, self._run.guidance
            where = f"step {step.index} of {step.count} of {scheduler} at guidance {guidance:g}"
            raise AnimaticError(
                f"the sample is not finite after {where}; want another scheduler, less guidance, or float32 weights"
            )
        return x
