"""Noise processes of diffusion and of flow matching: schedules, prediction targets, loss weights and losses.

Ho et al. 2020, https://arxiv.org/abs/2006.11239; Lipman et al. 2023, https://arxiv.org/abs/2210.02747.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from torch import Tensor

from ..errors import AnimaticError
from .schedule import is_flow

TARGETS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction", "flow": ""}  # ours -> diffusers' prediction type
SCHEDULES = ("cosine", "linear", "zero-snr")
UNBOUNDED = 1e9  # in JSON, which has no infinity; clean estimates reach 1e6 at the last level of the cosine schedule
LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss, "huber": F.huber_loss}


def cosine_betas(count: int, most: float = 0.9999) -> Tensor:
    """Nichol & Dhariwal 2021 (https://arxiv.org/abs/2102.09672), eq. 17, in float64; diffusers' table ends at 0.999."""
    at = torch.linspace(0, count, count + 1, dtype=torch.float64) / count
    level = torch.cos((at + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - level[1:] / level[:-1]).clamp(0, most)


@dataclass(frozen=True)
class Process:
    """A noise process x_t = signal x + noise e, and what a network predicts of it.

    `target` is eps, x0, v (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512) or flow (e - x, straight paths: Lipman
    et al. 2023; no schedule then). `schedule` is one of SCHEDULES, `levels` their number, `loss` one of LOSSES.
    `min_snr` is gamma of the min-SNR weights (Hang et al. 2023, https://arxiv.org/abs/2303.09556); 0: all levels weigh
    the same. `trained_scheduler` is a diffusers scheduler whose levels replace those of `schedule`.

    Raises `AnimaticError` where a name is unknown, or target and schedule do not go together.
    """

    target: str = "v"
    schedule: str = "cosine"
    levels: int = 1000
    loss: str = "l2"
    min_snr: float = 5.0
    trained_scheduler: Any = field(default=None, repr=False)

    @staticmethod
    def of(scheduler: Any, loss: str = "l2", min_snr: float = 5.0) -> Process:
        """The process that a loaded model was trained with, by its scheduler."""
        names = {theirs: ours for ours, theirs in TARGETS.items()}
        target = "flow" if is_flow(scheduler) else names.get(scheduler.config.prediction_type)
        if target is None:
            kind = scheduler.config.prediction_type
            raise AnimaticError(f"the scheduler's prediction_type is {kind!r}; want {', '.join(filter(None, names))}")
        return Process(target, "cosine", scheduler.config.num_train_timesteps, loss, min_snr, scheduler)

    def __post_init__(self) -> None:
        for name, known in (("target", TARGETS), ("schedule", SCHEDULES), ("loss", LOSSES)):
            if (value := getattr(self, name)) not in known:
                raise AnimaticError(f"{name} is {value!r}; want one of {', '.join(known)}")
        if self.target == "flow" and self.schedule != "cosine":
            raise AnimaticError(f"schedule is {self.schedule!r} with target 'flow', which has none; want eps, x0 or v")
        if self.schedule == "zero-snr" and self.target == "eps":
            raise AnimaticError("target is 'eps' with schedule 'zero-snr', whose last level is all noise; want v or x0")

    @cached_property
    def betas(self) -> Tensor:
        if self.trained_scheduler is not None:
            return self.trained_scheduler.betas.double()
        if self.schedule == "linear":  # Ho et al. 2020
            return torch.linspace(1e-4, 0.02, self.levels, dtype=torch.float64)
        betas = cosine_betas(self.levels)
        return betas if self.schedule == "cosine" else rescale_zero_terminal_snr(betas)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        if self.trained_scheduler is not None:
            return self.trained_scheduler.alphas_cumprod.double()  # CogVideoX shifts them
        return (1 - self.betas).cumprod(0)

    def signal_and_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(signal, noise) at levels `t` `[sample]`, shaped to multiply `[sample, channel, frame, height, width]`."""
        if self.target == "flow":
            noise = (t + 1).float() / self.levels
            signal = 1 - noise
        else:
            level = self.alphas_cumprod.to(t.device)[t]
            signal, noise = level.sqrt().float(), (1 - level).sqrt().float()
        return signal.view(-1, 1, 1, 1, 1), noise.view(-1, 1, 1, 1, 1)

    def network_time(self, t: Tensor) -> Tensor:
        """The timestep that the network reads at level `t`: its index; of flow the noise in thousandths."""
        return (t + 1) * (1000 / self.levels) if self.target == "flow" else t

    def noised(self, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """Clean `x` with noise `e` at levels `t`."""
        signal, noise = self.signal_and_noise(t)
        return signal * x + noise * e

    def target_value(self, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """The prediction that is exact for clean `x` and noise `e`, by `target`."""
        signal, noise = self.signal_and_noise(t)
        return {"eps": e, "x0": x, "v": signal * e - noise * x, "flow": e - x}[self.target]

    def weight(self, t: Tensor) -> Tensor:
        """`[sample, 1, 1, 1, 1]`: min(SNR, gamma) (d x0 / d prediction)^2, the same weight of x0 for all targets."""
        signal, noise = self.signal_and_noise(t)
        if not self.min_snr:
            return torch.ones_like(signal)
        snr = (signal / noise).square()
        gain = {"eps": 1 / snr.clamp(min=1e-12), "x0": 1, "v": noise**2, "flow": noise**2}[self.target]
        return snr.clamp(max=self.min_snr) * gain

    def error(self, prediction: Tensor, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """The weighted loss of `prediction`, per sample and frame: `[sample, frame]`."""
        each = LOSSES[self.loss](prediction.float(), self.target_value(x, e, t), reduction="none")
        return (self.weight(t) * each).mean((1, 3, 4))

    def scheduler(self, ancestral: bool = False, threshold: float = 0.0) -> Any:
        """The diffusers scheduler to sample a network of this process: DDIM, or `ancestral` (Ho et al. 2020).

        `threshold` is for clips in -1..1, and has no effect in flow matching. 1: clean estimates are clipped to it
        at each step (Ho et al. 2020); below 1: they are divided by this quantile of their absolute values where it is
        larger than 1 (dynamic thresholding, Saharia et al. 2022, 2.3, https://arxiv.org/abs/2205.11487); 0: unchanged.
        """
        if self.target == "flow":
            return FlowMatchEulerDiscreteScheduler()
        cls: Any = DDPMScheduler if ancestral else DDIMScheduler
        return cls(
            num_train_timesteps=self.levels,
            trained_betas=self.betas.tolist(),
            prediction_type=TARGETS[self.target],
            clip_sample=threshold == 1,
            thresholding=0 < threshold < 1,
            dynamic_thresholding_ratio=threshold or 1.0,
            sample_max_value=UNBOUNDED,
            timestep_spacing="trailing",
        )
