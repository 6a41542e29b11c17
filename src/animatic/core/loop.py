"""THE LOOP: the only one in which samples are denoised. Controls nest around the model, see `control.py`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..errors import AnimaticError
from .attention import fused_attention
from .backbone import Backbone
from .control import Control, Run
from .schedule import Schedule
from .types import Attend, Conditioning, Step


@torch.no_grad()
def sample(
    backbone: Backbone, schedule: Schedule, x: Tensor, cond: Conditioning, controls: Sequence[Control] = (),
    seeds: Sequence[int] = (),
) -> Tensor:  # fmt: skip
    """Denoise `x` (unit noise, `[row, channel, frame, height, width]`) into clean latents under `controls`.

    `seeds` are those that made `x`, one a row, where that is known.
    """
    check_needs(backbone, controls)
    x = schedule.start(x)
    controls = [c.begin(Run(backbone, schedule, x, cond, seeds)) for c in controls]
    attend: Attend = fused_attention
    for c in reversed(controls):
        attend = partial(c.attend, attend)

    def model(x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        for c in controls:
            cond = c.condition(cond, step)
        return backbone(schedule.scale(x, step), step, cond, attend)

    denoise, inners = model, []
    for c in reversed(controls):
        inners.insert(0, denoise)
        denoise = partial(c.denoise, denoise)
    for step in schedule:  # the noisy levels, then the clean one
        for c, inner in zip(controls, inners, strict=True):
            x = c.steer(inner, x, step, cond)
        if not step.clean:
            x = schedule.advance(x, denoise(x, step, cond), step)
    return x


def check_needs(backbone: Backbone, controls: Sequence[Control]) -> None:
    """Refuse controls whose needs the backbone does not meet, before anything runs."""
    for control in controls:
        missing = sorted(control.needs - backbone.provides)
        if missing:
            has = ", ".join(sorted(backbone.provides))
            raise AnimaticError(f"{type(control).__name__} needs {', '.join(missing)}; {backbone.name} provides {has}")
