"""The curriculum of `mini-2` and `mini-dit`: the toy world, whose renderer knows the object of each pixel.

This is used twice: the error on objects has a larger weight than that on the background, and a loss on attention maps
teaches the network where each object is.
"""

from __future__ import annotations

import itertools
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import pad_sequence

from ..backbones.along_frames import convolve_along_frames
from ..backbones.components import Components
from ..backbones.pointwise_linear import compute_pointwise
from ..core.attention import fused_attention
from ..core.process import Process
from ..core.types import AttentionMapRequest, Branch, Conditioning, Step
from ..scene import Scene
from ..training.checkpoints import claim
from ..training.loop import Trainer
from ..training.loss import sample_timesteps, weighted_mse
from ..training.muon import FlatMuon
from ..training.settings import TrainingSettings
from .captions import invent
from .world import FRAMES, NOUNS, SIZE, draw, known_nouns

# where the hidden layers of networks and text encoders are
BLOCKS = frozenset(("down_blocks", "mid_block", "up_blocks", "transformer_blocks", "layers"))

RENAMED = {  # names in the `plan.json` of version 0.1 -> present names
    "stills_among_clips": "still_fraction",
    "rate": "learning_rate",
    "warmup": "warmup_steps",
    "unconditional": "cfg_dropout",
    "boxless": "box_dropout",
    "placing": "attention_weight",
    "lean": "timestep_exponent",
    "average": "ema_decay",
}


@dataclass(frozen=True)
class TrainBatch:
    """The scenes of one batch with their captions, "" where a caption is dropped, and whether their boxes are told.

    `frames` is the number of key frames of each scene, `noise_seed` seeds timesteps and noise.
    """

    step: int
    noise_seed: int
    frames: int
    scenes: list[Scene]
    captions: list[str]
    has_boxes: list[bool]

    def draw(self) -> tuple[Tensor, Tensor]:
        """Videos and visible cover of the scenes.

        Videos are uint8 `[sample, frame, height, width, 3]`, covers `[sample, track, frame, height, width]` in 0..1.
        """
        return stacked([draw(scene, self.frames) for scene in self.scenes])


def stacked(drawn: list[tuple[Any, Any]]) -> tuple[Tensor, Tensor]:
    """Drawn scenes (video, cover) as one batch; scenes with fewer tracks are padded with empty cover."""
    videos = [torch.from_numpy(video) for video, _ in drawn]
    covers = [torch.from_numpy(cover) for _, cover in drawn]
    return torch.stack(videos), pad_sequence(covers, batch_first=True)


def images_and_cover(drawn: list[tuple[Any, Any]]) -> tuple[Tensor, Tensor]:
    """Drawn single frames as images `[n, 3, y, x]` in -1..1, and their cover by any object `[n, 1, y, x]` in 0..1."""
    videos = np.concatenate([video for video, _ in drawn])
    cover = np.stack([cover.max(0) for _, cover in drawn])
    images = torch.from_numpy(videos).movedim(-1, 1)
    return images / 127.5 - 1, torch.from_numpy(cover)


@dataclass(frozen=True)
class CurriculumConfig:
    """The hyperparameters of a run; the defaults are those of `mini-2`. Steps are optimiser steps.

    The first `still_steps` steps train on single frames without the temporal layers, the `clip_steps` after them on
    clips and single frames.
    """

    still_steps: int = 12000
    clip_steps: int = 8000
    stills: int = 48  # batch size of single frames
    clips: int = 4  # batch size of clips
    still_fraction: float = 0.4  # of the batches in the second part that are single frames
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    decay: int = 6500  # last steps, in which the learning rate falls linearly to 0
    cfg_dropout: float = 0.1  # fraction of captions dropped, for classifier-free guidance
    box_dropout: float = 0.45  # fraction of scenes whose boxes are dropped, twice as many without a caption
    attention_weight: float = 0.1  # weight of the attention loss
    timestep_exponent: float = 0.8  # below 1 prefers noisy levels, see `loss.sample_timesteps`
    ema_decay: float = 0.998
    mixed_precision: str = "no"  # or bf16, where the processor multiplies in it
    seed: int = 0
    export_every: int = 500  # steps between exports of the averaged weights, 0 is never

    @property
    def steps(self) -> int:
        return self.still_steps + self.clip_steps

    def batch(
        self, step: int, process: int = 0, nouns: Sequence[str] = tuple(NOUNS), clip_frames: int = FRAMES
    ) -> TrainBatch:
        """The batch of a step in one of several processes; it depends on the arguments and the seed alone.

        `nouns` are those it may show, `clip_frames` the frames of a clip.
        """
        # The order of the draws is part of every run, and must stay.
        rng = random.Random(f"{self.seed}/off-grid/{step}")
        noise_seed = rng.getrandbits(63)
        is_still = step < self.still_steps or rng.random() < self.still_fraction

        # Other processes draw other scenes, but of the same kind: each waits for the slowest.
        if process:
            rng = random.Random(f"{self.seed}/off-grid/{step}/{process}")
            noise_seed = rng.getrandbits(63)
        count = self.stills if is_still else self.clips
        frames = 1 if is_still else clip_frames

        # Dropped captions train the unconditional branch, which seldom reads boxes either.
        scenes, captions, has_boxes = [], [], []
        for _ in range(count):
            has_caption = rng.random() >= self.cfg_dropout
            is_told = rng.random() >= (self.box_dropout if has_caption else 2 * self.box_dropout)
            scene = invent(rng, frames, is_coarse=not is_told, nouns=nouns)
            scenes.append(scene)
            captions.append(scene.prompt if has_caption else "")
            has_boxes.append(is_told)
        return TrainBatch(step, noise_seed, frames, scenes, captions, has_boxes)

    def settings(self, out: Path, clip_frames: int) -> TrainingSettings:
        """The settings of the training loop for a run in the folder `out`."""
        return TrainingSettings(
            data="toy",
            out=str(out),
            model="mini",
            frames=clip_frames,
            size=str(SIZE),
            batch_size=self.clips,
            focus_present=float(self.still_steps > 0),  # some steps give the temporal layers no gradient
            cfg_dropout=self.cfg_dropout,
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            decay=self.decay,
            ema_decay=self.ema_decay,
            mixed_precision=self.mixed_precision,
            save_every=100,
            sample_every=self.export_every,
            seed=self.seed,
        )


