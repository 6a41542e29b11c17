"""A diffusers scheduler as a sequence of noise levels and a step from one to the next.

Any scheduler whose units are known and that evaluates the network at its levels alone: DDIM, DPM-Solver++ 2M, UniPC,
PNDM, Euler, flow matching, CogVideoX's own two, ... What differs between them (units of the sample, signatures of
`step`, their noise) is handled here. Those that would give wrong results are refused, with the nearest that runs.
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
# (1 - sigma) clean + sigma noise, which some of the first have too where prediction_type is "flow_prediction"
PRESERVING = frozenset(f"{name}Scheduler" for name in (
    "CogVideoXDDIM", "CogVideoXDPM", "CogVideoXSATDPM", "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep",
    "DPMSolverMultistep", "DPMSolverSinglestep", "LCM", "PNDM", "SASolver", "TCD", "UniPCMultistep",
))  # fmt: skip
EXPLODING = frozenset({"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler"})
FLOW = frozenset({"FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"})

# what does not run, why, and the nearest that does
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
    """`steps` noise levels of a copy of `scheduler`. It serves one run at a time: multistep solvers have state.

    Iterating gives each `Step`, the clean one last. Its length is the number of evaluations: `steps`, and one more for
    PNDM. With `stop` the run ends after the level of that index. The noise of a stochastic solver depends on each
    sample's first noise alone, so that a sample is the same in any batch. Raises `AnimaticError` where the scheduler
    does not run here, or not in so many steps.
    """

    def __init__(self, scheduler: Any, steps: int, stop: int | None = None) -> None:
        self.name = type(scheduler).__name__
        self.flow = is_flow(scheduler)
        check_runs(self.name, self.flow)
        if not 1 <= steps <= scheduler.config.num_train_timesteps:
            most = scheduler.config.num_train_timesteps
            raise AnimaticError(f"steps is {steps}; {self.name} takes 1 to {most}")
        if not (self.flow or "Euler" in self.name or hasattr(scheduler, "alphas_cumprod")):
            raise AnimaticError(
                f"scheduler {self.name} keeps no noise levels (alphas_cumprod); want {', '.join(SHORT)}"
            )

        self._given = scheduler
        self.steps = steps
        self._stop = stop
        self._scheduler = copy.deepcopy(scheduler)
        network_times: Tensor | None = None  # where they differ from the scheduler's
        if self.name == "DDIMScheduler" and scheduler.config.timestep_spacing == "linspace" and steps > 1:
            self._scheduler, network_times = thinned(scheduler, steps)
        try:
            with quiet():
                self._scheduler.set_timesteps(steps)
        except ValueError as error:  # such as more steps than a model was distilled for
            reason = str(error).partition("\n")[0]
            raise AnimaticError(f"steps is {steps}, which {self.name} does not take ({reason})") from None
        self._scheduler.is_scale_input_called = True  # `scale` replaces it; else some warn at every run
        self._times = self._scheduler.timesteps
        self._network_times = self._times if network_times is None else network_times

        # solvers without a generator are deterministic
        self._draws: list[torch.Generator] = []
        self._draws_noise = "generator" in signature(self._scheduler.step).parameters
        self._clean: Tensor | None = None  # the last clean estimate, an argument of CogVideoX's solver
        self._check()

    def _check(self) -> None:
        """Raise where the scheduler cannot take these steps, or would compute numbers that are not finite."""
        steps = self.steps
        config = self._scheduler.config
        if self.name == "PNDMScheduler":
            check_plms(config)
        elif len(self._times) != steps:
            times = f"{len(self._times)} times in {steps} steps"
            raise AnimaticError(f"{self.name} evaluates the network {times}; want one evaluation a step")

        # zero terminal SNR (Lin et al. 2023, arXiv 2305.08891): the first level is pure noise
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
            yield Step(index, len(self), float(self._network_times[index]), noise, gain)
            if index == self._stop:
                return
        yield Step(len(self), len(self), 0.0)

    def __len__(self) -> int:
        return len(self._times)

    def again(self, stop: int | None = None) -> Schedule:
        """A schedule of the same levels for another run, up to the level of index `stop`."""
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
        """sqrt(alpha_bar) at a step, from the table: 1 - `noise`^2 loses its digits where the signal is small."""
        if step.clean:
            return 1.0
        if self.flow:
            return 1 - step.noise
        if self.name in EXPLODING:
            return 1 / step.gain
        return float(self._scheduler.alphas_cumprod[int(self._times[step.index])]) ** 0.5

    def start(self, noise: Tensor) -> Tensor:
        """The first sample, from unit noise `[sample, channel, ...]`, which also seeds a stochastic solver's noise."""
        self._draws = [torch.Generator().manual_seed(_seed_of(sample)) for sample in noise]
        self._clean = None
        return noise * self._scheduler.init_noise_sigma if not self.flow else noise

    def unit(self, first: Tensor) -> Tensor:
        """The unit noise of a first sample: the inverse of `start`."""
        return first if self.flow else first / self._scheduler.init_noise_sigma

    def scale(self, x: Tensor, step: Step) -> Tensor:
        """The sample in the units of the network's input."""
        return x / step.gain

    def noised(self, clean: Tensor, noise: Tensor, step: Step) -> Tensor:
        """`clean` with `noise` added at the level of `step`, in the scheduler's units."""
        return step.gain * (self.signal(step) * clean + step.noise * noise)

    def advance(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """One solver step. It is computed, and its noise drawn, in float32, whatever the dtype of the network."""
        if isinstance(self._scheduler, diffusers.CogVideoXDPMScheduler):
            return self._advance_with_noise(x, prediction, step.index)
        draws = {"generator": self._draws} if self._draws_noise else {}
        after = self._scheduler.step(prediction.float(), self._times[step.index], x.float(), **draws).prev_sample
        return after.to(x.dtype)

    def _advance_with_noise(self, x: Tensor, prediction: Tensor, index: int) -> Tensor:
        """A step of CogVideoX's solver; its noise is `[sample, frame, channel, height, width]`, as in its pipeline."""
        before = self._times[index - 1] if index else None
        x, self._clean = self._scheduler.step(
            prediction.movedim(2, 1), self._clean, self._times[index], before, x.movedim(2, 1), generator=self._draws
        )
        return x.movedim(1, 2)

    def estimate(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """The clean sample that a prediction implies, in the units of clean latents."""
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
    """Whether it is of flow matching: samples are interpolated linearly between noise and clean."""
    return "FlowMatch" in type(scheduler).__name__ or scheduler.config.get("prediction_type") == "flow_prediction"


def check_runs(name: str, flow: bool = False) -> None:
    """Raise where a scheduler class of diffusers does not run here, or would give wrong results."""
    if name not in PRESERVING | EXPLODING | FLOW:
        reason, nearest = REFUSED.get(name, (OTHER_UNITS, "flow" if flow else "ddim"))
        raise AnimaticError(f"{name} {reason}; want {nearest}")


def _seed_of(noise: Tensor) -> int:
    """A seed from the signs of a sample's first 63 numbers, which no rounding changes."""
    signs = noise.flatten()[:63].signbit().tolist()
    return sum(int(negative) << i for i, negative in enumerate(signs))


SHIFTS = {"snr_shift_scale": 1.0, "rescale_betas_zero_snr": False}  # options that shift the noise table, when off


def scheduler_named(name: str, like: Any) -> Any:
    """Another diffusers scheduler, with the noise table and the prediction type of `like`.

    `name` is one of SHORT or a class name of diffusers. Raises `AnimaticError` where there is no such scheduler, or it
    does not fit models of `like`.
    """
    name_of_class = SHORT.get(name, name)
    cls: Any = getattr(diffusers, name_of_class, None)
    if name_of_class == CogVideoXSATDPMScheduler.__name__:
        cls = CogVideoXSATDPMScheduler
    if not isinstance(cls, type) or not cls.__name__.endswith("Scheduler"):
        raise AnimaticError(f"unknown scheduler {name!r}; known: {', '.join(SHORT)} and diffusers' class names")
    check_runs(cls.__name__, is_flow(like))

    config = {k: v for k, v in like.config.items() if k != "algorithm_type"}
    takes = signature(cls).parameters
    config = {k: plain for k, plain in SHIFTS.items() if k in takes} | config  # CogVideoX's own shift by default
    if "skip_prk_steps" in takes:  # as Stable Diffusion's folders have it
        config.setdefault("skip_prk_steps", True)
    if is_flow(like):
        shift = config.get("flow_shift", config.get("shift", 1.0))
        if cls.__name__ not in FLOW and "use_flow_sigmas" not in takes:
            raise AnimaticError(
                f"scheduler {name!r} does not support flow matching, which the model was trained with; want flow"
            )
        config |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift, "shift": shift}
    elif cls.__name__ in FLOW:
        predicted = f"this model predicts {like.config.prediction_type}"
        raise AnimaticError(f"scheduler {name!r} is for models of flow matching, and {predicted}; want ddim or dpm++")
    elif any(config.get(k, plain) != plain and k not in takes for k, plain in SHIFTS.items()):
        # other schedulers have no option for the shift: give them the betas of the shifted table
        level = like.alphas_cumprod
        config["trained_betas"] = (1 - level / torch.cat([level.new_ones(1), level[:-1]])).tolist()
    try:
        with quiet():  # diffusers warns of options that the class does not have
            scheduler: Any = cls.from_config(config)
    except TypeError as error:  # its class requires an option that no scheduler of these models has
        raise AnimaticError(f"scheduler {name!r} is for other models ({error}); want {', '.join(SHORT)}") from None
    _keep_bounds(scheduler, like, name)
    return scheduler


def _keep_bounds(scheduler: Any, like: Any, name: str) -> None:
    """Make `scheduler` clip or threshold clean estimates where, and only where, `like` does.

    Some clip by default, which would damage latents. Solvers without `clip_sample` clip by a threshold that may not
    exceed its range. Raises where a solver can do neither; models that predict v or x0 run without clipping, with a
    warning.
    """
    config = like.config
    takes = signature(type(scheduler)).parameters
    clips = bool(config.get("clip_sample", False))
    if type(like).__name__.startswith("CogVideoX"):  # these have the option and never clip
        clips = False
    needs = (clips and config.prediction_type == "epsilon") or config.get("thresholding", False)
    if "clip_sample" in takes:
        scheduler.register_to_config(clip_sample=clips)
    elif clips and "thresholding" in takes:
        scheduler.register_to_config(thresholding=True, sample_max_value=config.get("clip_sample_range", 1.0))
    elif needs and "thresholding" not in takes:
        bounds = "bounds clean estimates, as this model of pixels needs"
        raise AnimaticError(f"scheduler {name!r} is not one that {bounds}; want ddim, dpm++ or unipc")
    elif clips:
        warn(f"scheduler {name!r} does not clip clean estimates, which the model's own does")
