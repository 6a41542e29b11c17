"""The settings of a training run. Every field is an option of `animatic train`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..core.options import option
from ..core.seeds import check_seed
from ..errors import AnimaticError

LEAST = {  # smallest allowed value -> the settings it is for
    1: (
        "frames", "steps", "batch_size", "gradient_accumulation", "save_every", "keep_checkpoints", "dim", "levels",
        "ema_every",
    ),
    0: (
        "images", "lora", "warmup_steps", "decay", "workers", "sample_every", "samples", "fps", "min_snr",
        "weight_decay", "guidance", "ema_start", "max_grad_norm",
    ),
}  # fmt: skip
FRACTIONS = ("cfg_dropout", "focus_present", "ema_decay", "noise_augmentation", "min_noise", "threshold")

RENAMED = {  # names in version 0.1 -> present names, in the files of a run and as options
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
    """Validated on construction: raises `AnimaticError` where a value is out of range or would have no effect."""

    data: str = option(
        "", "Training data: a folder of clips or .tar files, a file, hf:NAME[:SPLIT], or toy[:PIXELS[:BETWEEN]]."
    )
    out: str = option(
        "runs/out/train",
        "Folder for checkpoints, samples, log and model; a run found there is resumed.",
        flags=("--out", "-o"),
    )
    learn: str = option("clips", "Task: clips (generate from noise), interpolate:FACTOR or upscale:FACTOR.")
    min_noise: float = option(0.0, "Smallest noise level that is trained, as a fraction of all levels.")
    noise_augmentation: float = option(
        0.0, "Largest noise on the conditioning clip when upscaling or interpolating, 0 to 1 (Ho et al. 2022)."
    )
    model: str = option("small", "small, small-original, a config of a diffusers network (JSON), or a model folder.")
    text: str = option(
        "auto",
        "Conditioning: none, labels (classes by caption or folder), vectors:FILE, own (a small CLIP), "
        "bert:FOLDER_OR_ID, or auto.",
    )
    frames: int = option(16, "Frames in a clip; 1 trains on pictures.")
    size: str = option("64", "Size in pixels: SIDE or WIDTHxHEIGHT.")
    fps: float = option(0.0, "Frame rate to which clips are resampled; 0: the rate of each file.")
    short: str = option("loop", "Padding of clips that are too short: loop, hold, bounce, black, or skip them.")
    steady: bool = option(False, "Use the first window and the centre crop of each clip, not random ones.")
    flip: bool = option(False, "Mirror clips horizontally with probability 1/2.")
    crop: bool = option(False, "Random crops at the scale of the file; otherwise clips are resized to cover the size.")
    images: int = option(0, "Pictures trained jointly with each clip, each with its own caption (LaVie).")
    focus_present: float = option(0.0, "Fraction of clips whose frames do not attend to each other.")
    dim: int = option(64, "Channels at the first level of a small network.")
    multiples: str = option("1,2,4,8", "Channels at its levels, as multiples of dim.")
    blocks: str = option("", "ResNet blocks at each level; two each if not given.")
    target: str = option("v", "Prediction target: eps, x0, v or flow.")
    schedule: str = option("cosine", "Noise schedule: cosine, linear or zero-snr.")
    levels: int = option(1000, "Number of noise levels (timesteps).")
    loss: str = option("l2", "Loss: l1, l2 or huber.")
    min_snr: float = option(5.0, "Gamma of min-SNR loss weights (Hang et al. 2023); 0: uniform weights.")
    threshold: float = option(
        1.0, "Thresholding of x0 in samples: 1 clips to -1..1, below 1 is a dynamic percentile, 0: off."
    )
    cfg_dropout: float = option(0.1, "Fraction of captions dropped, for classifier-free guidance.")
    steps: int = option(10000, "Optimiser steps.")
    batch_size: int = option(8, "Clips in a micro-batch of one process.")
    gradient_accumulation: int = option(1, "Micro-batches accumulated for each optimiser step.")
    learning_rate: float = option(3e-4, "Learning rate of AdamW.")
    warmup_steps: int = option(200, "Steps of linear warm-up of the learning rate.")
    decay: int = option(0, "Last steps, in which the learning rate falls linearly to 0.")
    weight_decay: float = option(1e-3, "Weight decay of AdamW.")
    max_grad_norm: float = option(1.0, "Gradient clipping: the largest norm; 0: none.")
    ema_decay: float = option(0.995, "Decay of the exponential moving average of the weights, which is what is saved.")
    ema_start: int = option(0, "Steps in which the averaged weights are a copy; 0: the decay rises from 0.")
    ema_every: int = option(1, "Steps between updates of the averaged weights.")
    lora: int = option(0, "Rank of LoRA adapters, with the network frozen; 0: train the whole network.")
    lora_layers: str = option("space", "Layers with adapters: space, time, all, or glob patterns with commas.")
    teach: str = option("", "Trigger words of a LoRA, with commas; stored in its file.")
    mixed_precision: str = option("no", "Mixed precision: no, bf16 or fp16.")
    cache: bool = option(False, "Cache latents in the out folder; without random windows and crops.")
    workers: int = option(0, "Data loader processes.")
    save_every: int = option(500, "Steps between checkpoints.")
    keep_checkpoints: int = option(2, "Number of checkpoints kept.")
    sample_every: int = option(500, "Steps between grids of samples; 0: none.")
    samples: int = option(4, "Videos in a grid of samples.")
    guidance: float = option(3.0, "Classifier-free guidance scale of samples.")
    log: str = option("", "Also log to tensorboard, trackio or wandb.")
    seed: int = option(0, "Seed of weights, data order, windows and noise.")

    def __post_init__(self) -> None:
        for least, names in LEAST.items():
            for name in names:
                value = getattr(self, name)
                if not value >= least or value == math.inf:
                    raise AnimaticError(f"{name} is {value}; want {least:g} or more")

        # Probabilities, decays and parts of a whole.
        for name in FRACTIONS:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise AnimaticError(f"{name} is {value}; want 0 to 1")
        if not 0 < self.learning_rate < math.inf:
            raise AnimaticError(f"learning_rate is {self.learning_rate}; want more than 0")
        check_seed(self.seed)
        if self.decay > self.steps:
            raise AnimaticError(f"decay is {self.decay} of {self.steps} steps; want {self.steps} at most")
        if not self.data:
            raise AnimaticError("data is not given; want a folder of clips, .tar shards, hf:NAME or toy")
        self._check_combinations()

    def _check_combinations(self) -> None:
        """Raise `AnimaticError` where a setting would have no effect because of another one."""
        if self.learn != "clips":
            if self.text not in ("auto", "none"):
                raise AnimaticError(f"text is {self.text!r}, but --learn {self.learn} reads no text; want none")
            for name in ("images", "focus_present", "lora"):
                if getattr(self, name):
                    raise AnimaticError(f"{name} is {getattr(self, name)}, which --learn {self.learn} has no use for")
        elif self.noise_augmentation:
            raise AnimaticError(
                f"noise_augmentation is {self.noise_augmentation}, which only --learn upscale or interpolate "
                "has a use for"
            )

        if not self.lora:
            for name in ("teach", "lora_layers"):
                value = getattr(self, name)
                if value != getattr(TrainingSettings, name):
                    raise AnimaticError(f"{name} is {value!r}, which only --lora RANK has a use for")

        if self.steady and self.crop:
            raise AnimaticError("steady and crop are given: crop draws random pieces; want one of the two")
        if self.flip and self.cache:
            raise AnimaticError("flip and cache are given: cached clips are not mirrored; want one of the two")

    @property
    def pixels(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        parts = self.size.lower().split("x")
        are_positive = all(part.isdigit() and int(part) for part in parts)
        if len(parts) > 2 or not are_positive:
            raise AnimaticError(f"size is {self.size!r}; want SIDE or WIDTHxHEIGHT, such as 64 or 64x48")
        width = int(parts[0])
        height = int(parts[-1])
        return width, height

    @property
    def sizes(self) -> dict[str, Any]:
        """Constructor arguments of a small network: `dim`, `multiples` and `blocks`, () for its default."""
        blocks = self._numbers("blocks", "1,2,2") if self.blocks else ()
        return {"dim": self.dim, "multiples": self._numbers("multiples", "1,2,4,8"), "blocks": blocks}

    def _numbers(self, name: str, example: str) -> tuple[int, ...]:
        """The positive integers of a setting such as "1,2,4,8"."""
        # Read here, since the command line passes text.
        value: str = getattr(self, name)
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdigit() and int(part) for part in parts):
            raise AnimaticError(f"{name} are {value!r}; want numbers with commas, such as {example}")
        return tuple(int(part) for part in parts)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: linear warm-up, constant, linear decay to 0."""
        # Three straight lines, of which the lowest counts.
        warmup = (step + 1) / max(1, self.warmup_steps)
        decay = (self.steps - step) / self.decay if self.decay else 1.0
        return self.learning_rate * min(1.0, warmup, decay)
