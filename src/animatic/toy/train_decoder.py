"""The training of the codec of `mini-2`: components of 4 x 4 pixels, and a refiner that removes block artefacts.

    python -m animatic.toy.train_decoder --out runs/out/mini/decoder

The components are fitted to frames of the toy world. The refiner, a small decoder, is trained on latents of
such frames, with a little noise as generated latents have, to predict the residual of the linear decoder. A run resumes
from its last checkpoint.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ..backbones.codec import PatchCodec
from ..training.loop import Trainer
from ..training.settings import TrainingSettings
from .captions import invent
from .curriculum import images_and_cover
from .mini import CHANNELS, PATCH, build
from .world import SIZE, draw

WIDTH = 64  # channels of the refiner
FITTED = 2000  # frames that the components are fitted to
LEVEL = 1.0  # root mean square of the latents; with 0.5 noise of generated latents is left in the picture
MAX_NOISE = 0.1  # largest standard deviation of the noise on latents
OBJECT_WEIGHT = 4.0  # additional weight of a pixel of an object; every pixel has weight 1
HELD_OUT = 200  # frames on which PSNR is measured


def frames(seed: str, count: int) -> tuple[Tensor, Tensor]:
    """Images `[count, 3, SIZE, SIZE]` in -1..1, and their cover by objects `[count, 1, SIZE, SIZE]` in 0..1."""
    rng = random.Random(seed)
    drawn = [draw(invent(rng, 1), 1) for _ in range(count)]
    return images_and_cover(drawn)


def psnr(decoded: Tensor, images: Tensor, weight: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in -1..1, with the weights `weight` `[image, 1, height, width]`."""
    squared = (decoded.clamp(-1, 1) - images).square() / 4  # in 0..1
    error = (squared * weight).sum() / (3 * weight.sum())
    return float(-10 * error.log10())


def new_codec(seed: int = 0) -> PatchCodec:
    """A codec without a refiner, fitted to frames in which a pixel of an object has the weight of five."""
    images, cover = frames(f"{seed}/codec", FITTED)
    return PatchCodec(PATCH, CHANNELS).fit(images, 1 + OBJECT_WEIGHT * cover, level=LEVEL)


def refined(codec: PatchCodec, width: int = WIDTH) -> PatchCodec:
    """The codec with an untrained refiner, whose parameters alone are trained."""
    fresh = PatchCodec(codec.patch, codec.channels, codec.config["scaling_factor"], width)

    # The refiner's weights are missing in the file, hence not strict.
    fresh.load_state_dict(codec.state_dict(), strict=False)
    for name, parameter in fresh.named_parameters():
        parameter.requires_grad_(name.startswith("refiner."))
    return fresh


class DecoderTrainer(Trainer):
    """A run in the folder `out`; it writes the refined codec to `vae` there."""

    def __init__(self, out: Path, steps: int, batch_size: int = 16, learning_rate: float = 1e-3, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(
            TrainingSettings(
                data="toy",
                out=str(out),
                model="decoder",
                frames=1,
                size=str(SIZE),
                batch_size=batch_size,
                steps=steps,
                learning_rate=learning_rate,
                warmup_steps=50,
                decay=steps * 2 // 3,
                ema_decay=0.995,
                save_every=250,
                sample_every=500,
                seed=seed,
            )
        )

        # Only the refiner is trained; the rest of the codec stays as it is.
        self.codec = refined(new_codec(seed))
        self.model = build(self.codec, seed)
        self.train_module = self.codec.refiner
        self.held_out = frames("held out", HELD_OUT)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        seed = self.settings.seed
        for step in itertools.count(self.step):
            yield frames(f"{seed}/{step}", self.settings.batch_size)

    def loss(self, train_module: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean absolute error, which keeps edges sharper than the squared error, with a larger weight on objects."""
        images, cover = batch
        torch.manual_seed(self.step)

        # Noise as generated latents have it; sigma is drawn for each image.
        clean = self.codec.encode(images).latents
        sigma = MAX_NOISE * torch.rand(len(images), 1, 1, 1)
        latents = clean + sigma * torch.randn_like(clean)

        error = (self.codec.decode(latents).sample - images).abs()
        weight = 1 + OBJECT_WEIGHT * cover
        return (error * weight).sum() / (3 * weight.sum())

    @torch.no_grad()
    def sample(self) -> None:
        images, cover = self.held_out
        latents = self.codec.encode(images).latents
        decoded = self.codec.decode(latents).sample
        overall = psnr(decoded, images, torch.ones_like(cover))
        objects = psnr(decoded, images, cover)
        print(f"step {self.step}: PSNR {overall:.2f} dB, on objects {objects:.2f} dB", flush=True)

    def finish(self) -> Path:
        self.sample()
        self.codec.half().save_pretrained(self.out / "vae")
        return self.out / "vae"


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and the codec; a run in it is resumed.")],
    steps: int = 4000,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch")] = 16,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = 1e-3,
    seed: int = 0,
) -> None:
    print(DecoderTrainer(out, steps, batch_size, learning_rate, seed).train())


if __name__ == "__main__":
    typer.run(main)
