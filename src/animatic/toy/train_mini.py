"""The next `mini`: 16 frames of the world off the grid, on latents of 4 x 4 pixels.

    python -m animatic.toy.train_mini --out runs/out/mini2

An object between the cells of the latents looks different at each of its offsets: 64 of them with the cells of the
present `mini`, 16 here. Attention stays at 8 x 8 and 4 x 4 cells: a further level outside, without attention, draws.
The inner levels and the words begin as those of a trained model (`--inner`), and new words are added.

It trains on single frames first, without the temporal layers, then on clips and single frames in turn. A run resumes
from its last checkpoint; every `--export-every` steps the averaged weights are written to the folder `mini` in `--out`,
which `animatic.backbones.load` reads.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import UNet3DConditionModel
from torch import Tensor, nn

from ..backbones import load
from ..backbones.codec import PatchCodec
from ..backbones.components import Components
from ..backbones.grounding import is_grounding
from ..backbones.unet3d import UNet3D
from ..core.backbone import Geometry
from ..core.text import ClipText
from ..prompting.english import plurals
from ..training.settings import TrainingSettings
from .captions import ING, THIRD, VERBS, invent
from .curriculum import CurriculumConfig, TrainBatch, stacked
from .grid_world import NOUNS as OLD_NOUNS
from .mini import DEFAULTS, WIDTH, GridMiniTrainer, disable_dropout, temporal_layers_as_identities
from .train_decoder import CHANNELS, PATCH, new_codec
from .vocabulary import embed_new_words, with_words
from .world import FPS, FRAMES, NOUNS, SIZE, draw

GEOMETRY = Geometry(FRAMES, SIZE, SIZE, channels=CHANNELS, vae_spatial_ratio=PATCH, fps=FPS, max_frames=64)


@dataclass(frozen=True)
class OffGridBatch(TrainBatch):
    """A batch of scenes of the world off the grid."""

    def draw(self) -> tuple[Tensor, Tensor]:
        return stacked([draw(scene, self.frames) for scene in self.scenes])


@dataclass(frozen=True)
class MiniCurriculum(CurriculumConfig):
    """The hyperparameters of the next `mini`; by what its steps cost, some nine hours of one CPU core."""

    still_steps: int = 8000
    clip_steps: int = 18000
    clips: int = 4
    still_fraction: float = 0.4
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    decay: int = 10000
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


def start(codec: PatchCodec, inner: str = "mini", seed: int = 0) -> UNet3D:
    """A model on the latents of `codec`, ready to train.

    `inner` is the model whose text encoder and attention levels it begins with: the present `mini`, without its
    grounding, or one that was trained further.
    """
    torch.manual_seed(seed)
    trained = load(inner, "cpu")
    unet = new_network()
    copy_inner_levels(trained.unet, unet, lambda name: not is_grounding(name))

    # The vocabulary grows; old words keep their embeddings.
    old_tokenizer = trained.text.tokenizer
    tokenizer = with_words(old_tokenizer, words_to_learn())
    encoder = trained.text.encoder
    if len(tokenizer) > len(old_tokenizer):
        embed_new_words(encoder, tokenizer, list(OLD_NOUNS), seed)
    encoder.requires_grad_(True)

    text = ClipText("mini", tokenizer, encoder)
    words = tuple(NOUNS)
    return UNet3D("mini", unet, codec, text, trained.scheduler, GEOMETRY, DEFAULTS, coordinates=True, words=words)


def new_network() -> UNet3DConditionModel:
    """The network with random weights: 16 x 16 cells without attention, 8 x 8 and 4 x 4 with it."""
    unet = UNet3DConditionModel(
        sample_size=SIZE // PATCH,
        in_channels=CHANNELS + 3,
        out_channels=CHANNELS,
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=(48, 80, 80),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=16,
    )
    disable_dropout(unet)
    temporal_layers_as_identities(unet)
    return unet


def copy_inner_levels(
    trained: nn.Module, network: nn.Module, wanted: Callable[[str], bool] = lambda name: True
) -> None:
    """Copy the `wanted` weights that fit of a network with the same levels, or all of them but the outermost.

    The embeddings of timesteps and cells stay as they are: to a new outermost level they mean something else.
    """
    fitting = network.state_dict()
    offset = len(network.down_blocks) - len(trained.down_blocks)  # pyright: ignore[reportArgumentType]
    for name, weight in trained.state_dict().items():
        part, *rest = name.split(".")
        is_inner = part in ("down_blocks", "mid_block", "up_blocks", "position_net")
        if not is_inner or "time_emb_proj" in name or not wanted(name):
            continue
        if part == "down_blocks":
            # Blocks are counted from outside on the way down, from inside on the way up.
            rest[0] = str(int(rest[0]) + offset)
        target = ".".join((part, *rest))
        if target in fitting and fitting[target].shape == weight.shape:
            fitting[target] = weight
    network.load_state_dict(fitting)


class MiniTrainer(GridMiniTrainer):
    """A run of `curriculum` in the folder `out`, with the codec in `decoder/vae` there if there is one."""

    exported = "mini"  # name of the model folder in `out`

    def __init__(
        self, curriculum: MiniCurriculum, out: Path, model: Components | None = None, inner: str = "mini"
    ) -> None:
        super().__init__(curriculum, out, model or start(codec_of(out, curriculum.seed), inner, curriculum.seed))

    def sample(self) -> None:
        """Write the model with the averaged weights, completely or not at all: evaluation reads it during training."""
        final = self.out / self.exported
        partial = self.out / f".part-{self.exported}"
        shutil.rmtree(partial, ignore_errors=True)
        self.write(partial)

        # The last step is quick: a reader finds the old model or the new one.
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)

    def finish(self) -> Path:
        self.sample()
        return self.out / self.exported


def codec_of(out: Path, seed: int = 0) -> PatchCodec:
    """The codec that `animatic.toy.train_decoder` left in the folder of a run, or one without a refiner."""
    trained = out / "decoder" / "vae"
    if trained.is_dir():
        return PatchCodec.from_pretrained(trained, torch_dtype=torch.float32)
    return new_codec(seed)


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    inner: Annotated[str, typer.Option(help="Model whose words and attention levels it begins with.")] = "mini",
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
    print(MiniTrainer(curriculum, out, inner=inner).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
