"""A diffusers scheduler as a row of noise levels and a way from one to the next.

Any scheduler whose units are known and that asks the network at its levels alone: DDIM, DPM-Solver++ 2M, UniPC, PNDM,
Euler, flow matching, CogVideoX's own two, ... What differs between them (units of the sample, signatures of `step`,
their noise) ends here, and what would go wrong with one of them is refused here, with the nearest that runs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from inspect import signature
from typing import Any

import diffusers
import torch
from torch import Tensor

from ..errors import AnimaticError, warn
from ..quiet import quiet
from .levels import check_plms, lands, thinned
from .sat_scheduler import CogVideoXSATDPMScheduler
from .types import Step

SHORT = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "flow": "FlowMatchEulerDiscreteScheduler",
    "sat-dpm++": "CogVideoXSATDPMScheduler",  # see `sat_scheduler`
}

# what runs, by the units of the sample: sqrt(alpha_bar) clean + sqrt(1 - alpha_bar) noise; clean + sigma noise;
# (1 - sigma) clean + sigma noise, which some of the first have too where they are told "flow_prediction"
PRESERVING = frozenset(f"{name}Scheduler" for name in (
    "CogVideoXDDIM", "CogVideoXDPM", "CogVideoXSATDPM", "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep",
    "DPMSolverMultistep", "DPMSolverSinglestep", "LCM", "PNDM", "SASolver", "TCD", "UniPCMultistep",
))  # fmt: skip
EXPLODING = frozenset({"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler"})
FLOW = frozenset({"FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"})

# what does not, why, and the nearest that does
OFTEN = "evaluates the network more than once a step"
BACK = "goes from videos to noise"
OTHER_UNITS = "is not one whose noise levels are known here"
REFUSED = {
    "DDIMInverseScheduler": (BACK, "ddim"),
    "DPMSolverMultistepInverseScheduler": (BACK, "dpm++"),
    "HeunDiscreteScheduler": (OFTEN, "euler or dpm++"),
    "KDPM2DiscreteScheduler": (OFTEN, "euler or dpm++"),
    "KDPM2AncestralDiscreteScheduler": (OFTEN, "EulerAncestralDiscreteScheduler"),
    "DPMSolverSDEScheduler": (OFTEN, "SASolverScheduler"),
    "FlowMatchHeunDiscreteScheduler": (OFTEN, "flow"),
    "EDMEulerScheduler": (OTHER_UNITS, "euler"),
    "EDMDPMSolverMultistepScheduler": (OTHER_UNITS, "dpm++"),
    "CosineDPMSolverMultistepScheduler": (OTHER_UNITS, "dpm++"),
    "IPNDMScheduler": (OTHER_UNITS, "DEISMultistepScheduler"),
}


class Schedule:
    """`steps` noise levels of a copy of `scheduler`. One run at a time: multistep solvers remember.

    Its length is the number of evaluations: `steps`, and one more for PNDM. With `stop` the run ends after the level of
    that index. What a stochastic solver draws hangs on each row's first sample alone, so that a row is the same in any
    batch. Raises `AnimaticError` where the scheduler does not run here, or not in so many steps.
    """

    def __init__(self, scheduler: Any, steps: int, stop: int | None = None) -> None:
        self.name, self.flow = type(scheduler).__name__, is_flow(scheduler)
        check_runs(self.name, self.flow)
        if not 1 <= steps <= scheduler.config.num_train_timesteps:
            most = scheduler.config.num_train_timesteps
            raise AnimaticError(f"steps is {steps}; {self.name} takes 1 to {most}")
        if not (self.flow or "Euler" in self.name or hasattr(scheduler, "alphas_cumprod")):
            raise AnimaticError(
                f"scheduler {self.name} keeps no noise levels (alphas_cumprod); want {', '.join(SHORT)}"
            )

        self._given, self.steps, self._stop = scheduler, steps, stop
        self._scheduler, told = copy.deepcopy(scheduler), None
        if self.name == "DDIMScheduler" and scheduler.config.timestep_spacing == "linspace" and steps > 1:
            self._scheduler, told = thinned(scheduler, steps)
        try:
            with quiet():
                self._scheduler.set_timesteps(steps)
        except ValueError as error:  # such as more steps than a model was distilled for
            reason = str(error).partition("\n")[0]
            raise AnimaticError(f"steps is {steps}, which {self.name} does not take ({reason})") from None
        self._scheduler.is_scale_input_called = True  # `scale` does it; else some warn at every run
        self._times = self._scheduler.timesteps
        self._told = self._times if told is None else told

        # solvers without a generator draw nothing
        self._draws: list[torch.Generator] = []
        self._draws_noise = "generator" in signature(self._scheduler.step).parameters
        self._clean: Tensor | None = None  # CogVideoX's solver wants the last estimate back
        self._check()

    def _check(self) -> None:
        """Raise where these steps cannot be gone, or lead to numbers that are not finite."""
        steps, config = self.steps, self._scheduler.config
        if self.name == "PNDMScheduler":
            check_plms(config)
        elif len(self._times) != steps:
            times = f"{len(self._times)} times in {steps} steps"
            raise AnimaticError(f"{self.name} evaluates the network {times}; want one evaluation a step")

        # zero terminal SNR (Lin et al. 2023): all is noise at the first level
        sigmas = torch.as_tensor(getattr(self._scheduler, "sigmas", 0.0))
        empty = not self.flow and bool(self._scheduler.alphas_cumprod[int(self._times[0])] == 0)
        if not bool(sigmas.isfinite().all()) or (empty and self.name == "PNDMScheduler"):
            reason = "divides by the signal of the first noise level, and this model's has none (zero terminal SNR)"
            raise AnimaticError(f"{self.name} {reason}; want ddim, dpm++ or unipc")
        if empty and config.prediction_type == "epsilon":
            reason = "a model that predicts noise cannot begin where there is nothing else (zero terminal SNR)"
            raise AnimaticError(f"{self.name}: {reason}; want a schedule without rescale_betas_zero_snr")

        if self.name.startswith("CogVideoX") and not lands(self._given, steps):
            near = [n for n in range(max(1, steps - 2), min(steps + 3, 1000)) if lands(self._given, n)]
            want = " or ".join(map(str, near)) or "a divisor of 1000"
            raise AnimaticError(f"steps is {steps}, with which {self.name} never comes to a clean sample; want {want}")

    def __iter__(self) -> Iterator[Step]:
        for index, t in enumerate(self._times):
            noise, gain = self._level(index, int(t))
            yield Step(index, len(self), float(self._told[index]), noise, gain)
            if index == self._stop:
                return
        yield Step(len(self), len(self), 0.0)

    def __len__(self) -> int:
        return len(self._times)

    def again(self, stop: int | None = None) -> Schedule:
        """The same levels for another run, up to `stop`."""
        return Schedule(self._given, self.steps, stop)

    def _level(self, index: int, t: int) -> tuple[float, float]:
        """(sqrt(1 - alpha_bar), gain) at a step; for flow matching (sigma, 1)."""
        if self.flow:
            return float(self._scheduler.sigmas[index]), 1.0
        if self.name in EXPLODING:
            sigma = float(self._scheduler.sigmas[index])
            return sigma / (sigma**2 + 1) ** 0.5, (sigma**2 + 1) ** 0.5
        return float((1 - self._scheduler.alphas_cumprod[t]) ** 0.5), 1.0

    def signal(self, step: Step) -> float:
        """sqrt(alpha_bar) at a step; from the table, since 1 - `noise`^2 has no digits left where there is little."""
        if step.clean:
            return 1.0
        if self.flow:
            return 1 - step.noise
        if self.name in EXPLODING:
            return 1 / step.gain
        return float(self._scheduler.alphas_cumprod[int(self._times[step.index])]) ** 0.5

    def start(self, noise: Tensor) -> Tensor:
        """The first sample from unit noise, which also seeds what a stochastic solver draws."""
        self._draws, self._clean = [torch.Generator().manual_seed(_seed_of(row)) for row in noise], None
        return noise * self._scheduler.init_noise_sigma if not self.flow else noise

    def unit(self, first: Tensor) -> Tensor:
        """The unit noise that `start` made a first sample of."""
        return first if self.flow else first / self._scheduler.init_noise_sigma

    def scale(self, x: Tensor, step: Step) -> Tensor:
        """The sample as the network wants to see it."""
        return x / step.gain

    def noised(self, clean: Tensor, noise: Tensor, step: Step) -> Tensor:
        """A sample that shows `clean` at the noise level of `step`."""
        return step.gain * (self.signal(step) * clean + step.noise * noise)

    def advance(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """One solver step. It is computed, and its noise drawn, in float32, whatever the network computes in."""
        if isinstance(self._scheduler, diffusers.CogVideoXDPMScheduler):
            return self._advance_with_noise(x, prediction, step.index)
        draws = {"generator": self._draws} if self._draws_noise else {}
        after = self._scheduler.step(prediction.float(), self._times[step.index], x.float(), **draws).prev_sample
        return after.to(x.dtype)

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
        alpha = self.signal(step)
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


def check_runs(name: str, flow: bool = False) -> None:
    """Raise where a scheduler class of diffusers would not run here, or run wrongly."""
    if name not in PRESERVING | EXPLODING | FLOW:
        reason, nearest = REFUSED.get(name, (OTHER_UNITS, "flow" if flow else "ddim"))
        raise AnimaticError(f"{name} {reason}; want {nearest}")


def _seed_of(row: Tensor) -> int:
    """A seed from the signs of a row's first 63 numbers, which no rounding changes."""
    return sum(int(negative) << i for i, negative in enumerate(row.flatten()[:63].signbit().tolist()))


