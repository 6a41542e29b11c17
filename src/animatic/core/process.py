"""Noise schedules, prediction targets, loss weights and losses of diffusion and of flow matching."""

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
from .schedulers import is_flow

TARGETS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction", "flow": ""}  # ours -> diffusers' prediction type
SCHEDULES = ("cosine", "linear", "zero-snr")
UNBOUNDED = 1e9  # for infinity, which JSON lacks; at the noisiest level estimates of x0 reach 1e6
LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss, "huber": F.huber_loss}


def cosine_betas(count: int, most: float = 0.9999) -> Tensor:
    """The cosine schedule (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17) in float64.

    Betas are clipped at `most`; the table of diffusers is clipped at 0.999.
    """
    time = torch.linspace(0, count, count + 1, dtype=torch.float64) / count

    # 0.008: the paper's offset, so that the first betas are not too small
    angle = (time + 0.008) / 1.008 * math.pi / 2
    alpha_bar = torch.cos(angle) ** 2
    kept = alpha_bar[1:] / alpha_bar[:-1]
    betas = 1 - kept
    return betas.clamp(0, most)


@dataclass(frozen=True)
class Process:
    """The forward process x_t = signal x + noise e, and what the network predicts of it.

    Args:
        target: Prediction target: eps, x0, v (Salimans & Ho 2022, arXiv 2202.00512), or flow (e - x on straight paths,
            Lipman et al. 2023, arXiv 2210.02747, without a schedule).
        schedule: cosine, linear (Ho et al. 2020, arXiv 2006.11239), or zero-snr (Lin et al. 2023, arXiv 2305.08891).
        levels: Number of noise levels.
        loss: l1, l2 or huber.
        min_snr: Gamma of min-SNR weights (Hang et al. 2023, arXiv 2303.09556); 0: uniform weights.
        pretrained_scheduler: A diffusers scheduler whose noise levels are used instead of those of `schedule`.

    Raises `AnimaticError` where a value is unknown or two of them exclude each other.

    """

    target: str = "v"
    schedule: str = "cosine"
    levels: int = 1000
    loss: str = "l2"
    min_snr: float = 5.0
    pretrained_scheduler: Any = field(default=None, repr=False)

    @staticmethod
    def of(scheduler: Any, loss: str = "l2", min_snr: float = 5.0) -> Process:
        """The process that a loaded model was trained with, by the configuration of its scheduler."""
        config = scheduler.config
        kind = config.prediction_type
        names = {theirs: ours for ours, theirs in TARGETS.items()}
        target = "flow" if is_flow(scheduler) else names.get(kind)
        if target is None:
            known = ", ".join(filter(None, names))
            raise AnimaticError(f"the scheduler's prediction_type is {kind!r}; want {known}")

        # "cosine" is not used: the noise levels are the scheduler's
        levels = config.num_train_timesteps
        return Process(target, "cosine", levels, loss, min_snr, scheduler)

    def __post_init__(self) -> None:
        choices = {"target": TARGETS, "schedule": SCHEDULES, "loss": LOSSES}
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise AnimaticError(f"{name} is {value!r}; want one of {', '.join(known)}")

        # what excludes each other
        if self.target == "flow" and self.schedule != "cosine":
            raise AnimaticError(f"schedule is {self.schedule!r} with target 'flow', which has none; want eps, x0 or v")
        if self.schedule == "zero-snr" and self.target == "eps":
            raise AnimaticError("target is 'eps' with schedule 'zero-snr', whose last level is all noise; want v or x0")

    @cached_property
    def betas(self) -> Tensor:
        """Variances of the steps, float64 `[level]`."""
        if self.pretrained_scheduler is not None:
            return self.pretrained_scheduler.betas.double()
        if self.schedule == "linear":  # Ho et al. 2020
            return torch.linspace(1e-4, 0.02, self.levels, dtype=torch.float64)
        betas = cosine_betas(self.levels)
        return betas if self.schedule == "cosine" else rescale_zero_terminal_snr(betas)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Squared factors of the clean sample, float64 `[level]`."""
        if self.pretrained_scheduler is not None:
            return self.pretrained_scheduler.alphas_cumprod.double()  # CogVideoX shifts them
        return (1 - self.betas).cumprod(0)

    def signal_and_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of x and e at levels `t` `[sample]`, both `[sample, 1, 1, 1, 1]`."""
        if self.target == "flow":
            # level 0 has some noise: the network is never asked about a clean sample
            noise = (t + 1).float() / self.levels
            signal = 1 - noise
        else:
            # roots in float64: 1 - alpha_bar loses its digits where it is small
            table = self.alphas_cumprod.to(t.device)
            alpha_bar = table[t]
            signal = alpha_bar.sqrt().float()
            noise = (1 - alpha_bar).sqrt().float()
        return signal.view(-1, 1, 1, 1, 1), noise.view(-1, 1, 1, 1, 1)

    def network_timestep(self, t: Tensor) -> Tensor:
        """The timestep that the network is given: the index of the level; for flow, the noise in thousandths."""
        if self.target == "flow":
            return (t + 1) * (1000 / self.levels)
        return t

    def add_noise(self, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """x_t for clean latents `x`, noise `e` and levels `t`."""
        signal, noise = self.signal_and_noise(t)
        return signal * x + noise * e

    def prediction_target(self, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """What the network should predict, in the parametrisation of `target`."""
        match self.target:
            case "eps":
                return e
            case "x0":
                return x
            case "flow":
                return e - x
        signal, noise = self.signal_and_noise(t)
        return signal * e - noise * x

    def clean_and_noise(self, noisy: Tensor, prediction: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The clean latents and the noise that a prediction for latents `noisy` at levels `t` says they are made of.

        The inverse of `add_noise` and `prediction_target`. Levels without noise say nothing of it, those without signal
        nothing of the clean latents, where a network predicts one of the two: the result is not finite there.
        """
        signal, noise = self.signal_and_noise(t)
        match self.target:
            case "eps":
                return (noisy - noise * prediction) / signal, prediction
            case "x0":
                return prediction, (noisy - signal * prediction) / noise
            case "flow":
                return noisy - noise * prediction, noisy + signal * prediction
        return signal * noisy - noise * prediction, noise * noisy + signal * prediction

    def weight(self, t: Tensor) -> Tensor:
        """Loss weights `[sample, 1, 1, 1, 1]`: min(SNR, gamma) (d x0 / d prediction)^2, so that targets agree on x0."""
        signal, noise = self.signal_and_noise(t)
        if not self.min_snr:
            return torch.ones_like(signal)
        snr = (signal / noise).square()

        # a level that is all noise has an SNR of 0
        inverse = 1 / snr.clamp(min=1e-12)
        gains = {"eps": inverse, "x0": 1, "v": noise**2, "flow": noise**2}
        clipped = snr.clamp(max=self.min_snr)
        return clipped * gains[self.target]

    def error(self, prediction: Tensor, x: Tensor, e: Tensor, t: Tensor) -> Tensor:
        """The weighted loss of each sample and frame, `[sample, frame]`."""
        target = self.prediction_target(x, e, t)
        loss = LOSSES[self.loss]
        elementwise = loss(prediction.float(), target, reduction="none")
        weighted = self.weight(t) * elementwise
        return weighted.mean((1, 3, 4))

    def scheduler(self, ancestral: bool = False, threshold: float = 0.0) -> Any:
        """The diffusers scheduler that samples a model trained with this process.

        Args:
            ancestral: DDPM sampling (Ho et al. 2020) instead of DDIM.
            threshold: Thresholding of the estimate of x0 at each step, for data in -1..1; flow matching has none.
                1 clips it to -1..1 (Ho et al. 2020). Below 1 it is the quantile of dynamic thresholding (Saharia et
                al. 2022, arXiv 2205.11487, section 2.3). 0 leaves it unchanged.

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
