"""The refiner of `mini`'s codec: a small decoder that smooths the seams between blocks and fills in what they lose.

    python -m animatic.toy.train_decoder --out runs/out/mini2/decoder

It sees latents of single frames of the world off the grid, a little noisy as generated ones are, and learns what the
transpose of the codec leaves wrong. Resumes from its last checkpoint.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from ..backbones import load
from ..backbones.codec import PatchCodec
from ..training.loop import Trainer
from ..training.settings import TrainingSettings
from .captions import invent
from .world import SIZE, draw

WIDTH = 128  # channels of the refiner
NOISE = 0.05  # most noise on the latents, whose root mean square is 0.5
OBJECTS = 4.0  # weight of a pixel of an object, beside 1 of every pixel
HELD = 200  # frames that PSNR is measured on


def frames(seed: str, count: int) -> tuple[Tensor, Tensor]:
    """Images `[count, 3, SIZE, SIZE]` in -1..1 and what of them is object `[count, 1, SIZE, SIZE]`, 0..1."""
    rng = random.Random(seed)
    drawn = [draw(invent(rng, 1), 1) for _ in range(count)]
    images = torch.from_numpy(np.concatenate([video for video, _ in drawn])).movedim(-1, 1) / 127.5 - 1
    return images, torch.from_numpy(np.stack([cover.max(0) for _, cover in drawn]))


def psnr(decoded: Tensor, images: Tensor, weight: Tensor) -> float:
    """Peak signal to noise ratio in dB of images in -1..1, every pixel with its `weight` `[n, 1, h, w]`."""
    error = ((decoded.clamp(-1, 1) - images).square() / 4 * weight).sum() / (3 * weight.sum())
    return float(-10 * error.log10())


def refined(codec: PatchCodec, width: int = WIDTH) -> PatchCodec:
    """The codec with an untrained refiner, which alone will learn."""
    fresh = PatchCodec(codec.patch, codec.channels, codec.config["scaling_factor"], width)
    fresh.load_state_dict(codec.state_dict(), strict=False)
    for name, parameter in fresh.named_parameters():
        parameter.requires_grad_(name.startswith("refiner."))
    return fresh


class DecoderTrainer(Trainer):
    """A run in the folder `out`; the codec stands in `vae` there."""

    def __init__(self, out: Path, steps: int, batch: int = 16, rate: float = 1e-3, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(
            TrainingSettings(
                data="toy", out=str(out), model="decoder", frames=1, size=str(SIZE), batch_size=batch, steps=steps,
                learning_rate=rate, warmup_steps=50, decay=steps * 2 // 3, ema_decay=0.995, save_every=250, sample_every=500, seed=seed,
            )
        )  # fmt: skip
        self.model = load("mini", "cpu")
        self.model.vae = self.codec = refined(self.model.vae)
        self.train_module = self.codec.refiner
        self.held = frames("held out", HELD)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (frames(f"{self.settings.seed}/{step}", self.settings.batch_size) for step in itertools.count(self.step))

    def loss(self, learner: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean absolute error, which leaves edges sharper than the squared one; objects count for more."""
        images, cover = batch
        torch.manual_seed(self.step)
        clean = self.codec.encode(images).latents
        sigma = NOISE * torch.rand(len(images), 1, 1, 1)
        latents = clean + sigma * torch.randn_like(clean)

        wrong = (self.codec.decode(latents).sample - images).abs()
        weight = 1 + OBJECTS * cover
        return (wrong * weight).sum() / (3 * weight.sum())

    @torch.no_grad()
    def sample(self) -> None:
        images, cover = self.held
        latents = self.codec.encode(images).latents
        decoded = self.codec.decode(latents).sample
        every, objects = psnr(decoded, images, torch.ones_like(cover)), psnr(decoded, images, cover)
        print(f"step {self.step}: PSNR {every:.2f} dB, on objects {objects:.2f} dB", flush=True)

    def finish(self) -> Path:
        self.sample()
        self.codec.half().save_pretrained(self.out / "vae")
        return self.out / "vae"


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and the codec; a run in it is resumed.")],
    steps: int = 4000,
    batch: int = 16,
    rate: float = 1e-3,
    seed: int = 0,
) -> None:
    print(DecoderTrainer(out, steps, batch, rate, seed).train())


if __name__ == "__main__":
    typer.run(main)
