"""A diffusers scheduler as a sequence of noise levels and a step from one to the next.

Any scheduler whose units are known: DDIM, DPM-Solver++ 2M, UniPC, PNDM, Euler, Heun, flow matching, CogVideoX's own
two, ... What differs between them (units of the sample, signatures of `step`, their noise, evaluations between two
levels) is handled here. Those that would give wrong results are refused, with the nearest that runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from typing import Any

import diffusers
import torch
from torch import Tensor

from ..errors import AnimaticError
from ..quiet import quiet
from .levels import check_plms, lands, thinned
from .schedulers import EXPLODING, TWICE, check_runs, is_flow
from .types import Step

Grid = tuple[int, int, int]  # latent frames, rows and columns
LEFT_OVER = 0.01  # the most noise that flow matching may end with, as a fraction: less is not seen


class Schedule:
    """`steps` noise levels of a copy of `scheduler`. It serves one run at a time: multistep solvers have state.

    Iterating gives each `Step`, the clean one last. Its length is the number of evaluations: `steps`, one more for
    PNDM, and 2 `steps` - 1 for solvers of second order. These evaluate the network a second time within a step, at the
    sample that the first evaluation leads to, and repeat the step from its first sample: what a control changes in the
    second sample has an effect through the prediction alone. With `stop` the run ends after the level of that index.
    The noise of a stochastic solver depends on each sample's first noise alone, so that a sample is the same in any
    batch. Raises `AnimaticError` where the scheduler does not run here, or not in so many steps.

    `levels` are of models whose noise levels depend on the size of a video: of steps and latents of size `grid` it
    gives the arguments of `set_timesteps`. `fitted` is the schedule for samples of another size.
    """

    def __init__(
        self,
        scheduler: Any,
        steps: int,
        stop: int | None = None,
        levels: Callable[[int, Grid], Mapping[str, Any]] | None = None,
        grid: Grid = (1, 1, 1),
    ) -> None:
        self.name = type(scheduler).__name__
        self.flow = is_flow(scheduler)
        check_runs(self.name, self.flow)

        # What the scheduler cannot do is refused before anything is computed.
        most = scheduler.config.num_train_timesteps
        if not 1 <= steps <= most:
            raise AnimaticError(f"steps is {steps}; {self.name} takes 1 to {most}")

        # `again` makes another of the scheduler as it was given; this run changes its own copy.
        self._given = scheduler
        self.steps = steps
        self._stop = stop
        self._levels = levels
        self._grid = grid
        self._scheduler = copy.deepcopy(scheduler)

        # DDIM with these spacings is computed on a table of the visited levels alone, see `thinned`.
        network_times: Tensor | None = None  # where they differ from the scheduler's
        is_linspace_ddim = self.name == "DDIMScheduler" and scheduler.config.timestep_spacing == "linspace"
        if is_linspace_ddim and steps > 1:
            self._scheduler, network_times = thinned(scheduler, steps)
        given = self._given_levels()
        try:
            with quiet():
                self._scheduler.set_timesteps(steps, **given)
        except ValueError as error:  # such as more steps than a model was distilled for
            reason = str(error).partition("\n")[0]
            raise AnimaticError(f"steps is {steps}, which {self.name} does not take ({reason})") from None
        self._scheduler.is_scale_input_called = True  # `scale` replaces it; else some warn at every run
        self._times = self._scheduler.timesteps
        self._network_times = self._times if network_times is None else network_times

        # Solvers without a generator are deterministic.
        self._draws: list[torch.Generator] = []
        self._draws_noise = "generator" in signature(self._scheduler.step).parameters
        self._clean: Tensor | None = None  # the last clean estimate, an argument of CogVideoX's solver
        self._check()

    def _given_levels(self) -> Mapping[str, Any]:
        """The arguments of `set_timesteps` besides the steps. Raises where the scheduler does not take them."""
        if self._levels is None:
            return {}
        given = self._levels(self.steps, self._grid)
        takes = signature(self._scheduler.set_timesteps).parameters
        if not set(given) <= set(takes):
            raise AnimaticError(f"{self.name} has no shift by the size of a video, which this model needs; want flow")
        return given

    def _check(self) -> None:
        """Raise where the scheduler cannot take these steps, or would compute numbers that are not finite."""
        steps = self.steps
        config = self._scheduler.config
        expected = 2 * steps - 1 if self.name in TWICE else steps
        if self.name == "PNDMScheduler":
            check_plms(config)
        elif len(self._times) != expected:
            times = f"{len(self._times)} times in {steps} steps"
            raise AnimaticError(f"{self.name} evaluates the network {times}; want a number of steps with {expected}")
        if config.get("prediction_type") == "sample" and self.name.startswith("KDPM2"):
            reason = "does not support models that predict clean samples, as this one does"
            raise AnimaticError(f"{self.name} {reason}; want HeunDiscreteScheduler, ddim or dpm++")

        # DEIS and SA-Solver end flow matching at their last level but one, with its noise in the sample.
        sigmas = torch.as_tensor(getattr(self._scheduler, "sigmas", 0.0))
        left = float(sigmas.flatten()[-1])
        if self.flow and left > LEFT_OVER:
            reason = f"leaves noise of {left:.2g} in the samples of flow matching after {steps} steps"
            raise AnimaticError(f"{self.name} {reason}; want flow, dpm++ or unipc")

        # Zero terminal SNR (Lin et al. 2023, arXiv 2305.08891): the first level is pure noise.
        is_empty = False
        if not self.flow:
            first_level = int(self._times[0])
            is_empty = bool(self._scheduler.alphas_cumprod[first_level] == 0)
        is_finite = bool(sigmas.isfinite().all())
        if not is_finite or (is_empty and self.name == "PNDMScheduler"):
            reason = "divides by the signal of the first noise level, and this model's has none (zero terminal SNR)"
            raise AnimaticError(f"{self.name} {reason}; want ddim, dpm++ or unipc")
        if is_empty and config.prediction_type == "epsilon":
            reason = "a model that predicts noise cannot begin where there is nothing else (zero terminal SNR)"
            raise AnimaticError(f"{self.name}: {reason}; want a schedule without rescale_betas_zero_snr")

        # CogVideoX's solvers compute the next timestep themselves, and may miss the last one.
        if self.name.startswith("CogVideoX") and not lands(self._given, steps):
            candidates = range(max(1, steps - 2), min(steps + 3, 1000))
            near = [str(count) for count in candidates if lands(self._given, count)]
            want = " or ".join(near) or "a divisor of 1000"
            raise AnimaticError(f"steps is {steps}, with which {self.name} never comes to a clean sample; want {want}")

    def __iter__(self) -> Iterator[Step]:
        for index, t in enumerate(self._times):
            noise, gain = self._level(index, int(t))
            network_time = float(self._network_times[index])
            yield Step(index, len(self), network_time, noise, gain)
            if index == self._stop:
                return
        yield Step(len(self), len(self), 0.0)

    def __len__(self) -> int:
        return len(self._times)

    def again(self, stop: int | None = None) -> Schedule:
        """A schedule of the same levels for another run, up to the level of index `stop`."""
        return Schedule(self._given, self.steps, stop, self._levels, self._grid)

    def fitted(self, x: Tensor) -> Schedule:
        """The schedule for samples `[sample, channel, frame, height, width]` of the size of `x`."""
        frames, height, width = x.shape[2:]
        if self._levels is None or self._grid == (frames, height, width):
            return self
        return Schedule(self._given, self.steps, self._stop, self._levels, (frames, height, width))

    def _level(self, index: int, t: int) -> tuple[float, float]:
        """(sqrt(1 - alpha_bar), gain) at a step; for flow matching (sigma, 1)."""
        if self.flow:
            return float(self._scheduler.sigmas[index]), 1.0

        # Variance exploding: clean + sigma noise, which the network reads divided by its standard deviation.
        if self.name in EXPLODING:
            sigma = self._sigma(index)
            gain = (sigma**2 + 1) ** 0.5
            return sigma / gain, gain

        # Variance preserving: signal^2 + noise^2 = 1.
        alpha_bar = self._scheduler.alphas_cumprod[t]
        noise = (1 - alpha_bar) ** 0.5
        return float(noise), 1.0

    def _sigma(self, index: int) -> float:
        """The noise of an evaluation of a variance exploding scheduler."""
        # KDPM2 evaluates the network between two levels every second time, which its two classes index differently
        if self.name == "KDPM2DiscreteScheduler" and index % 2:
            return float(self._scheduler.sigmas_interpol[index])
        if self.name == "KDPM2AncestralDiscreteScheduler" and index % 2:
            return float(self._scheduler.sigmas_interpol[index - 1])
        return float(self._scheduler.sigmas[index])

    def signal(self, step: Step) -> float:
        """sqrt(alpha_bar) at a step, from the table: 1 - `noise`^2 loses its digits where the signal is small."""
        if step.clean:
            return 1.0
        if self.flow:
            return 1 - step.noise
        if self.name in EXPLODING:
            return 1 / step.gain

        # In float64 once it is a Python number.
        t = int(self._times[step.index])
        return float(self._scheduler.alphas_cumprod[t]) ** 0.5

    def start(self, noise: Tensor) -> Tensor:
        """The first sample, from unit noise `[sample, channel, ...]`, which also seeds a stochastic solver's noise."""
        seeds = [_seed_of(sample) for sample in noise]
        self._draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._clean = None  # a second run must not continue the first
        if self.flow:
            return noise  # which is the first sample itself: sigma is 1 there
        return noise * self._scheduler.init_noise_sigma

    def unit(self, first: Tensor) -> Tensor:
        """The unit noise of a first sample: the inverse of `start`."""
        if self.flow:
            return first
        return first / self._scheduler.init_noise_sigma

    def scale(self, x: Tensor, step: Step) -> Tensor:
        """The sample in the units of the network's input."""
        return x / step.gain

    def noised(self, clean: Tensor, noise: Tensor, step: Step) -> Tensor:
        """`clean` with `noise` added at the level of `step`, in the scheduler's units."""
        mixed = self.signal(step) * clean + step.noise * noise
        return step.gain * mixed

    def advance(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """One solver step. It is computed, and its noise drawn, in float32, whatever the dtype of the network."""
        if isinstance(self._scheduler, diffusers.CogVideoXDPMScheduler):
            return self._advance_with_noise(x, prediction, step.index)

        # Stochastic solvers draw from a generator of each sample.
        draws = {"generator": self._draws} if self._draws_noise else {}
        t = self._times[step.index]
        output = self._scheduler.step(prediction.float(), t, x.float(), **draws)
        return output.prev_sample.to(x.dtype)

    def _advance_with_noise(self, x: Tensor, prediction: Tensor, index: int) -> Tensor:
        """A step of CogVideoX's solver; its noise is `[sample, frame, channel, height, width]`, as in its pipeline."""
        # diffusers' class wants frames before channels, and its own last estimate.
        before = self._times[index - 1] if index else None
        by_frame = x.movedim(2, 1)
        prediction_by_frame = prediction.movedim(2, 1)
        after, self._clean = self._scheduler.step(
            prediction_by_frame, self._clean, self._times[index], before, by_frame, generator=self._draws
        )
        return after.movedim(1, 2)

    def estimate(self, x: Tensor, prediction: Tensor, step: Step) -> Tensor:
        """The clean sample that a prediction implies, in the units of clean latents."""
        # In units of sqrt(alpha_bar) clean + sqrt(1 - alpha_bar) noise.
        x = x / step.gain
        sigma = step.noise
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

    def prediction(self, x: Tensor, clean: Tensor, step: Step) -> Tensor:
        """The prediction that implies the clean sample `clean`: the inverse of `estimate`."""
        x = x / step.gain
        sigma = step.noise
        if self.flow:
            return (x - clean) / sigma
        alpha = self.signal(step)
        match self._scheduler.config.prediction_type:
            case "epsilon":
                return (x - alpha * clean) / sigma
            case "v_prediction":
                return (alpha * x - clean) / sigma
            case "sample":
                return clean
            case other:
                raise AnimaticError(f"prediction_type is {other!r}; want epsilon, v_prediction or sample")


def _seed_of(noise: Tensor) -> int:
    """A seed from the signs of a sample's first 63 numbers, which no rounding changes."""
    # 63 bits: torch takes no larger seed.
    signs = noise.flatten()[:63].signbit().tolist()
    return sum(int(negative) << i for i, negative in enumerate(signs))
