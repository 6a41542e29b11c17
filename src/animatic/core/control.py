"""A control: one idea from one paper that takes part in sampling. The four verbs by which it can interfere with a step.

| verb      | question               | type                                   |
|-----------|------------------------|----------------------------------------|
| `tell`    | what is the model told | Cond -> Cond                           |
| `attend`  | how does it look       | (site, q, k, v, mask) -> out           |
| `denoise` | what does it answer    | (x, step, cond) -> prediction          |
| `steer`   | where is the sample    | x -> x, at every noise level and clean |

A method is a list of controls. They nest in list order: the first is outermost, and each sees as `inner` only what
is inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import AnimaticError
from .backbone import Backbone
from .schedule import Schedule
from .types import Attend, AttentionCall, Conditioning, Denoise, Step


@dataclass(frozen=True)
class Run:
    """What a control may know of the run it takes part in; `x` is the first sample, pure noise.

    `cond` is what the model is told before any control's `tell`; None where a control is used outside the loop.
    `seeds` are those of the rows' noise, for controls that draw noise of their own.
    """

    backbone: Backbone
    schedule: Schedule
    x: Tensor
    cond: Conditioning | None = None
    seeds: Sequence[int] = ()

    def seed(self, row: int) -> int:
        """The seed of a row's noise; 0 where it is not known."""
        return self.seeds[row] if self.seeds else 0


class Control:
    """One idea from one paper. Override one or two verbs; every default is the identity.

    `needs` are words that the backbone must list in `provides`. `begin` returns the control that takes part in one
    run: a control that keeps memory returns a fresh copy of itself there, never writes to itself.
    """

    needs: frozenset[str] = frozenset()

    def begin(self, run: Run) -> Control:
        return self

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        return cond

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        return inner(site, q, k, v, mask)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        return inner(x, step, cond)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        return x


def one_each(control: Control, scenes: Sequence[Any], x: Tensor) -> None:
    """Refuse a control that has not one scene for each sample of `x`."""
    if len(scenes) != len(x):
        name = type(control).__name__
        raise AnimaticError(f"{name} has {len(scenes)} scenes for {len(x)} samples; want one each")
