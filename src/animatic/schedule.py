"""A diffusers scheduler as a row of noise levels and a way from one to the next.

Any scheduler with one network evaluation per step: DDIM, DPM-Solver++ 2M, UniPC, Euler, flow matching, CogVideoX's
own two. What differs between them (units of the sample, signatures of `step`, their noise) ends here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from inspect import signature
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from .errors import AnimaticError
from .sampling import Step

SHORT = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "flow": "FlowMatchEulerDiscreteScheduler",
}


class Schedule:
    """`steps` noise levels of a copy of `scheduler`. One run at a time: multistep solvers remember.

    With `stop` the run ends after the level of that index. What a stochastic solver (`CogVideoXDPMScheduler`) draws
    hangs on each row's first sample alone.
    """

    def __init__(self, scheduler: Any, steps: int, stop: int | None = None) -> None:
        if not 1 <= steps <= scheduler.config.num_train_timesteps:
            most = scheduler.config.num_train_timesteps
            raise AnimaticError(f"steps is {steps}; {type(scheduler).__name__} takes 1 to {most}")
        self.name = type(scheduler).__name__
        if not (is_flow(scheduler) or "Euler" in self.name or hasattr(scheduler, "alphas_cumprod")):
            raise AnimaticError(
                f"scheduler {self.name} keeps no noise levels (alphas_cumprod); want {', '.join(SHORT)}"
            )
        self._scheduler, told = copy.deepcopy(scheduler), None
        if self.name == "DDIMScheduler" and scheduler.config.timestep_spacing == "linspace" and steps > 1:
            self._scheduler, told = _thinned(scheduler, steps)
        self._steps, self._stop = steps, stop
        self._scheduler.set_timesteps(steps)
        self._times = self._scheduler.timesteps
        self._told = self._times if told is None else told
        if len(self._times) != steps:
            times = f"{len(self._times)} times in {steps} steps"
            raise AnimaticError(f"{self.name} evaluates the network {times}; want one evaluation a step")
        self.flow = is_flow(scheduler)
        self._clean: Tensor | None = None  # CogVideoX's solver wants the last estimate back
        self._draws: list[torch.Generator] = []
        if self.name.startswith("CogVideoX") and not _lands(scheduler, steps):
            near = [n for n in range(max(1, steps - 2), min(steps + 3, 1000)) if _lands(scheduler, n)]
            want = " or ".join(map(str, near)) or "a divisor of 1000"
            raise AnimaticError(f"steps is {steps}, with which {self.name} never comes to a clean sample; want {want}")

    def __iter__(self) -> Iterator[Step]:
        for index, t in enumerate(self._times):
            noise, gain = self._level(index, int(t))
            yield Step(index, self._steps, float(self._told[index]), noise, gain)
            if index == self._stop:
                return
        yield Step(self._steps, self._steps, 0.0)

    def __len__(self) -> int:
        return self._steps

    def again(self, stop: int | None = None) -> Schedule:
        """The same levels for another run, up to `stop`."""
        return Schedule(self._scheduler, self._steps, stop)

    def _level(self, index: int, t: int) -> tuple[float, float]:
        """(sqrt(1 - alpha_bar), gain) at a step; for flow matching (sigma, 1)."""
        if self.flow:
            return float(self._scheduler.sigmas[index]), 1.0
        if "Euler" in self.name:  # variance exploding
            sigma = float(self._scheduler.sigmas[index])
            return sigma / (sigma**2 + 1) ** 0.5, (sigma**2 + 1) ** 0.5
        return float((1 - self._scheduler.alphas_cumprod[t]) ** 0.5), 1.0

    def start(self, noise: Tensor) -> Tensor:
        """The first sample from unit noise, which also seeds what a stochastic solver draws."""
        seeds = [int(row.flatten()[:2].float().cpu().view(torch.int64)) for row in noise]
        self._draws, self._clean = [torch.Generator().manual_seed(seed) for seed in seeds], None
        return noise * self._scheduler.init_noise_sigma if not self.flow else noise

    def unit(self, first: Tensor) -> Tensor:
        """The unit noise that `start` made a first sample of."""
        return first if self.flow else first / self._scheduler.init_noise_sigma

    def scale(self, x: Tensor, step: Step) -> Tensor:
        """The sample as the network wants to see it."""
        return x / step.gain

    def noised(self, clean: Tensor, noise: Tensor, step: Step) -> Tensor:
        """A sample that shows `clean` at the noise level of `step`."""
        if self.flow:
            return (1 - step.noise) * clean + step.noise * noise
        return step.gain * (max(0.0, 1 - step.noise**2) ** 0.5 * clean + step.noise * noise)

    def advance(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """One solver step."""
        if self.name == "CogVideoXDPMScheduler":
            return self._advance_with_noise(x, prediction, step.index)
        return self._scheduler.step(prediction, self._times[step.index], x).prev_sample

    def _advance_with_noise(self, x: Tensor, prediction: Tensor, index: int) -> Tensor:
        """Noise is drawn in the order of the pipeline's samples, `[row, frame, channel, height, width]`."""
        before = self._times[index - 1] if index else None
        x, self._clean = self._scheduler.step(
            prediction.movedim(2, 1), self._clean, self._times[index], before, x.movedim(2, 1), generator=self._draws
        )
        return x.movedim(1, 2)

    def estimate(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """The clean sample that a prediction implies."""
        x, sigma = x / step.gain, step.noise
        if self.flow:
            return x - sigma * prediction
        alpha = max(1e-6, 1 - sigma**2) ** 0.5
        match self._scheduler.config.prediction_type:
            case "epsilon":
                return (x - sigma * prediction) / alpha
            case "v_prediction":
                return alpha * x - sigma * prediction
            case "sample":
                return prediction
            case other:
                raise AnimaticError(f"prediction_type is {other!r}; want epsilon, v_prediction or sample")


def is_flow(scheduler: Any) -> bool:
    """Whether it goes straight from noise to sample (flow matching)."""
    return "FlowMatch" in type(scheduler).__name__ or scheduler.config.get("prediction_type") == "flow_prediction"


def _lands(scheduler: Any, steps: int) -> bool:
    """Whether t - levels // steps, CogVideoX's idea of the next level, is within one of it, and the last is clean."""
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps
    after = times - scheduler.config.num_train_timesteps // steps
    return bool(after[-1] < 0) and bool(((after[:-1] - times[1:]).abs() <= 1).all())


def _thinned(scheduler: Any, steps: int) -> tuple[Any, Tensor]:
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


def scheduler_named(name: str, like: Any) -> Any:
    """Another diffusers scheduler, with the noise table and the prediction type of `like`.

    `name` is one of ddim, dpm++, unipc, euler, flow or a class name of diffusers.
    """
    cls: Any = getattr(diffusers, SHORT.get(name, name), None)
    if not (isinstance(cls, type) and issubclass(cls, SchedulerMixin) and issubclass(cls, ConfigMixin)):
        raise AnimaticError(f"unknown scheduler {name!r}; known: {', '.join(SHORT)} and diffusers' class names")
    config = {k: v for k, v in like.config.items() if k != "algorithm_type"}
    if is_flow(like):
        shift = config.get("flow_shift", config.get("shift", 1.0))
        if "FlowMatch" not in cls.__name__ and "use_flow_sigmas" not in signature(cls).parameters:
            raise AnimaticError(f"scheduler {name!r} knows no flow matching, which the model was trained on; want flow")
        config |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift, "shift": shift}
    elif config.get("snr_shift_scale", 1.0) != 1.0 and "snr_shift_scale" not in signature(cls).parameters:
        level = like.alphas_cumprod  # other schedulers know no shift of the noise: tell them the betas it comes to
        config["trained_betas"] = (1 - level / torch.cat([level.new_ones(1), level[:-1]])).tolist()
    try:
        scheduler: Any = cls.from_config(config)
    except TypeError as error:  # its class wants what no scheduler of these models has
        raise AnimaticError(f"scheduler {name!r} is of other models ({error}); want {', '.join(SHORT)}") from None
    if hasattr(scheduler.config, "clip_sample") and scheduler.config.clip_sample:
        scheduler.register_to_config(clip_sample=False)  # clipping breaks the linearity that blending rests on
    return scheduler
