"""Controls that only look: how far the run is, what it would show by now, and whether it is still wanted."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field

from torch import Tensor

from ..core.control import Control, Run
from ..core.types import Attend, AttentionCall, Conditioning, Denoise, Step


@dataclass
class Progress(Control):
    """Calls `tick(done, count)` at every noise level, the clean one included."""

    tick: Callable[[int, int], None]

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        self.tick(step.index, step.count)
        return x


@dataclass
class Preview(Control):
    """Calls `show(step, frames)` every `every` steps; frames are uint8 `[row, frame, height, width, 3]`.

    Put it first in the list, so that it sees the guided prediction.
    """

    show: Callable[[Step, Tensor], None]
    every: int = 5
    _run: Run = field(init=False, repr=False)

    def begin(self, run: Run) -> Preview:
        own = copy(self)
        own._run = run
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        prediction = inner(x, step, cond)
        if step.index % self.every == 0:
            self.show(step, self._run.backbone.decode(self._run.schedule.estimate(x, prediction, step)))
        return prediction


class Stopped(Exception):
    """A run that nobody wants any more."""


@dataclass
class Stop(Control):
    """Raises `Stopped` once `wanted` says so: asked at every attention layer, so that a long step ends at once too."""

    wanted: Callable[[], bool]

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        self._ask()
        if q.requires_grad:
            q.register_hook(lambda _: self._ask())  # on the way back too
        return inner(site, q, k, v, mask)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        self._ask()
        return x

    def _ask(self) -> None:
        if self.wanted():
            raise Stopped
