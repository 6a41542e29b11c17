"""Which noise levels a diffusers scheduler visits, where that is not what its steps say."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..errors import AnimaticError


def check_plms(config: Any) -> None:
    """Raise where PNDM (Liu et al. 2022, https://arxiv.org/abs/2202.09778) does not run here.

    It runs with `skip_prk_steps`, as in Stable Diffusion's folders: n steps are n + 1 evaluations, for the second level
    is visited twice. The step to it is gone again from the first sample, so that what was steered at the first visit
    counts through the prediction alone. Without, it begins with Runge-Kutta steps, which ask between the levels.
    """
    if not config.skip_prk_steps:
        raise AnimaticError("PNDMScheduler begins with Runge-Kutta steps; want skip_prk_steps true, ddim or dpm++")
    if config.prediction_type == "sample":
        raise AnimaticError(
            "PNDMScheduler knows no model that predicts clean samples, as this does; want ddim or dpm++"
        )
    if config.timestep_spacing == "linspace":
        raise AnimaticError("PNDMScheduler takes levels spaced linspace to be evenly apart; want ddim or dpm++")


def lands(scheduler: Any, steps: int) -> bool:
    """Whether t - levels // steps, CogVideoX's idea of the next level, is within one of it, and the last is clean."""
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps
    after = times - scheduler.config.num_train_timesteps // steps
    return bool(after[-1] < 0) and bool(((after[:-1] - times[1:]).abs() <= 1).all())


def thinned(scheduler: Any, steps: int) -> tuple[Any, Tensor]:
    """A DDIM whose levels are those visited alone, and their times, both ends of the range among them.

    diffusers' own takes every step to be as long as the others, which they are not here.
    """
    times = torch.linspace(0, scheduler.config.num_train_timesteps - 1, steps, dtype=torch.float64).round().long()
    kept = scheduler.alphas_cumprod.double()[times]
    betas = 1 - kept / torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
    changed = {"num_train_timesteps": steps, "trained_betas": betas.tolist(), "timestep_spacing": "leading"}
    changed |= {"rescale_betas_zero_snr": False, "steps_offset": 0}
    said = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    return type(scheduler)(**{**said, **changed}), times.flip(0)
