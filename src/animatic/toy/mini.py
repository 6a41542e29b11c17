"""`mini`: its network, its text encoder with a tokenizer of its own, its codec, and how it is trained.

    python -m animatic.toy.mini --out runs/out/mini

Single frames first, with the time layers left out, then clips. Resumes from its last checkpoint.
"""

from __future__ import annotations

import copy
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler, UNet3DConditionModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

from ..backbones.codec import PatchCodec
from ..backbones.components import Components
from ..backbones.small_model import save_model
from ..backbones.unet3d import UNet3D
from ..core.backbone import Geometry, ModelDefaults
from ..core.text import ClipText
from ..core.types import AttentionMapRequest
from ..training.loss import attention_loss, phrase_tokens
from ..training.temporal_layers import without_temporal_layers
from ..training.text_encoder import new_text_encoder, train_tokenizer
from . import grid_world as toyworld
from .curriculum import FRAMES, CurriculumConfig, CurriculumTrainer, TrainBatch
from .grid_captions import invent

LENGTH = 64  # tokens
WIDTH = 96  # of a token state
GEOMETRY = Geometry(FRAMES, toyworld.SIZE, toyworld.SIZE, channels=32, vae_spatial_ratio=8, fps=4.0, max_frames=32)
DEFAULTS = ModelDefaults(steps=25, guidance=4.0)


def build(seed: int = 0) -> UNet3D:
    """A fresh `mini`, its codec fitted, its networks untrained."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    unet = UNet3DConditionModel(
        sample_size=toyworld.GRID,
        in_channels=GEOMETRY.channels + 3,
        out_channels=GEOMETRY.channels,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(80, 80),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=16,
    )
    leave_nothing_out(unet)
    for module in unet.modules():
        if isinstance(module, TransformerTemporalModel):  # time layers begin as identities, as its convolutions do
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    tokenizer = tokenize(rng)
    encoder = new_text_encoder(tokenizer, WIDTH, heads=6)
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    text = ClipText("mini", tokenizer, encoder)
    codec = fit_codec(rng)
    words = tuple(toyworld.NOUNS)
    model = UNet3D("mini", unet, codec, text, scheduler, GEOMETRY, DEFAULTS, coordinates=True, words=words)
    model.family = "mini"
    return model


def leave_nothing_out(network: nn.Module) -> None:
    """No dropout: the world is endless, there is nothing to overfit."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def tokenize(rng: random.Random) -> Any:
    """Of toy captions: every word of theirs is one token."""
    return train_tokenizer([invent(rng, frames).prompt for frames in (1, FRAMES) for _ in range(4000)], LENGTH)


def fit_codec(rng: random.Random) -> PatchCodec:
    films = [toyworld.draw(invent(rng, 1), 1) for _ in range(2000)]
    images = torch.from_numpy(np.concatenate([video for video, _ in films])).movedim(-1, 1) / 127.5 - 1
    cover = torch.from_numpy(np.stack([cover.max(0) for _, cover in films]))
    return PatchCodec(GEOMETRY.vae_spatial_ratio, GEOMETRY.channels).fit(images, 1 + 4 * cover)


class GridMiniTrainer(CurriculumTrainer):
    """`mini` learns what words mean, from nothing or from `model`; leaves a model folder in half precision."""

    def __init__(self, plan: CurriculumConfig, out: Path, model: Components | None = None) -> None:
        super().__init__(plan, model or build(plan.seed), out)

    def losses(self, lesson: TrainBatch) -> tuple[Tensor, Tensor]:
        films, covers = (part.to(self.model.device) for part in lesson.draw())
        tokens, names = (part.to(films.device) for part in phrase_tokens(self.model.text, lesson.scenes))
        names &= torch.tensor([bool(c) for c in lesson.captions], device=films.device)[:, None, None]
        maps = AttentionMapRequest(tokens)
        with without_temporal_layers(self.model.unet) if lesson.step < self.curriculum.still_steps else nullcontext():
            error = self.error(lesson, films, covers, map_request=maps)
        named = (names[..., None, None, None] * covers[:, None]).amax(2)
        return error, attention_loss(maps.found, named, names.any(-1).to(named))

    def finish(self) -> Path:
        self.write(self.out / "mini")
        return self.out / "mini"

    def write(self, folder: Path) -> None:
        """The model as it is now, as a model folder in half precision."""
        self.model.hooks.call = None  # holds the graph of the last step, which cannot be copied
        made = copy.copy(self.model)
        made.unet, made.vae, made.text = (copy.deepcopy(p).half() for p in (made.unet, made.vae, made.text))
        save_model(folder, made)


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    still_steps: int = CurriculumConfig.still_steps,
    clip_steps: int = CurriculumConfig.clip_steps,
    stills: int = CurriculumConfig.stills,
    clips: int = CurriculumConfig.clips,
    rate: float = CurriculumConfig.learning_rate,
    decay: int = CurriculumConfig.decay,
    seed: int = CurriculumConfig.seed,
    stop_at: Annotated[int | None, typer.Option(help="Stop after this step, to be resumed.")] = None,
) -> None:
    plan = CurriculumConfig(still_steps, clip_steps, stills, clips, learning_rate=rate, decay=decay, seed=seed)
    print(GridMiniTrainer(plan, out).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
