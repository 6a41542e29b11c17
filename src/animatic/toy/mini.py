"""`mini`: its network, its text encoder and tokenizer, its codec, and its training on the toy world on a grid.

    python -m animatic.toy.mini --out runs/out/mini

It trains on single frames first, without the temporal layers, then on clips. A run resumes from its last checkpoint.
"""

from __future__ import annotations

import copy
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

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
from .curriculum import FRAMES, CurriculumConfig, CurriculumTrainer, TrainBatch, images_and_cover
from .grid_captions import invent

LENGTH = 64  # tokens in a prompt
WIDTH = 96  # channels of a token state
GEOMETRY = Geometry(FRAMES, toyworld.SIZE, toyworld.SIZE, channels=32, vae_spatial_ratio=8, fps=4.0, max_frames=32)
DEFAULTS = ModelDefaults(steps=25, guidance=4.0)


def build(seed: int = 0) -> UNet3D:
    """A new `mini`: its codec is fitted, its networks have random weights."""
    torch.manual_seed(seed)
    rng = random.Random(seed)

    # The network.
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
    disable_dropout(unet)
    temporal_layers_as_identities(unet)

    # Text encoder, scheduler and codec.
    tokenizer = new_tokenizer(rng)
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


def disable_dropout(network: nn.Module) -> None:
    """Set all dropout to 0: the toy world has endless scenes, so that there is no overfitting."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def temporal_layers_as_identities(network: nn.Module) -> None:
    """Let temporal transformers add nothing until they are trained, as temporal convolutions do."""
    for module in network.modules():
        if isinstance(module, TransformerTemporalModel):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)


def new_tokenizer(rng: random.Random) -> Any:
    """A tokenizer trained on toy captions, each word of which is one token."""
    captions = []
    for frames in (1, FRAMES):
        captions += [invent(rng, frames).prompt for _ in range(4000)]
    return train_tokenizer(captions, LENGTH)


def fit_codec(rng: random.Random) -> PatchCodec:
    """The codec, fitted to single frames in which a pixel of an object has five times the weight of the background."""
    drawn = [toyworld.draw(invent(rng, 1), 1) for _ in range(2000)]
    images, cover = images_and_cover(drawn)
    codec = PatchCodec(GEOMETRY.vae_spatial_ratio, GEOMETRY.channels)
    return codec.fit(images, 1 + 4 * cover)


class GridMiniTrainer(CurriculumTrainer):
    """Trains `mini` from random weights, or `model`; leaves a model folder in half precision."""

    def __init__(self, curriculum: CurriculumConfig, out: Path, model: Components | None = None) -> None:
        super().__init__(curriculum, model or build(curriculum.seed), out)

    def losses(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        videos, covers = batch.draw()
        videos = videos.to(self.model.device)
        covers = covers.to(self.model.device)

        # Which tokens name which tracks; none do in a dropped caption.
        tokens, names_track = phrase_tokens(self.model.text, batch.scenes)
        tokens = tokens.to(videos.device)
        names_track = names_track.to(videos.device)
        are_captioned = [bool(caption) for caption in batch.captions]
        has_caption = torch.tensor(are_captioned, device=videos.device)
        names_track &= has_caption[:, None, None]

        # The prediction leaves the maps of these tokens in the request.
        request = AttentionMapRequest(tokens)
        only_stills = batch.step < self.curriculum.still_steps
        with without_temporal_layers(self.model.unet) if only_stills else nullcontext():
            error = self.error(batch, videos, covers, map_request=request)

        # A token's target is the cover of all tracks that it names, [sample, token, frame, height, width].
        by_cell = names_track[..., None, None, None]
        by_track = by_cell * covers[:, None]
        token_covers = by_track.amax(2)
        is_named = names_track.any(-1).to(token_covers)
        return error, attention_loss(request.found, token_covers, is_named)

    def finish(self) -> Path:
        folder = self.out / "mini"
        self.write(folder)
        return folder

    def write(self, folder: Path) -> None:
        """Write the model as it is now as a model folder in half precision."""
        self.model.hooks.call = None  # it holds the graph of the last step, which cannot be copied

        # A copy, for training goes on in full precision.
        half = copy.copy(self.model)
        half.unet = copy.deepcopy(self.model.unet).half()
        half.vae = copy.deepcopy(self.model.vae).half()
        half.text = copy.deepcopy(self.model.text).half()
        save_model(folder, half)


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    still_steps: int = CurriculumConfig.still_steps,
    clip_steps: int = CurriculumConfig.clip_steps,
    stills: int = CurriculumConfig.stills,
    clips: int = CurriculumConfig.clips,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = CurriculumConfig.learning_rate,
    decay: int = CurriculumConfig.decay,
    seed: int = CurriculumConfig.seed,
    stop_at: Annotated[int | None, typer.Option(help="Step to stop at; the run can be resumed.")] = None,
) -> None:
    curriculum = CurriculumConfig(
        still_steps, clip_steps, stills, clips, learning_rate=learning_rate, decay=decay, seed=seed
    )
    print(GridMiniTrainer(curriculum, out).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
