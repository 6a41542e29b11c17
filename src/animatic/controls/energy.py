"""Energy guidance: before each step, the sample is moved down the gradient of an energy of its text attention.

x <- x - scale * sqrt(1 - alpha_bar) * dE/dx (equation 4 of LMD, Lian et al. 2023, arXiv 2305.13655, and of LVD, Lian et
al. 2024, arXiv 2309.17444; https://github.com/TonyLianLong/LLM-groundedVideoDiffusion). Backward guidance (Chen et al.
2023, arXiv 2304.03373) and BoxDiff (Xie et al. 2023, arXiv 2307.10816) are the same update with other energies.

The energy is evaluated on the conditional branches alone, through `inner`, so that whatever is nested inside
(grounding, windows, sharing) is guided too. The energies themselves are in `terms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..core.control import Control, Run, bound
from ..core.types import AttentionMapRequest, Conditioning, Denoise, Fraction, Step
from ..errors import AnimaticError
from .targets import Targets


class Terms(Protocol):
    """An energy of attention maps."""

    @property
    def every_word(self) -> bool:
        """Whether it needs the attention of all words of a prompt, not only of those that name objects."""
        ...

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor:
        """The energy `[sample]` of maps by layer `[sample, frame, head, height, width, token]` at a noise level."""
        ...


@dataclass(frozen=True)
class NoiseLevel:
    """sqrt(1 - alpha_bar), the step size of LMD and LVD."""

    def __call__(self, step: Step) -> float:
        return step.noise


@dataclass(frozen=True)
class LinearDecay:
    """sqrt of a factor that falls linearly from 1 at the first noise level to `last`, whatever the noise (BoxDiff).

    `last`: the factor at the last level.
    """

    last: float = 0.5

    def __call__(self, step: Step) -> float:
        return (1 - (1 - self.last) * step.index / max(1, step.count - 1)) ** 0.5


@dataclass
class Energy(Control):
    """Gradient steps on an energy at each of the first noise levels: scale x step size of the level x gradient.

    `terms`: the energy. `layers`: the attention layers that are read (globs). `scale`: the length of a step, relative
    to the gradient. `until`: the first fraction of the noise levels is guided, such as 10/40 for 10 of 40 steps.
    `iterations`: most gradient steps at a level, one number, or one for each level, of which the last holds for all
    that follow. `threshold`: a sample whose energy is at or below it gets no further step at a level; the energy is
    compared after each step, so that it has no effect where `iterations` is 1. `step_size`: how the length of a step
    depends on the noise level.

    With `legacy` the energy that is compared is carried over between levels, as in LMD and LVD, so that a sample once
    at or below the threshold is never guided again, and boxes are rounded to cells as there. With `separate_objects`
    objects of the same words are targets of their own (LVD), not one. With `per_head` `scale` and `threshold` are those
    of an energy that is a sum over attention heads, as LMD's numbers are, while the terms here are means: the one is
    multiplied, the other divided by the mean number of heads of the layers that are read.
    """

    terms: Terms
    layers: tuple[str, ...] = ("*",)
    scale: float = 5.0
    until: Fraction = 0.25
    iterations: int | tuple[int, ...] = 5
    threshold: float = 0.0
    step_size: Callable[[Step], float] = NoiseLevel()
    legacy: bool = False
    separate_objects: bool = False
    per_head: bool = False
    needs = frozenset({"text maps"})
    stands_around = frozenset({"Windows", "ShareKV"})
    _targets: Targets = bound()
    _last: Tensor = bound()  # the energy of each sample after its last step
    _scheduler: str = bound()

    def begin(self, run: Run) -> Energy:
        run.scenes_for(self)
        own = copy(self)

        # the energies are means over heads: numbers that are meant for a sum become those of a mean
        heads = self.heads(run)
        own.scale = self.scale * heads
        own.threshold = self.threshold / heads

        own._targets = Targets.in_run(run, self.legacy, self.terms.every_word, self.separate_objects)
        own._scheduler = run.schedule.name
        own._last = run.x.new_full((len(run.x),), torch.inf)
        return own

    def heads(self, run: Run) -> float:
        """The mean number of heads of the layers that are read where `per_head` is set, else 1.

        Raises `AnimaticError` where the model has none of these layers.
        """
        if not self.per_head:
            return 1
        by_layer = run.backbone.text_layer_heads(self.layers)
        counts = [count for count in by_layer.values() if count]  # 0: not known
        if not counts:
            layers = ", ".join(self.layers)
            hint = "want others, such as --set energy.layers=*, or per_head off"
            raise AnimaticError(f"Energy is per head, and no text attention layer in {layers} has heads; {hint}")
        return sum(counts) / len(counts)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if step.clean or step.fraction >= self.until or not len(self._targets.samples):
            return x

        # samples above the threshold are guided; at the beginning of a level all are, unless `legacy`
        last = self._last if self.legacy else torch.full_like(self._last, torch.inf)
        active = last > self.threshold
        iterations = self._iterations_at(step.index) if bool(active.any()) else 0
        for _ in range(iterations):
            energy, gradient = self._gradient(inner, x, step, cond)

            # gain^2: the update is meant in variance-preserving units, x and its gradient are both in the scheduler's
            size = self.scale * self.step_size(step) * step.gain**2
            x = x.detach() - size * gradient * active.view(-1, 1, 1, 1, 1)
            last = torch.where(active, energy.detach(), last)
            active = last > self.threshold

            # read together: this is the only synchronisation with the device
            facts = torch.stack([energy.isfinite().all(), x.isfinite().all(), active.any()])
            finite_energy, finite_update, any_active = facts.tolist()
            self._check(finite_energy, finite_update, step)
            if not any_active:
                break
        self._last = last
        return x.detach()

    def _gradient(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """The energy `[sample]` and its gradient, of the shape of `x`."""
        with torch.enable_grad():
            # the passes of an energy need maps alone, and only of the conditional branches
            x = x.detach().requires_grad_()
            request = AttentionMapRequest(self._targets.tokens, self.layers, maps_only=True)
            inner(x, step, replace(cond.positive, map_request=request))

            # samples do not depend on each other: the gradient of the sum holds that of each
            energy = self.terms(request.found, self._targets, step)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return energy, gradient

    def _check(self, finite_energy: bool, finite_update: bool, step: Step) -> None:
        """Raise where an update cannot be used."""
        if not finite_energy:
            hint = f"before any update; want another scheduler than {self._scheduler}, or float32 weights"
            raise AnimaticError(f"Energy at step {step.index}: the model's attention is not finite, {hint}")
        if not finite_update:
            hint = f"lower scale ({self.scale})"
            raise AnimaticError(f"Energy at step {step.index}: the update is not finite; {hint}")

    def _iterations_at(self, index: int) -> int:
        """Most gradient steps at the noise level of this index."""
        if isinstance(self.iterations, int):
            return self.iterations

        # the last number holds for all levels that follow
        return self.iterations[min(index, len(self.iterations) - 1)]
