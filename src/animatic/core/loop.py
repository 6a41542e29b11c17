"""THE LOOP: the only one in which samples are denoised. Controls nest around the model, see `control.py`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import AnimaticError
from ..scene import Scene
from .attention import fused_attention
from .backbone import Backbone
from .control import Control, Run
from .feature_reuse import FeatureCache
from .order import check_order
from .schedule import Schedule
from .types import Attend, Conditioning, Denoise, Step

if TYPE_CHECKING:
    from ..timeline import Timeline


@torch.no_grad()
def sample(
    backbone: Backbone, schedule: Schedule, x: Tensor, cond: Conditioning, controls: Sequence[Control] = (),
    seeds: Sequence[int] = (), *, scenes: Sequence[Scene | Timeline] = (), guidance: float | None = None,
    reuse: FeatureCache | None = None,
) -> Tensor:  # fmt: skip
    """Denoise `x` (unit noise, `[sample, channel, frame, height, width]`) into clean latents under `controls`.

    `seeds` are those from which `x` was drawn, one a sample, where they are known. `scenes` are what `cond` was encoded
    from, one scene or story a sample, in the wording of the method; controls that need none do without. `guidance` is
    the guidance scale, None the model's own. `reuse` keeps features of the network from one level to the next, None
    computes all of them. Raises `AnimaticError` where the model does not provide what a control
    needs, where controls are in an order that cannot work, or where there is not one scene for each sample.
    """
    check_needs(backbone, controls)
    check_order(controls)
    if scenes and len(scenes) != len(x):
        raise AnimaticError(f"{len(scenes)} scenes for {len(x)} samples; want one each")
    if guidance is None:
        guidance = backbone.defaults.guidance

    # bind the controls, which are settings alone, to this run
    schedule = schedule.fitted(x)
    x = schedule.start(x)
    run = Run(backbone, schedule, x, cond, seeds, scenes, guidance)
    added = [scene for control in controls for scene in control.added_scenes(run)]
    run = replace(run, added=added)
    controls = [control.begin(run) for control in controls]

    # attention: the first control is the outermost
    attend: Attend = fused_attention
    for control in reversed(controls):
        attend = partial(control.attend, attend)

    def model(x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        # the first control is asked first: what those after it add, it does not see
        for control in controls:
            cond = control.condition(cond, step)
        scaled = schedule.scale(x, step)
        with reuse.around(step, cond) if reuse else nullcontext():
            return backbone(scaled, step, cond, attend)

    # denoising: `inners` holds what each control calls, its own `denoise` excluded
    denoise: Denoise = model
    inners: list[Denoise] = []
    for control in reversed(controls):
        inners.insert(0, denoise)
        denoise = partial(control.denoise, denoise)

    # the noisy levels, then the clean one
    with backbone.running(), reuse.running(controls) if reuse else nullcontext():
        for step in schedule:
            for control, inner in zip(controls, inners, strict=True):
                x = control.steer(inner, x, step, cond)
            if not step.clean:
                prediction = denoise(x, step, cond)
                x = schedule.advance(x, prediction, step)
    return x


def check_needs(backbone: Backbone, controls: Sequence[Control]) -> None:
    """Raise where the backbone does not provide what a control needs."""
    for control in controls:
        # sorted: sets of strings have another order in every process
        missing = sorted(control.needs - backbone.provides)
        if missing:
            provided = ", ".join(sorted(backbone.provides))
            name = type(control).__name__
            raise AnimaticError(f"{name} needs {', '.join(missing)}; {backbone.name} provides {provided}")
