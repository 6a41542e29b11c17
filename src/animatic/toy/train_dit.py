"""`mini-dit`: a small stock CogVideoX transformer on the latents of `mini`, to test methods for joint attention.

    python -m animatic.toy.train_dit --out runs/out/mini-dit

It is distilled from a trained model (`--teacher`): it has that model's text encoder, codec, nouns and size, and learns
to predict what that model predicts, the mean of many videos, where the noise drawn for one video leads to that video
alone; its blocks learn that model's features (`alignment`). Its attention is supervised with the places of the objects,
as with `mini-2`: without that, networks of this size do not follow a prompt. A run resumes from its last checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import CogVideoXTransformer3DModel
from torch import Tensor

from ..backbones import load
from ..backbones.cogvideox import CogVideoX
from ..backbones.components import Components
from ..core.attention import fused_attention
from ..core.model_options import MODEL_OF_WORDS
from ..core.text import ClipText
from ..core.types import Branch, Conditioning, Step
from .alignment import Alignment
from .curriculum import CurriculumConfig, TrainBatch
from .mini import WIDTH
from .train_mini import MiniTrainer
from .world import known_nouns

TOKEN = 1  # cells on the side of a token, which has one frame
TEXT = 48  # tokens of a prompt
HEADS, HEAD_WIDTH = 6, 32
ALIGNMENT_WEIGHT = 0.1


@dataclass(frozen=True)
class DitCurriculum(CurriculumConfig):
    """The hyperparameters of `mini-dit`."""

    still_steps: int = 5000
    clip_steps: int = 5000
    stills: int = 32
    clips: int = 4
    still_fraction: float = 0.5
    learning_rate: float = 5e-4
    warmup_steps: int = 100
    decay: int = 8000
    box_dropout: float = 1.0  # of all scenes: it learns words
    timestep_exponent: float = 0.9


def fresh(teacher: Components, seed: int = 0) -> CogVideoX:
    """A `mini-dit` with random weights, on the codec of `teacher` and with a copy of its text encoder."""
    tokenizer = copy.deepcopy(teacher.text.tokenizer)
    tokenizer.model_max_length = TEXT
    text = ClipText("mini-dit", tokenizer, copy.deepcopy(teacher.text.encoder))
    text.requires_grad_(True)  # it is trained with the network
    geometry = teacher.geometry
    torch.manual_seed(seed)
    network = CogVideoXTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        in_channels=geometry.channels,
        out_channels=geometry.channels,
        time_embed_dim=128,
        text_embed_dim=WIDTH,
        num_layers=7,
        sample_width=geometry.width // geometry.vae_spatial_ratio,
        sample_height=geometry.height // geometry.vae_spatial_ratio,
        sample_frames=geometry.frames,
        patch_size=TOKEN,
        temporal_compression_ratio=1,
        max_text_seq_length=TEXT,
        spatial_interpolation_scale=1.0,
    )
    defaults = replace(teacher.defaults, method="lvd")  # it has no layers that read boxes
    words = known_nouns(teacher.words)
    return CogVideoX("mini-dit", network, teacher.vae, text, teacher.scheduler, geometry, defaults, words=words)


class DitTrainer(MiniTrainer):
    """A run of `curriculum` in the folder `out`; `teacher` is the name or folder of the model it is distilled from."""

    exported = "mini-dit"

    def __init__(self, curriculum: DitCurriculum, out: Path, teacher: str = MODEL_OF_WORDS) -> None:
        self.teacher = load(teacher, "cpu")
        self.teacher.unet.requires_grad_(False)
        super().__init__(curriculum, out, fresh(self.teacher, curriculum.seed))

        # Trained with the network, and no part of the model.
        self.alignment = Alignment(self.model.unet, self.teacher.unet, HEADS * HEAD_WIDTH)
        self.train_module.alignment = self.alignment

    def batches(self) -> Iterator[TrainBatch]:
        """Those of the curriculum; a prompt of more tokens than the model reads is cut to the names of its objects."""
        text = self.model.text
        for batch in super().batches():
            scenes, captions = list(batch.scenes), list(batch.captions)
            for i, scene in enumerate(scenes):
                if len(text.tokenizer(scene.prompt)["input_ids"]) > text.limit:
                    names = ", ".join(track.phrase for track in scene.tracks)
                    scenes[i] = replace(scene, prompt=names)
                    captions[i] = captions[i] and names
            yield replace(batch, scenes=scenes, captions=captions)

    @torch.no_grad()
    def target(self, batch: TrainBatch, noisy: Tensor, t: Tensor, drawn: Tensor) -> Tensor:
        teacher = self.teacher.to(noisy.device)
        branches = tuple(Branch(sample=i) for i in range(len(noisy)))
        cond = Conditioning(teacher.text(batch.captions), branches)
        return teacher(noisy, Step(0, 1, t), cond, fused_attention).float()

    def further_error(self, any_object: Tensor) -> Tensor:
        geometry = self.model.geometry
        cells = geometry.height // geometry.vae_spatial_ratio, geometry.width // geometry.vae_spatial_ratio
        alignment = self.alignment.loss(any_object, cells)
        self.last_values["alignment"] = round(alignment.item(), 4)
        return ALIGNMENT_WEIGHT * alignment


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    teacher: Annotated[str, typer.Option(help="Trained model that it is distilled from.")] = MODEL_OF_WORDS,
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
    print(DitTrainer(curriculum, out, teacher).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
