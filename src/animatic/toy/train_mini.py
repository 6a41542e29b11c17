"""The next `mini`: the present weights, fine-tuned on the world off the grid with 16 frames.

    python -m animatic.toy.train_mini --out runs/out/mini2

Latents and network are those of the present `mini`, and its vocabulary is extended: it must learn new nouns, and places
between the cells of the grid. It trains on single frames first, without the temporal layers, then on clips and single
frames in turn. A run resumes from its last checkpoint; every `--export-every` steps the averaged weights are written to
the folder `mini` in `--out`, which `animatic.backbones.load` reads.
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

from ..backbones import load
from ..backbones.components import Components
from ..backbones.folder import read_network
from ..backbones.unet3d import UNet3D
from ..core.backbone import Geometry
from ..core.text import ClipText
from ..prompting.english import plurals
from ..training.settings import TrainingSettings
from .captions import ING, THIRD, VERBS, invent
from .curriculum import CurriculumConfig, TrainBatch, stacked
from .grid_world import NOUNS as OLD_NOUNS
from .mini import DEFAULTS, GridMiniTrainer, disable_dropout
from .vocabulary import embed_new_words, with_words
from .world import FPS, FRAMES, NOUNS, SIZE, draw

GEOMETRY = Geometry(FRAMES, SIZE, SIZE, channels=32, vae_spatial_ratio=8, fps=FPS, max_frames=64)


@dataclass(frozen=True)
class OffGridBatch(TrainBatch):
    """A batch of scenes of the world off the grid."""

    def draw(self) -> tuple[Tensor, Tensor]:
        return stacked([draw(scene, self.frames) for scene in self.scenes])


@dataclass(frozen=True)
class MiniCurriculum(CurriculumConfig):
    """The hyperparameters of the next `mini`: about ten hours of one CPU core."""

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
        """The batch of a step; it depends on the seed and the step alone."""
        rng = random.Random(f"{self.seed}/off-grid/{step}")
        return OffGridBatch(step, *self.drawn(step, rng, invent, FRAMES), rng)

    def settings(self, out: Path) -> TrainingSettings:
        return replace(
            super().settings(out), model="mini2", frames=FRAMES, save_every=100, sample_every=self.export_every
        )


def words_to_learn() -> list[str]:
    """Every word of the captions that is no token of the present `mini`."""
    nouns = [noun for noun in NOUNS if noun not in OLD_NOUNS]
    plural_nouns = [plurals(noun)[0] for noun in nouns]

    # Plurals and forms of verbs are tokens of their own.
    verbs = set(VERBS.values())
    third_person = [THIRD.get(verb, verb + "s") for verb in verbs]
    participles = [ING[verb] for verb in verbs]
    return sorted({*nouns, *plural_nouns, *third_person, *participles, "five"})


def start(seed: int = 0) -> UNet3D:
    """The present `mini` without its grounding, with embeddings for the new words, ready to train."""
    # Without the grounding, which is trained afterwards.
    present = load("mini", "cpu")
    folder = Path(str(files("animatic") / "weights" / "mini" / "unet"))
    unet = read_network(UNet3DConditionModel, folder, torch.float32)
    disable_dropout(unet)

    # The vocabulary grows; old words keep their embeddings.
    tokenizer = with_words(present.text.tokenizer, words_to_learn())
    encoder = present.text.encoder
    embed_new_words(encoder, tokenizer, list(OLD_NOUNS), seed)
    encoder.requires_grad_(True)

    text = ClipText("mini", tokenizer, encoder)
    words = tuple(NOUNS)
    return UNet3D("mini", unet, present.vae, text, present.scheduler, GEOMETRY, DEFAULTS, coordinates=True, words=words)


class MiniTrainer(GridMiniTrainer):
    """A run of `curriculum` in the folder `out`. Its models get the refined codec in `decoder/vae` there, if any."""

    exported = "mini"  # name of the model folder in `out`

    def __init__(self, curriculum: MiniCurriculum, out: Path, model: Components | None = None) -> None:
        super().__init__(curriculum, out, model or start(curriculum.seed))

    def sample(self) -> None:
        """Write the model with the averaged weights, completely or not at all: evaluation reads it during training."""
        final = self.out / self.exported
        partial = self.out / f".part-{self.exported}"
        shutil.rmtree(partial, ignore_errors=True)
        self.write(partial)

        # The refined codec has the same latents.
        refined_codec = self.out / "decoder" / "vae"
        if refined_codec.is_dir():
            shutil.copytree(refined_codec, partial / "vae", dirs_exist_ok=True)

        # The last step is quick: a reader finds the old model or the new one.
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)

    def finish(self) -> Path:
        self.sample()
        return self.out / self.exported


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    still_steps: int = MiniCurriculum.still_steps,
    clip_steps: int = MiniCurriculum.clip_steps,
    stills: int = MiniCurriculum.stills,
    clips: int = MiniCurriculum.clips,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = MiniCurriculum.learning_rate,
    decay: int = MiniCurriculum.decay,
    seed: int = MiniCurriculum.seed,
    export_every: int = MiniCurriculum.export_every,
    stop_at: Annotated[int | None, typer.Option(help="Step to stop at; the run can be resumed.")] = None,
) -> None:
    curriculum = MiniCurriculum(
        still_steps,
        clip_steps,
        stills,
        clips,
        learning_rate=learning_rate,
        decay=decay,
        seed=seed,
        export_every=export_every,
    )
    print(MiniTrainer(curriculum, out).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
