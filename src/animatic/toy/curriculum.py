"""Lessons in the toy world, where the owner of each pixel is known: errors on things count for more than errors around
them, and attention is told where to look. `mini` and `grounding` say of what the lessons are."""

from __future__ import annotations

import itertools
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..backbones.components import Components
from ..core.attention import fused_attention
from ..core.process import Process
from ..core.types import Branch, Conditioning, Step
from ..scene import Scene
from ..training.loop import Training, claim
from ..training.loss import timesteps, weighted_mse
from ..training.settings import TrainingSettings
from . import grid_world as toyworld
from .grid_captions import invent

FRAMES = 8  # of a clip


@dataclass(frozen=True)
class TrainBatch:
    """The scenes of one batch, of `frames` key frames each, with their captions, some left out."""

    step: int
    noise: int  # seed
    frames: int
    scenes: list[Scene]
    captions: list[str]
    rng: random.Random  # for what else is drawn

    def film(self) -> tuple[Tensor, Tensor]:
        """uint8 `[row, frame, height, width, 3]`; what is seen of things `[row, track, frame, height, width]`, 0..1."""
        drawn = [toyworld.draw(scene, self.frames) for scene in self.scenes]
        films, covers = ([torch.from_numpy(part) for part in parts] for parts in zip(*drawn, strict=True))
        return torch.stack(films), pad_sequence(covers, batch_first=True)


@dataclass(frozen=True)
class CurriculumConfig:
    """How a model is taught. Steps count optimiser steps; `clip_steps` come after `still_steps`. As `mini` was."""

    still_steps: int = 3500  # with the time layers left out
    clip_steps: int = 6000
    stills: int = 48  # single frames a batch
    clips: int = 8  # clips a batch
    stills_among_clips: float = 0.25  # share of still batches in the second part
    rate: float = 1.5e-3
    warmup: int = 200
    decay: int = 2000  # last steps, in which the rate falls linearly to 0
    unconditional: float = 0.1  # share of captions left out, for classifier-free guidance
    boxless: float = 0.0  # share of scenes whose boxes are not told, where they are
    placing: float = 0.1  # weight of the attention loss
    lean: float = 0.7  # towards noisy levels (see `loss.timesteps`)
    average: float = 0.999  # of the weights that are shipped
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.still_steps + self.clip_steps

    def lesson(self, step: int) -> TrainBatch:
        """Hangs on the seed and the step alone."""
        rng = random.Random(f"{self.seed}/{step}")
        noise = rng.getrandbits(63)
        still = step < self.still_steps or rng.random() < self.stills_among_clips
        count, frames = (self.stills, 1) if still else (self.clips, FRAMES)
        scenes = [invent(rng, frames) for _ in range(count)]
        captions = ["" if rng.random() < self.unconditional else scene.prompt for scene in scenes]
        return TrainBatch(step, noise, frames, scenes, captions, rng)

    def settings(self, out: Path) -> TrainingSettings:
        """Of the run; `alone` says that some steps have no use for the time layers."""
        return TrainingSettings(
            data="toy", out=str(out), model="mini", frames=FRAMES, size=str(toyworld.SIZE), batch_size=self.clips,
            focus_present=float(self.still_steps > 0), cfg_dropout=self.unconditional, steps=self.steps, learning_rate=self.rate,
            warmup_steps=self.warmup, decay=self.decay, ema_decay=self.average, save_every=250, sample_every=0, seed=self.seed,
        )  # fmt: skip


class TrainModule(nn.Module):
    """The networks of a model and what is asked of them as one module, as accelerate wants it."""

    def __init__(self, model: Components, losses: Callable[[TrainBatch], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.unet, self.text, self.losses = model.unet, model.text, losses

    def forward(self, lesson: TrainBatch) -> tuple[Tensor, Tensor]:
        return self.losses(lesson)


class CurriculumTrainer(Training):
    """A run of a plan in the folder `out`; the plan stands there in `plan.json`."""

    betas = (0.9, 0.98)

    def __init__(self, plan: CurriculumConfig, model: Components, out: Path) -> None:
        super().__init__(plan.settings(out))
        self.plan, self.model, self.learner = plan, model, TrainModule(model, self.losses)
        self.process = Process.of(model.scheduler)
        self.last: dict[str, Any] = {}
        if self.accelerator.is_main_process:
            claim(out / "plan.json", asdict(plan))

    @abstractmethod
    def losses(self, lesson: TrainBatch) -> tuple[Tensor, Tensor]:
        """(weighted velocity error, attention out of place)."""

    def batches(self) -> Iterator[TrainBatch]:
        world = self.accelerator.num_processes
        return map(self.plan.lesson, itertools.count(self.step * world + self.accelerator.process_index, world))

    def loss(self, learner: Any, batch: TrainBatch) -> Tensor:
        torch.manual_seed(batch.noise)
        error, place = learner(batch)
        self.last = {"frames": batch.frames, "error": round(error.item(), 4), "out of place": round(place.item(), 4)}
        return error + self.plan.placing * place

    def told(self) -> dict[str, Any]:
        return self.last

    def error(self, lesson: TrainBatch, films: Tensor, covers: Tensor, **told: Any) -> Tensor:
        """Of the model's answers to `films`, noised; `told` are the fields of `Cond` beside captions."""
        x = self.model.to_latents(films)
        t = timesteps(len(x), self.process.levels, self.plan.lean).to(x.device)
        e = torch.randn_like(x)
        cond = Conditioning(self.model.text(lesson.captions), tuple(Branch(sample=i) for i in range(len(x))), **told)
        answer = self.model(self.process.noised(x, e, t), Step(0, 1, t), cond, fused_attention)
        signal = self.process.signal_and_noise(t)[0].flatten()
        return weighted_mse(answer, self.process.target_value(x, e, t), covers.amax(1), signal.square())
