"""The next `mini`: today's weights taken on to the world off the grid, in 16 frames.

    python -m animatic.toy.train_mini --out runs/out/mini2

Latents, network and words are those of today's `mini`, with some words more: what it knows of looks and language holds,
and what it must learn is places between the cells. Single frames first, with the time layers left out, then clips and
single frames in turn. Resumes from its last checkpoint; every `--export-every` steps the averaged weights so far are
written to the folder `mini` in `--out`, which `animatic.backbones.load` reads.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import UNet3DConditionModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..backbones import load
from ..backbones.components import Components
from ..backbones.folder import read_network
from ..backbones.unet3d import UNet3D
from ..core.backbone import Geometry
from ..core.text import ClipText
from ..prompting.english import plurals
from ..training.settings import TrainingSettings
from .captions import ING, THIRD, VERBS, invent
from .curriculum import CurriculumConfig, TrainBatch
from .grid_world import NOUNS as OLD_NOUNS
from .mini import DEFAULTS, GridMiniTrainer, leave_nothing_out
from .vocabulary import embed_new_words, with_words
from .world import FPS, FRAMES, NOUNS, SIZE, draw

GEOMETRY = Geometry(FRAMES, SIZE, SIZE, channels=32, vae_spatial_ratio=8, fps=FPS, max_frames=64)


@dataclass(frozen=True)
class OffGridBatch(TrainBatch):
    """Scenes of the world off the grid."""

    def draw(self) -> tuple[Tensor, Tensor]:
        drawn = [draw(scene, self.frames) for scene in self.scenes]
        videos, covers = ([torch.from_numpy(part) for part in parts] for parts in zip(*drawn, strict=True))
        return torch.stack(videos), pad_sequence(covers, batch_first=True)


@dataclass(frozen=True)
class MiniCurriculum(CurriculumConfig):
    """How the next `mini` is trained; see `Plan` for the fields. About ten hours of one CPU core."""

    still_steps: int = 6000
    clip_steps: int = 50000
    clips: int = 4
    still_fraction: float = 0.4
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    decay: int = 20000
    ema_decay: float = 0.9995
    export_every: int = 500

    def batch(self, step: int) -> OffGridBatch:
        """Hangs on the seed and the step alone."""
        rng = random.Random(f"{self.seed}/off-grid/{step}")
        noise = rng.getrandbits(63)
        still = step < self.still_steps or rng.random() < self.still_fraction
        count, frames = (self.stills, 1) if still else (self.clips, FRAMES)
        scenes = [invent(rng, frames) for _ in range(count)]
        captions = ["" if rng.random() < self.cfg_dropout else scene.prompt for scene in scenes]
        return OffGridBatch(step, noise, frames, scenes, captions, rng)

    def settings(self, out: Path) -> TrainingSettings:
        return replace(
            super().settings(out), model="mini2", frames=FRAMES, save_every=100, sample_every=self.export_every
        )


def words_to_learn() -> list[str]:
    """Every word of the captions that today's `mini` has no token for."""
    nouns = [noun for noun in NOUNS if noun not in OLD_NOUNS]
    verbs = set(VERBS.values())
    forms = [*(THIRD.get(verb, verb + "s") for verb in verbs), *(ING[verb] for verb in verbs)]
    return sorted({*nouns, *(plurals(noun)[0] for noun in nouns), *forms, "five"})


def start(seed: int = 0) -> UNet3D:
    """Today's `mini` without its grounding, with embeddings for the new words, ready to learn."""
    today = load("mini", "cpu")
    unet = read_network(UNet3DConditionModel, Path(str(files("animatic") / "weights" / "mini" / "unet")), torch.float32)
    leave_nothing_out(unet)

    tokenizer, encoder = with_words(today.text.tokenizer, words_to_learn()), today.text.encoder
    embed_new_words(encoder, tokenizer, list(OLD_NOUNS), seed)
    encoder.requires_grad_(True)

    text = ClipText("mini", tokenizer, encoder)
    words = tuple(NOUNS)
    return UNet3D("mini", unet, today.vae, text, today.scheduler, GEOMETRY, DEFAULTS, coordinates=True, words=words)


class MiniTrainer(GridMiniTrainer):
    """A run of a curriculum in the folder `out`. A refined codec in `decoder/vae` there is what its models get."""

    exported = "mini"  # the model's folder in `out`

    def __init__(self, curriculum: MiniCurriculum, out: Path, model: Components | None = None) -> None:
        super().__init__(curriculum, out, model or start(curriculum.seed))

    def sample(self) -> None:
        """Write the averaged weights so far, whole or not at all: evaluation reads them while training goes on."""
        final, part = self.out / self.exported, self.out / f".part-{self.exported}"
        refined = self.out / "decoder" / "vae"
        shutil.rmtree(part, ignore_errors=True)
        self.write(part)
        if refined.is_dir():  # its latents are the same
            shutil.copytree(refined, part / "vae", dirs_exist_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)

    def finish(self) -> Path:
        self.sample()
        return self.out / self.exported


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    still_steps: int = MiniCurriculum.still_steps,
    clip_steps: int = MiniCurriculum.clip_steps,
    stills: int = MiniCurriculum.stills,
    clips: int = MiniCurriculum.clips,
    rate: float = MiniCurriculum.learning_rate,
    decay: int = MiniCurriculum.decay,
    seed: int = MiniCurriculum.seed,
    export_every: int = MiniCurriculum.export_every,
    stop_at: Annotated[int | None, typer.Option(help="Stop after this step, to be resumed.")] = None,
) -> None:
    curriculum = MiniCurriculum(
        still_steps, clip_steps, stills, clips, learning_rate=rate, decay=decay, seed=seed, export_every=export_every
    )
    print(MiniTrainer(curriculum, out).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
