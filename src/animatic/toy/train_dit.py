"""`mini-dit`: a small stock CogVideoX transformer on the latents of `mini`, to test methods for joint attention.

    python -m animatic.toy.train_dit --out runs/out/mini-dit

It is distilled from a trained model (`--teacher`): it has that model's text encoder, codec, nouns and size, and learns
to predict what that model predicts with classifier-free guidance, so that it needs none itself (Meng et al. 2023,
https://arxiv.org/abs/2210.03142). Half of what it learns from are noised scenes, where its blocks also learn the
teacher's features (`alignment`) and its attention the places of the objects, as with `mini-2`: without that, networks
of this size do not follow a prompt. The other half are states of its own sampling runs (`trajectories`). A run resumes
from its last checkpoint.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
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
from ..core.types import AttentionMapRequest, Branch, Conditioning, Step
from ..scene import Scene
from ..training.loss import weighted_mse
from .alignment import Alignment
from .captions import invent
from .curriculum import CurriculumConfig, TrainBatch
from .mini import WIDTH
from .train_mini import MiniTrainer
from .trajectories import Trajectories
from .world import draw, known_nouns

TOKEN = 1  # cells on the side of a token, which has one frame
TEXT = 48  # tokens of a prompt
HEADS, HEAD_WIDTH = 6, 32
ALIGNMENT_WEIGHT = 0.1
GUIDANCE = 2.0  # scale of the teacher's classifier-free guidance
RUNS = 16  # sampling runs for each sample of a batch


@dataclass(frozen=True)
class DitCurriculum(CurriculumConfig):
    """The hyperparameters of `mini-dit`."""

    still_steps: int = 5000
    clip_steps: int = 5000
    stills: int = 16  # and as many states of its own sampling runs
    clips: int = 2
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
    # It has the teacher's guidance inside, and no layers that read boxes.
    defaults = replace(teacher.defaults, guidance=1.0, guidance_interval=(0.0, 1.0), method="layout-attention")
    words = known_nouns(teacher.words)
    model = CogVideoX("mini-dit", network, teacher.vae, text, teacher.scheduler, geometry, defaults, words=words)
    model.family = teacher.family
    return model


def predicted(model: Components, noisy: Tensor, t: Tensor, captions: Sequence[str]) -> Tensor:
    """A model's prediction for latents `[sample, channel, frame, height, width]` at timesteps `t` `[sample]`."""
    branches = tuple(Branch(sample=i) for i in range(len(noisy)))
    cond = Conditioning(model.text(captions), branches)
    return model(noisy, Step(0, 1, t), cond, fused_attention).float()


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

        # By the frames of their samples; each process has its own.
        self.trajectories: dict[int, Trajectories] = {}

    def batches(self) -> Iterator[TrainBatch]:
        """Those of the curriculum, with prompts that the model can read."""
        for batch in super().batches():
            scenes = [self._readable(scene) for scene in batch.scenes]
            captions = [scene.prompt if caption else "" for scene, caption in zip(scenes, batch.captions, strict=True)]
            yield replace(batch, scenes=scenes, captions=captions)

    def _readable(self, scene: Scene) -> Scene:
        """The scene; a prompt of more tokens than the model reads is cut to the names of its objects."""
        text = self.model.text
        if len(text.tokenizer(scene.prompt)["input_ids"]) <= text.limit:
            return scene
        names = ", ".join(track.phrase for track in scene.tracks)
        return replace(scene, prompt=names)

    def target(self, batch: TrainBatch, noisy: Tensor, t: Tensor, drawn: Tensor) -> Tensor:
        guided, _ = self.guided(noisy, t, batch.captions)
        return guided

    @torch.no_grad()
    def guided(self, noisy: Tensor, t: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The teacher's prediction with classifier-free guidance, and the effect that the captions have without it.

        Both `[sample, channel, frame, height, width]`, as `noisy`; `t`: timesteps, `[sample]`.
        """
        # In one pass, the captioned half first.
        teacher = self.teacher.to(noisy.device)
        without_captions = [""] * len(noisy)
        prediction = predicted(teacher, torch.cat([noisy, noisy]), torch.cat([t, t]), [*captions, *without_captions])
        with_caption, without = prediction.chunk(2)
        effect = with_caption - without
        return without + GUIDANCE * effect, effect

    def error(
        self,
        batch: TrainBatch,
        videos: Tensor,
        covers: Tensor,
        extra: Mapping[str, Tensor] | None = None,
        map_request: AttentionMapRequest | None = None,
    ) -> Tensor:
        """The error for the noised scenes of a batch, what their features are off by, and that for sampling runs."""
        of_scenes = super().error(batch, videos, covers, extra, map_request)

        # The features are those of the last pass: before the runs' own.
        geometry = self.model.geometry
        cells = geometry.height // geometry.vae_spatial_ratio, geometry.width // geometry.vae_spatial_ratio
        alignment = self.alignment.loss(covers.amax(1), cells)

        # As many states of runs as there are scenes.
        of_runs = self.error_of_runs(batch.frames, len(videos))
        self.last_values["alignment"] = round(alignment.item(), 4)
        self.last_values["error of runs"] = round(of_runs.item(), 4)
        return of_scenes + ALIGNMENT_WEIGHT * alignment + of_runs

    def error_of_runs(self, frames: int, count: int) -> Tensor:
        """The velocity error for the states of `count` sampling runs, which then go one step further."""
        device = self.accelerator.device
        if frames not in self.trajectories:
            self.trajectories[frames] = self._begun(RUNS * count, frames)
        trajectories = self.trajectories[frames]
        runs = trajectories.take(count)
        states = torch.stack([run.state for run in runs]).to(device)
        t = trajectories.timesteps(runs).to(device)
        captions = [run.caption for run in runs]

        # What it predicts leads to the states of the next step.
        prediction = predicted(self.model, states, t, captions)
        trajectories.put(runs, prediction.detach())

        # No scene says where the objects are going to be: they are taken to be where the caption has an effect.
        target, effect = self.guided(states, t, captions)
        power = effect.square().mean(1)
        objects = power / power.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)
        signal, _ = self.process.signal_and_noise(t)
        return weighted_mse(prediction, target, objects, signal.flatten().square())

    def _begun(self, count: int, frames: int) -> Trajectories:
        """`count` sampling runs of random scenes that the model knows."""
        rng = random.Random(f"{self.curriculum.seed}/runs/{self.step}/{self.accelerator.process_index}")
        nouns = known_nouns(self.model.words)
        device = self.accelerator.device

        def scene() -> tuple[str, Tensor]:
            invented = invent(rng, frames, is_coarse=True, nouns=nouns)
            video, _ = draw(invented, frames)
            pixels = torch.from_numpy(video)[None].to(device)
            with torch.autocast(device.type, enabled=False):
                latents = self.model.to_latents(pixels)
            return self._readable(invented).prompt, latents[0].cpu()

        return Trajectories(count, self.process, scene, rng)


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