SHIFTS = {"snr_shift_scale": 1.0, "rescale_betas_zero_snr": False}  # of the noise table, where they are not so


def scheduler_named(name: str, like: Any) -> Any:
    """Another diffusers scheduler, with the noise table and the prediction type of `like`.

    `name` is one of ddim, dpm++, unipc, pndm, euler, flow or a class name of diffusers.
    """
    name_of_class = SHORT.get(name, name)
    own = CogVideoXSATDPMScheduler if name_of_class == CogVideoXSATDPMScheduler.__name__ else None
    cls: Any = own or getattr(diffusers, name_of_class, None)
    if not isinstance(cls, type) or not cls.__name__.endswith("Scheduler"):
        raise AnimaticError(f"unknown scheduler {name!r}; known: {', '.join(SHORT)} and diffusers' class names")
    check_runs(cls.__name__, is_flow(like))

    config, takes = {k: v for k, v in like.config.items() if k != "algorithm_type"}, signature(cls).parameters
    config = {k: plain for k, plain in SHIFTS.items() if k in takes} | config  # CogVideoX's own shift by default
    if "skip_prk_steps" in takes:  # as Stable Diffusion's folders have it
        config.setdefault("skip_prk_steps", True)
    if is_flow(like):
        shift = config.get("flow_shift", config.get("shift", 1.0))
        if cls.__name__ not in FLOW and "use_flow_sigmas" not in takes:
            raise AnimaticError(f"scheduler {name!r} knows no flow matching, which the model was trained on; want flow")
        config |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift, "shift": shift}
    elif cls.__name__ in FLOW:
        learnt = f"this model predicts {like.config.prediction_type}"
        raise AnimaticError(f"scheduler {name!r} is for models of flow matching, and {learnt}; want ddim or dpm++")
    elif any(config.get(k, plain) != plain and k not in takes for k, plain in SHIFTS.items()):
        level = like.alphas_cumprod  # other schedulers know no shift of the noise: tell them the betas it comes to
        config["trained_betas"] = (1 - level / torch.cat([level.new_ones(1), level[:-1]])).tolist()
    try:
        with quiet():  # of what it does not take
            scheduler: Any = cls.from_config(config)
    except TypeError as error:  # its class wants what no scheduler of these models has
        raise AnimaticError(f"scheduler {name!r} is of other models ({error}); want {', '.join(SHORT)}") from None
    _keep_bounds(scheduler, like, name)
    return scheduler


def _keep_bounds(scheduler: Any, like: Any, name: str) -> None:
    """Let `scheduler` clip or threshold clean estimates where, and only where, `like` does.

    Some clip by default, which latents do not bear. Solvers without `clip_sample` clip by a threshold that may not
    exceed its range. Raises where a solver does neither; clipped models of v and x0 come out without, with a warning.
    """
    told, takes = like.config, signature(type(scheduler)).parameters
    clips = bool(told.get("clip_sample", False)) and not type(like).__name__.startswith("CogVideoX")  # never do
    needs = (clips and told.prediction_type == "epsilon") or told.get("thresholding", False)
    if "clip_sample" in takes:
        scheduler.register_to_config(clip_sample=clips)
    elif clips and "thresholding" in takes:
        scheduler.register_to_config(thresholding=True, sample_max_value=told.get("clip_sample_range", 1.0))
    elif needs and "thresholding" not in takes:
        bounds = "bounds clean estimates, as this model of pixels needs"
        raise AnimaticError(f"scheduler {name!r} is not one that {bounds}; want ddim, dpm++ or unipc")
    elif clips:
        warn(f"scheduler {name!r} does not clip clean estimates, which the model's own does")
