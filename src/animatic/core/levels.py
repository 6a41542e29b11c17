"""Which noise levels a diffusers scheduler visits, where its number of steps does not determine them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..errors import AnimaticError


def check_plms(config: Any) -> None:
    """Raise where PNDM (Liu et al. 2022, https://arxiv.org/abs/2202.09778) does not run here.

    It runs with `skip_prk_steps`, as in Stable Diffusion's folders: n steps are n + 1 evaluations, for the second level
    is visited twice. The step to it is repeated from the first sample, so that what controls change at the first visit
    has an effect through the prediction alone. Without `skip_prk_steps` it begins with Runge-Kutta steps, which
    evaluate the network between the levels.
    """
    if not config.skip_prk_steps:
        raise AnimaticError("PNDMScheduler begins with Runge-Kutta steps; want skip_prk_steps true, ddim or dpm++")
    if config.prediction_type == "sample":
        raise AnimaticError(
            "PNDMScheduler does not support models that predict clean samples, as this one does; want ddim or dpm++"
        )
    if config.timestep_spacing == "linspace":
        raise AnimaticError("PNDMScheduler takes levels spaced linspace to be evenly apart; want ddim or dpm++")


def lands(scheduler: Any, steps: int) -> bool:
    """Whether CogVideoX's solvers, which compute the next timestep as t - levels // steps, end at a clean sample.

    Each computed timestep must be within one of the next, and the last below 0.
    """
    # Their step computes the next timestep by itself: it must be the one that follows.
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps
    computed = times - scheduler.config.num_train_timesteps // steps
    follows = (computed[:-1] - times[1:]).abs() <= 1
    return bool(computed[-1] < 0) and bool(follows.all())


def thinned(scheduler: Any, steps: int) -> tuple[Any, Tensor]:
    """(DDIM whose table holds the visited levels alone, their timesteps): evenly spaced, both ends included.

    diffusers' own DDIM assumes that all steps have the same length, which rounding of this spacing does not give.
    """
    levels = scheduler.config.num_train_timesteps
    evenly = torch.linspace(0, levels - 1, steps, dtype=torch.float64)
    times = evenly.round().long()

    # The betas whose table is that of the visited levels.
    kept = scheduler.alphas_cumprod.double()[times]
    clean = torch.ones(1, dtype=torch.float64)
    before = torch.cat([clean, kept[:-1]])
    betas = 1 - kept / before

    # diffusers keeps its class and version in the configuration too, under names with an underscore.
    config = scheduler.config
    options = {name: value for name, value in config.items() if not name.startswith("_")}
    options |= {"num_train_timesteps": steps, "trained_betas": betas.tolist(), "timestep_spacing": "leading"}

    # The table is final: what would change it, or move the levels on it, is off.
    options |= {"rescale_betas_zero_snr": False, "steps_offset": 0}
    visited = type(scheduler)(**options)
    return visited, times.flip(0)
