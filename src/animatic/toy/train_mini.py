"""The training of `mini` on the toy world.

    python -m animatic.toy.train_mini --out runs/out/mini

It trains on single frames first, without the temporal layers, then on clips and single frames in turn. A run resumes
from its last checkpoint; every `--export-every` steps the averaged weights are written to the folder `mini` in `--out`,
which `animatic.backbones.load` reads. With `--inner` the words and the inner levels begin as those of a trained model.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from ..backbones import load
from ..backbones.codec import PatchCodec
from ..backbones.components import Components
from ..backbones.grounding import is_grounding
from ..backbones.small_model import save_model
from ..backbones.unet3d import UNet3D
from ..core.types import AttentionMapRequest
from ..training.loss import attention_loss, phrase_tokens
from ..training.temporal_layers import without_temporal_layers
from .curriculum import CurriculumConfig, CurriculumTrainer, TrainBatch
from .mini import assemble, build, new_network
from .train_decoder import new_codec


def start(codec: PatchCodec, inner: str = "", seed: int = 0) -> UNet3D:
    """A model on the latents of `codec`, ready to train.

    `inner` is the model whose text encoder and attention levels it begins with, without its grounding; "" is none.
    Its tokenizer must know the words of the captions.
    """
    if not inner:
        return build(codec, seed)
    torch.manual_seed(seed)
    trained = load(inner, "cpu")
    unet = new_network()
    copy_inner_levels(trained.unet, unet, lambda name: not is_grounding(name))
    trained.text.encoder.requires_grad_(True)
    return assemble(unet, codec, trained.text, trained.scheduler)


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


class MiniTrainer(CurriculumTrainer):
    """A run of `curriculum` in the folder `out`, with the codec in `decoder/vae` there if there is one.

    It trains `model`, or one that begins with the inner levels of `inner`, and leaves a model folder in half precision.
    """

    exported = "mini"  # name of the model folder in `out`

    def __init__(
        self, curriculum: CurriculumConfig, out: Path, model: Components | None = None, inner: str = ""
    ) -> None:
        super().__init__(curriculum, model or start(codec_of(out, curriculum.seed), inner, curriculum.seed), out)

    def losses(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        device = self.accelerator.device
        videos, covers = batch.draw()
        videos = videos.to(device)
        covers = covers.to(device)

        # Which tokens name which tracks; none do in a dropped caption.
        tokens, names_track = phrase_tokens(self.model.text, batch.scenes)
        tokens = tokens.to(device)
        names_track = names_track.to(device)
        are_captioned = [bool(caption) for caption in batch.captions]
        has_caption = torch.tensor(are_captioned, device=device)
        names_track &= has_caption[:, None, None]

        # The prediction leaves the maps of these tokens in the request.
        request = AttentionMapRequest(tokens)
        only_stills = batch.step < self.curriculum.still_steps
        with without_temporal_layers(self.model.unet) if only_stills else nullcontext():
            error = self.error(batch, videos, covers, map_request=request)
        return error, attention_loss(request.found, covers, names_track)

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

    def write(self, folder: Path) -> None:
        """Write the model as it is now as a model folder in half precision."""
        self.model.hooks.call = None  # it holds the graph of the last step, which cannot be copied

        # A copy, for training goes on in full precision.
        half = copy.copy(self.model)
        half.unet = copy.deepcopy(self.model.unet).half()
        half.vae = copy.deepcopy(self.model.vae).half()
        half.text = copy.deepcopy(self.model.text).half()
        save_model(folder, half)


def codec_of(out: Path, seed: int = 0) -> PatchCodec:
    """The codec that `animatic.toy.train_decoder` left in the folder of a run, or one without a refiner."""
    trained = out / "decoder" / "vae"
    if trained.is_dir():
        return PatchCodec.from_pretrained(trained, torch_dtype=torch.float32)
    return new_codec(seed)


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    inner: Annotated[str, typer.Option(help="Model whose words and inner levels it begins with.")] = "",
    still_steps: int = CurriculumConfig.still_steps,
    clip_steps: int = CurriculumConfig.clip_steps,
    stills: int = CurriculumConfig.stills,
    clips: int = CurriculumConfig.clips,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = CurriculumConfig.learning_rate,
    decay: int = CurriculumConfig.decay,
    seed: int = CurriculumConfig.seed,
    export_every: int = CurriculumConfig.export_every,
    stop_at: Annotated[int | None, typer.Option(help="Step to stop at; the run can be resumed.")] = None,
) -> None:
    curriculum = CurriculumConfig(
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
