"""`mini-dit`: a small stock CogVideoX transformer on the latents of `mini`, to test methods for joint attention.

    python -m animatic.toy.train_dit --out runs/out/mini-dit --text runs/out/mini/mini

It begins with the text encoder of a trained `mini` (`--text`); its network has random weights. Its attention is
supervised with the places of the objects, as with `mini`: without that, networks of this size do not follow a prompt.
Meant for a GPU; a CPU needs days. A run resumes from its last checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import CogVideoXTransformer3DModel

from ..backbones import load
from ..backbones.cogvideox import CogVideoX
from .curriculum import CurriculumConfig
from .mini import DEFAULTS, GEOMETRY, LENGTH, WIDTH
from .train_mini import MiniTrainer
from .world import FRAMES, NOUNS, SIZE

TOKEN = 2  # cells on the side of a token, which has one frame


@dataclass(frozen=True)
class DitCurriculum(CurriculumConfig):
    """The hyperparameters of `mini-dit`."""

    still_steps: int = 20000
    clip_steps: int = 60000
    stills: int = 128
    clips: int = 16
    learning_rate: float = 6e-4
    warmup_steps: int = 1000
    decay: int = 30000
    box_dropout: float = 1.0  # of all scenes: it learns words


def fresh(text: str = "mini", seed: int = 0) -> CogVideoX:
    """A `mini-dit` with random weights.

    Its text encoder and codec are those of the model `text`.
    """
    mini = load(text, "cpu")

    # The text encoder is trained with the network.
    mini.text.requires_grad_(True)
    torch.manual_seed(seed)
    cell = mini.geometry.vae_spatial_ratio
    geometry = replace(GEOMETRY, channels=mini.geometry.channels, vae_spatial_ratio=cell)
    network = CogVideoXTransformer3DModel(
        num_attention_heads=6,
        attention_head_dim=32,
        in_channels=geometry.channels,
        out_channels=geometry.channels,
        time_embed_dim=128,
        text_embed_dim=WIDTH,
        num_layers=7,
        sample_width=SIZE // cell,
        sample_height=SIZE // cell,
        sample_frames=FRAMES,
        patch_size=TOKEN,
        temporal_compression_ratio=1,
        max_text_seq_length=LENGTH,
        spatial_interpolation_scale=1.0,
    )
    words = tuple(NOUNS)
    defaults = replace(DEFAULTS, method="lvd")  # it has no layers that read boxes
    return CogVideoX("mini-dit", network, mini.vae, mini.text, mini.scheduler, geometry, defaults, words=words)


class DitTrainer(MiniTrainer):
    """A run of `curriculum` in the folder `out`; `text` is the model whose text encoder and codec it begins with."""

    exported = "mini-dit"

    def __init__(self, curriculum: DitCurriculum, out: Path, text: str = "mini") -> None:
        super().__init__(curriculum, out, fresh(text, curriculum.seed))


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    text: Annotated[str, typer.Option(help="A trained model whose text encoder and codec it begins with.")] = "mini",
    still_steps: int = DitCurriculum.still_steps,
    clip_steps: int = DitCurriculum.clip_steps,
    stills: int = DitCurriculum.stills,
    clips: int = DitCurriculum.clips,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = DitCurriculum.learning_rate,
    decay: int = DitCurriculum.decay,
    mixed_precision: Annotated[
        str, typer.Option(help="no, or bf16: quicker where the processor multiplies in it.")
    ] = DitCurriculum.mixed_precision,
    seed: int = DitCurriculum.seed,
    stop_at: Annotated[int | None, typer.Option(help="Step to stop at; the run can be resumed.")] = None,
) -> None:
    curriculum = DitCurriculum(
        still_steps,
        clip_steps,
        stills,
        clips,
        learning_rate=learning_rate,
        decay=decay,
        mixed_precision=mixed_precision,
        seed=seed,
    )
    print(DitTrainer(curriculum, out, text).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
