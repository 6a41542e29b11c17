"""What a network learns: noise schedules, targets, weights and losses of diffusion and of flow matching."""

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
    """Nichol & Dhariwal 2021, eq. 17, in float64; diffusers' own table is cut at 0.999."""
    at = torch.linspace(0, count, count + 1, dtype=torch.float64) / count
    level = torch.cos((at + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - level[1:] / level[:-1]).clamp(0, most)


@dataclass(frozen=True)
class Process:
    """A way from clean to noise and what the network is asked on it. x_t = signal x + noise e.

    `target` is eps, x0, v (Salimans & Ho 2022) or flow (e - x, straight paths: Lipman et al. 2023; no schedule then).
    """

    target: str = "v"
    schedule: str = "cosine"
    levels: int = 1000
    loss: str = "l2"
    min_snr: float = 5.0  # Hang et al. 2023; 0: every level counts the same
    trained_scheduler: Any = field(
        default=None, repr=False
    )  # a diffusers scheduler whose levels these are, whatever `schedule`

    @staticmethod
    def of(scheduler: Any, loss: str = "l2", min_snr: float = 5.0) -> Process:
        """The process a loaded model was trained on, read from its scheduler."""
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
        """(signal, noise) at levels `t` `[row]`, shaped to multiply `[row, channel, frame, height, width]`."""
        if self.target == "flow":
            noise = (t + 1).float() / self.levels
            signal = 1 - noise
        else:
            level = self.alphas_cumprod.to(t.device)[t]
            signal, noise = level.sqrt().float(), (1 - level).sqrt().float()
        return signal.view(-1, 1, 1, 1, 1), noise.view(-1, 1, 1, 1, 1)

    def network_time(self, t: Tensor) -> Tensor:
        """What the network is told of level `t`: its number; for flow the noise in thousandths, as solvers do."""
        return (t + 1) * (1000 / self.levels) if self.target == "flow" else t

    def noised(self, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        signal, noise = self.signal_and_noise(t)
        return signal * x + noise * e

    def target_value(self, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """The right answer."""
        signal, noise = self.signal_and_noise(t)
        return {"eps": e, "x0": x, "v": signal * e - noise * x, "flow": e - x}[self.target]

    def weight(self, t: Tensor) -> Tensor:
        """`[row, 1, 1, 1, 1]`: min(SNR, gamma) times (d x0 / d answer)^2, so that all targets agree on x0."""
        signal, noise = self.signal_and_noise(t)
        if not self.min_snr:
            return torch.ones_like(signal)
        snr = (signal / noise).square()
        gain = {"eps": 1 / snr.clamp(min=1e-12), "x0": 1, "v": noise**2, "flow": noise**2}[self.target]
        return snr.clamp(max=self.min_snr) * gain

    def error(self, answer: Tensor, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """Weighted loss per row and frame `[row, frame]`, so that a batch may count its parts as it likes."""
        each = LOSSES[self.loss](answer.float(), self.target_value(x, e, t), reduction="none")
        return (self.weight(t) * each).mean((1, 3, 4))

    def scheduler(self, ancestral: bool = False, threshold: float = 0.0) -> Any:
        """The diffusers scheduler that samples what was learnt: DDIM, or `ancestral` (Ho et al. 2020).

        `threshold` is for clips that lie in -1..1, and does nothing in flow matching. 1: clean estimates are clipped to
        that at each step (Ho et al. 2020); a share below 1: this quantile of their size is scaled down to 1 where it is
        larger (dynamic thresholding, Saharia et al. 2022, 2.3); 0: they are left as they are.
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
