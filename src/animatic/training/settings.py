"""Everything that can be said about a training run. Every field is an option of `animatic train`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..core.options import option
from ..core.seeds import check_seed
from ..errors import AnimaticError

LEAST = {
    1: (
        "frames",
        "steps",
        "batch_size",
        "gradient_accumulation",
        "save_every",
        "keep_checkpoints",
        "dim",
        "levels",
        "ema_every",
    ),
    0: (
        *(
            "images",
            "lora",
            "warmup_steps",
            "decay",
            "workers",
            "sample_every",
            "samples",
            "fps",
            "min_snr",
            "weight_decay",
        ),
        "guidance",
        "ema_start",
        "max_grad_norm",
    ),
}

RENAMED = {  # of version 0.1, and what they are called since: in the files of a run, and as options
    "lowest": "min_noise",
    "rough": "noise_augmentation",
    "alone": "focus_present",
    "drop": "cfg_dropout",
    "batch": "batch_size",
    "accumulate": "gradient_accumulation",
    "rate": "learning_rate",
    "warmup": "warmup_steps",
    "clip": "max_grad_norm",
    "average": "ema_decay",
    "precision": "mixed_precision",
    "keep": "keep_checkpoints",
}


@dataclass(frozen=True)
class TrainingSettings:
    data: str = option("", "A folder of clips or .tar files, or one, hf:NAME[:SPLIT], toy or toy:PIXELS:BETWEEN.")
    out: str = option("runs/out/train", "Folder for checkpoints, samples, log and the model; a run in it is resumed.")
    learn: str = option("clips", "clips, from noise; or to finish them: interpolate:FACTOR or upscale:FACTOR.")
    min_noise: float = option(0.0, "Lowest noise that is learnt, as a share of the levels; few steps see no low ones.")
    noise_augmentation: float = option(0.0, "Most noise on the small version that upscaling sees (Ho et al. 2022).")
    model: str = option("small", "small, small-original, a config of a diffusers network (JSON), or a model folder.")
    text: str = option(
        "auto", "none, labels (captions or folders), vectors:FILE, own (a small CLIP), bert:FOLDER_OR_ID, or auto."
    )
    frames: int = option(16, "Frames of a clip; 1 trains on pictures.")
    size: str = option("64", "Pixels: SIDE or WIDTHxHEIGHT.")
    fps: float = option(0.0, "Frames per second to sample; 0: those of the file.")
    short: str = option("loop", "Clips that are too short: loop, hold, bounce, skip, or black frames.")
    steady: bool = option(False, "Of every clip the first frames and the middle; else chance decides.")
    flip: bool = option(False, "Mirror half of the clips.")
    crop: bool = option(False, "Cut pieces of the size out of clips at their own scale; else clips are made to fit.")
    images: int = option(0, "Pictures beside each clip, each with its own caption (LaVie).")
    focus_present: float = option(0.0, "Share of clips whose frames are taken as pictures (focus present).")
    dim: int = option(64, "Channels of a small network's first level.")
    multiples: str = option("1,2,4,8", "Channels of its levels, in multiples of dim.")
    blocks: str = option("", "ResNets of each level on its way down, and up; two each if not given.")
    target: str = option("v", "What is predicted: eps, x0, v or flow.")
    schedule: str = option("cosine", "Noise: cosine, linear or zero-snr.")
    levels: int = option(1000, "Noise levels.")
    loss: str = option("l2", "l1, l2 or huber.")
    min_snr: float = option(5.0, "Gamma of min-SNR weights; 0: off.")
    threshold: float = option(1.0, "Samples: 1 clips x0 to -1..1, below 1 a percentile (dynamic thresholding), 0: off.")
    cfg_dropout: float = option(0.1, "Share of captions left out, for classifier-free guidance.")
    steps: int = option(10000, "Optimiser steps.")
    batch_size: int = option(8, "Clips a step, of one process.")
    gradient_accumulation: int = option(1, "Micro-batches a step; batch is that of one micro-batch.")
    learning_rate: float = option(3e-4, "Learning rate of AdamW.")
    warmup_steps: int = option(200, "Steps in which the rate rises.")
    decay: int = option(0, "Last steps, in which the rate falls to 0.")
    weight_decay: float = option(1e-3, "Of AdamW.")
    max_grad_norm: float = option(1.0, "Largest norm of the gradient; 0: any.")
    ema_decay: float = option(0.995, "Decay of the averaged weights, which are those kept.")
    ema_start: int = option(0, "Steps in which the averaged weights are a copy; 0: their decay rises from 0.")
    ema_every: int = option(1, "Steps between updates of the averaged weights.")
    lora: int = option(0, "Rank of adapters: the network itself stays frozen; 0: train all of it.")
    lora_layers: str = option("space", "Which layers get adapters: space, time, all, or globs with commas.")
    teach: str = option("", "Words a LoRA teaches, with commas; kept in its file.")
    mixed_precision: str = option("no", "no, bf16 or fp16.")
    cache: bool = option(False, "Keep latents and decoded clips in the out folder (no random crops or windows then).")
    workers: int = option(0, "Processes that decode.")
    save_every: int = option(500, "Steps between checkpoints.")
    keep_checkpoints: int = option(2, "Checkpoints kept.")
    sample_every: int = option(500, "Steps between sample grids; 0: none.")
    samples: int = option(4, "Videos in a grid.")
    guidance: float = option(3.0, "Classifier-free guidance of samples.")
    log: str = option("", "Also log to tensorboard, trackio or wandb.")
    seed: int = option(0, "Of weights, order, windows and noise.")

    def __post_init__(self) -> None:
        for least, names in LEAST.items():
            for name in names:
                if not getattr(self, name) >= least or getattr(self, name) == math.inf:
                    raise AnimaticError(f"{name} is {getattr(self, name)}; want {least:g} or more")
        for name in ("cfg_dropout", "focus_present", "ema_decay", "noise_augmentation", "min_noise", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise AnimaticError(f"{name} is {getattr(self, name)}; want 0 to 1")
        if not 0 < self.learning_rate < math.inf:
            raise AnimaticError(f"learning_rate is {self.learning_rate}; want more than 0")
        check_seed(self.seed)
        if self.decay > self.steps:
            raise AnimaticError(f"decay is {self.decay} of {self.steps} steps; want {self.steps} at most")
        if not self.data:
            raise AnimaticError("data is not given; want a folder of clips, .tar shards, hf:NAME or toy")
        self._refuse_unused()

    def _refuse_unused(self) -> None:
        """Raise where an option is given that the others leave without use."""
        if self.learn != "clips":
            if self.text not in ("auto", "none"):
                raise AnimaticError(f"text is {self.text!r}, but what learns to {self.learn} reads no text; want none")
            for name in ("images", "focus_present", "lora"):
                if getattr(self, name):
                    raise AnimaticError(f"{name} is {getattr(self, name)}, which --learn {self.learn} has no use for")
        elif self.noise_augmentation:
            raise AnimaticError(
                f"noise_augmentation is {self.noise_augmentation}, which only --learn upscale or interpolate has a use for"
            )
        if not self.lora:
            for name, unsaid in (("teach", ""), ("lora_layers", "space")):
                if getattr(self, name) != unsaid:
                    raise AnimaticError(f"{name} is {getattr(self, name)!r}, which only --lora RANK has a use for")
        if self.steady and self.crop:
            raise AnimaticError("steady and crop are given: pieces are cut out by chance; want one of the two")
        if self.flip and self.cache:
            raise AnimaticError("flip and cache are given: clips that are kept are not mirrored; want one of the two")

    @property
    def pixels(self) -> tuple[int, int]:
        """(width, height)."""
        parts = self.size.lower().split("x")
        if len(parts) > 2 or not all(p.isdigit() and int(p) for p in parts):
            raise AnimaticError(f"size is {self.size!r}; want SIDE or WIDTHxHEIGHT, such as 64 or 64x48")
        return int(parts[0]), int(parts[-1])

    @property
    def sizes(self) -> dict[str, Any]:
        """Of a small network, as it is built with; no `blocks` are its own habit."""
        blocks = self._numbers("blocks", "1,2,2") if self.blocks else ()
        return {"dim": self.dim, "multiples": self._numbers("multiples", "1,2,4,8"), "blocks": blocks}

    def _numbers(self, name: str, example: str) -> tuple[int, ...]:
        said: str = getattr(self, name)
        if not all(p.strip().isdigit() and int(p) for p in said.split(",")):
            raise AnimaticError(f"{name} are {said!r}; want numbers with commas, such as {example}")
        return tuple(int(p) for p in said.split(","))

    def rate_at(self, step: int) -> float:
        fall = (self.steps - step) / self.decay if self.decay else 1.0
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps), fall)
