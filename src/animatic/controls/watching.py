"""Controls that observe a run and do not change it: progress, previews, and cancellation."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from torch import Tensor

from ..core.control import Control, Run, bound
from ..core.types import Attend, AttentionCall, Conditioning, Denoise, Step


@dataclass
class Progress(Control):
    """Calls `tick(done, count)` at every noise level, the clean one included."""

    tick: Callable[[int, int], None]

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        self.tick(step.index, step.count)
        return x


@dataclass
class OnStep(Control):
    """Calls `call(step, total, latents)` after each of `total` steps, of which the first is 1.

    `latents` `[sample, channel, frame, height, width]` are in the scheduler's units, and clean after the last step.
    They are a copy, and what the function returns is not used: a control of one's own changes latents.
    """

    call: Callable[[int, int, Tensor], object]

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if step.index:
            self.call(step.index, step.count, x.clone())
        return x


@dataclass
class Preview(Control):
    """Calls `show(step, frames)` every `every` steps; frames are uint8 `[sample, frame, height, width, 3]`.

    Put it first in the list, so that it sees the guided prediction.
    """

    show: Callable[[Step, Tensor], None]
    every: int = 5
    _run: Run = bound()

    def begin(self, run: Run) -> Preview:
        own = copy(self)
        own._run = run
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        prediction = inner(x, step, cond)
        if step.index % self.every == 0:
            run = self._run
            clean = run.schedule.estimate(x, prediction, step)
            self.show(step, run.backbone.decode(clean))
        return prediction


class Stopped(Exception):
    """The run was cancelled."""


@dataclass
class Stop(Control):
    """Raises `Stopped` once `requested` returns true: checked in every attention layer, so that long steps end too."""

    requested: Callable[[], bool]

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        self._check()
        if q.requires_grad:
            q.register_hook(lambda _: self._check())  # in the backward pass too
        return inner(call, q, k, v, mask)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        self._check()
        return x

    def _check(self) -> None:
        if self.requested():
            raise Stopped