class TrainModule(nn.Module):
    """The networks of a model and their loss as one module, as accelerate needs it.

    The names of its submodules are keys of checkpoints.
    """

    def __init__(self, model: Components, losses: Callable[[TrainBatch], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.unet = model.unet
        self.text = model.text
        self.losses = losses

    def forward(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        return self.losses(batch)


class CurriculumTrainer(Trainer):
    """A run of `curriculum` in the folder `out`, whose `plan.json` holds the curriculum."""

    betas = (0.9, 0.98)

    def __init__(self, curriculum: CurriculumConfig, model: Components, out: Path) -> None:
        super().__init__(curriculum.settings(out, model.geometry.frames))
        self.curriculum = curriculum
        self.model = model

        # the same weights, computed in less time
        convolve_along_frames(model.unet)
        compute_pointwise(model.unet)
        compute_pointwise(model.text)
        self.train_module = TrainModule(model, self.losses)
        self.process = Process.of(model.scheduler)
        self.last_values: dict[str, Any] = {}
        if self.accelerator.is_main_process:
            claim(out / "plan.json", asdict(curriculum), RENAMED)

    @abstractmethod
    def losses(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """(weighted velocity error, attention loss), both scalars."""

    def optimisers(self, parameters: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
        """Muon for the matrices inside blocks, which learn more a step with it, AdamW for all other weights."""
        matrices = []
        for name, parameter in self.train_module.named_parameters():
            is_inside = not BLOCKS.isdisjoint(name.split("."))
            if parameter.requires_grad and parameter.ndim > 1 and is_inside:
                matrices.append(parameter)
        taken = set(map(id, matrices))
        others = [parameter for parameter in parameters if id(parameter) not in taken]
        muon = FlatMuon(matrices, self.settings.learning_rate, self.settings.weight_decay)
        return [*super().optimisers(others), muon]

    def batches(self) -> Iterator[TrainBatch]:
        process = self.accelerator.process_index
        nouns = known_nouns(self.model.words)
        frames = self.model.geometry.frames
        for step in itertools.count(self.step):
            yield self.curriculum.batch(step, process, nouns, frames)

    def loss(self, train_module: Any, batch: TrainBatch) -> Tensor:
        # Timesteps and noise depend on the batch alone: a resumed run draws the same.
        torch.manual_seed(batch.noise_seed)
        with self._attention_kernel():
            error, attention = train_module(batch)
        self.last_values["frames"] = batch.frames
        self.last_values["error"] = round(error.item(), 4)
        self.last_values["attention loss"] = round(attention.item(), 4)
        return error + self.curriculum.attention_weight * attention

    def _attention_kernel(self) -> AbstractContextManager[Any]:
        """Matrix products for attention in half precision on a CPU, whose fused kernel is slow backwards there.

        For 48 samples of 64 tokens in bfloat16 it took 33 ms, matrix products 12 (PyTorch 2.13, one core of an EPYC).
        """
        is_half = self.settings.mixed_precision != "no"
        return sdpa_kernel(SDPBackend.MATH) if is_half and self.accelerator.device.type == "cpu" else nullcontext()

    def log_values(self) -> dict[str, Any]:
        return self.last_values

    def target(self, batch: TrainBatch, noisy: Tensor, t: Tensor, drawn: Tensor) -> Tensor:
        """What the model is to predict for the latents `noisy` at timesteps `t`: `drawn`, by the noise drawn for them.

        All latents are `[sample, channel, frame, height, width]`.
        """
        return drawn

    def error(
        self,
        batch: TrainBatch,
        videos: Tensor,
        covers: Tensor,
        extra: Mapping[str, Tensor] | None = None,
        map_request: AttentionMapRequest | None = None,
    ) -> Tensor:
        """The weighted velocity error of the model's predictions for noised `videos`.

        `videos` and `covers` are those of `TrainBatch.draw`; `extra` and `map_request` are fields of `Conditioning`.
        """
        # Noise the latents; the target keeps full precision.
        with torch.autocast(videos.device.type, enabled=False):
            x = self.model.to_latents(videos)
        t = sample_timesteps(len(x), self.process.levels, self.curriculum.timestep_exponent)
        t = t.to(x.device)
        e = torch.randn_like(x)
        noisy = self.process.add_noise(x, e, t)

        # Predict.
        text = self.model.text(batch.captions)
        branches = tuple(Branch(sample=i) for i in range(len(x)))
        cond = Conditioning(text, branches, extra or {}, map_request)
        prediction = self.model(noisy, Step(0, 1, t), cond, fused_attention).float()

        # Compare with the target.
        target = self.target(batch, noisy, t, self.process.prediction_target(x, e, t))
        signal, _ = self.process.signal_and_noise(t)
        signal_power = signal.flatten().square()
        any_object = covers.amax(1)
        return weighted_mse(prediction, target, any_object, signal_power)
