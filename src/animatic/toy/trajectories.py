"""The states that a student comes to while it samples: what it is trained on besides noised scenes.

A student that is trained on noised scenes alone never sees what its own errors lead to, and they add up from step to
step. Here each forward pass of the training is also one step of a deterministic sampling run (DDIM, Song et al. 2021,
https://arxiv.org/abs/2010.02502), so that the states cost nothing; the teacher says what it would do there (Ross et al.
2011, DAgger, https://arxiv.org/abs/1011.0686; Agarwal et al. 2024, https://arxiv.org/abs/2306.13649).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.process import Process

FEWEST, MOST = 15, 30  # steps of a run


@dataclass(frozen=True)
class Trajectory:
    """A sampling run of `steps` steps, which has come to `state` `[channel, frame, height, width]`."""

    caption: str
    steps: int
    step: int
    state: Tensor

    def timestep(self, levels: int) -> int:
        """The timestep of `state`, one of 0..levels - 1; they end at a clean sample ("trailing" spacing)."""
        return max(0, round(levels - levels * self.step / self.steps) - 1)


class Trajectories:
    """`count` sampling runs in turn; one that has ended is replaced by a new one.

    `scene` draws the caption of a run and clean latents `[channel, frame, height, width]` that show it. The runs are no
    part of checkpoints: a resumed training begins new ones.
    """

    def __init__(
        self, count: int, process: Process, scene: Callable[[], tuple[str, Tensor]], rng: random.Random
    ) -> None:
        self.process = process
        self.scene = scene
        self.rng = rng

        # The first ones begin anywhere, so that all noise levels are there from the first step of the training.
        self.runs = [self._new(begins_anywhere=True) for _ in range(count)]

    def take(self, count: int) -> list[Trajectory]:
        """The next `count` runs. They belong to the caller until `put` takes them back, one step further."""
        taken, self.runs = self.runs[:count], self.runs[count:]
        return taken

    def put(self, runs: Sequence[Trajectory], predictions: Tensor) -> None:
        """Take back runs with what the student predicted for their states, `[run, channel, frame, height, width]`."""
        states = torch.stack([run.state for run in runs]).to(predictions)
        t = self.timesteps(runs).to(states.device)
        clean, noise = self.process.clean_and_noise(states, predictions, t)

        # The state at the next noise level is made of the same two; after the last level a run has ended.
        following = [replace(run, step=run.step + 1) for run in runs]
        t = self.timesteps(following).to(states.device)
        noised = self.process.add_noise(clean, noise, t).cpu()
        for run, state in zip(following, noised, strict=True):
            goes_on = run.step < run.steps and bool(state.isfinite().all())
            self.runs.append(replace(run, state=state) if goes_on else self._new())

    def timesteps(self, runs: Sequence[Trajectory]) -> Tensor:
        """The timesteps of the states, `[run]`."""
        return torch.tensor([run.timestep(self.process.levels) for run in runs])

    def _new(self, begins_anywhere: bool = False) -> Trajectory:
        caption, latents = self.scene()
        steps = self.rng.randint(FEWEST, MOST)
        run = Trajectory(caption, steps, self.rng.randrange(steps) if begins_anywhere else 0, latents)

        # Of the first step all is noise.
        noised = self.process.add_noise(latents[None], torch.randn_like(latents)[None], self.timesteps([run]))
        return replace(run, state=noised[0])
