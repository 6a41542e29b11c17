"""A control: one idea from one paper that takes part in sampling. It can change a step in four places, its four verbs.

| verb        | question                             | type                                      |
|-------------|--------------------------------------|-------------------------------------------|
| `condition` | what is the model conditioned on     | Conditioning -> Conditioning              |
| `attend`    | how is attention computed            | (call, q, k, v, mask) -> output           |
| `denoise`   | what does the model predict          | (x, step, cond) -> prediction             |
| `steer`     | which sample does the step begin at  | x -> x, at every noise level and at clean |

A method is a list of controls. They nest in list order: the first is the outermost, and each calls as `inner` what
comes after it in the list, down to the network.

    @dataclass
    class Brighter(Control):  # multiplies the conditional prediction
        factor: float = 1.1

        def denoise(self, inner, x, step, cond):
            return self.factor * inner(x, step, cond)
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
    """The run that a control takes part in: the model, its noise levels, and `x`, the first sample (pure noise).

    `cond` is the conditioning before any control's `condition`; None where a control is used outside the loop. `seeds`
    are those of the samples' noise, for controls that draw noise of their own.
    """

    backbone: Backbone
    schedule: Schedule
    x: Tensor
    cond: Conditioning | None = None
    seeds: Sequence[int] = ()

    def seed(self, sample: int) -> int:
        """The seed of a sample's noise; 0 where it is not known."""
        return self.seeds[sample] if self.seeds else 0


class Control:
    """One idea from one paper. Override one or two verbs; every default is the identity.

    `needs` are capabilities that the backbone must list in `provides`; they are checked before anything runs. A control
    raises `AnimaticError` where its settings do not suit the run.
    """

    needs: frozenset[str] = frozenset()

    def begin(self, run: Run) -> Control:
        """The control that takes part in one run.

        A control that keeps state returns a fresh copy of itself here and never writes to itself, so that one object
        serves any number of runs.
        """
        return self

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        """The conditioning of an evaluation of the network at the noise level `step`."""
        return cond

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """The output `[batch, head, query, channel of v]` of one attention layer.

        `q`, `k` and `v` are `[batch, head, token, channel]`; `batch` is `call.entries_per_branch` for each branch, one
        branch after the other. `mask` is added to the logits and broadcasts to `[batch, head, query, key]`. `v` may
        hold more channels than a head has: see `core.attention.attention_with_columns`.
        """
        return inner(call, q, k, v, mask)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        """The prediction for `x` `[sample, channel, frame, height, width]`, in the terms of the model's scheduler.

        It has one entry for each entry of `x` that `inner` was given.
        """
        return inner(x, step, cond)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        """The sample from which the solver takes `step`, in the scheduler's units; the result where `step.clean`."""
        return x


def one_each(control: Control, scenes: Sequence[Any], x: Tensor) -> None:
    """Raise where a control does not have exactly one scene for each sample of `x`."""
    if len(scenes) != len(x):
        name = type(control).__name__
        raise AnimaticError(f"{name} has {len(scenes)} scenes for {len(x)} samples; want one each")
