"""The training of `mini-2` on the toy world.

    python -m animatic.toy.train_mini --out runs/out/mini

All layers are trained together, those that read boxes (GLIGEN, Li et al. 2023, arXiv 2301.07093) among them; boxes are
dropped for some scenes, as captions are. It trains on single frames first, without the temporal layers, then on clips
and single frames in turn. A run resumes from its last checkpoint; every `--export-every` steps the averaged weights are
written to the folder `mini` in `--out`, which `animatic.backbones.load` reads. With `--inner` it begins with a trained
model, or with what that knows.
"""

from __future__ import annotations

import copy
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from ..backbones.codec import PatchCodec
from ..backbones.components import Components
from ..backbones.small_model import save_model
from ..controls.grounding import named_boxes
from ..core.types import AttentionMapRequest
from ..training.loss import attention_loss, phrase_tokens
from ..training.temporal_layers import without_temporal_layers
from .box_attention import recorded_box_attention
from .curriculum import CurriculumConfig, CurriculumTrainer, TrainBatch
from .start import start
from .train_decoder import new_codec


class MiniTrainer(CurriculumTrainer):
    """A run of `curriculum` in the folder `out`, with the codec in `decoder/vae` there if there is one.

    It trains `model`, or the one that `start` makes of `inner`, and leaves a model folder in half precision.
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
        has_caption = torch.tensor([bool(caption) for caption in batch.captions], device=device)
        names_track &= has_caption[:, None, None]

        # The boxes and names of the objects; the unconditional branch reads neither caption nor boxes.
        boxes = named_boxes(batch.scenes, self.model.text, batch.frames)
        boxes = {name: value.to(device) for name, value in boxes.items()}
        has_boxes = torch.tensor(batch.has_boxes, device=device)
        boxes["present"] = boxes["present"] * has_boxes[:, None, None]

        # The prediction leaves the maps of the tokens in the request, those of the boxes in `box_maps`.
        unet = self.model.unet
        request = AttentionMapRequest(tokens)
        only_stills = batch.step < self.curriculum.still_steps
        with (
            without_temporal_layers(unet) if only_stills else nullcontext(),
            recorded_box_attention(unet, batch.frames, objects=covers.shape[1]) as box_maps,
        ):
            error = self.error(batch, videos, covers, extra=boxes, map_request=request)
        to_words = attention_loss(request.found, covers, names_track)

        # Each box has a "token" of its own, which names its track.
        is_present = boxes["present"].amax(1)[:, : covers.shape[1]] > 0
        to_boxes = attention_loss(box_maps, covers, torch.diag_embed(is_present))
        return error, to_words + to_boxes

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
    inner: Annotated[
        str, typer.Option(help="Trained model that it begins with, or whose words and inner levels.")
    ] = "",
    still_steps: int = CurriculumConfig.still_steps,
    clip_steps: int = CurriculumConfig.clip_steps,
    stills: int = CurriculumConfig.stills,
    clips: int = CurriculumConfig.clips,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = CurriculumConfig.learning_rate,
    decay: int = CurriculumConfig.decay,
    mixed_precision: Annotated[
        str, typer.Option(help="no, or bf16: quicker where the processor multiplies in it.")
    ] = CurriculumConfig.mixed_precision,
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
        mixed_precision=mixed_precision,
        seed=seed,
        export_every=export_every,
    )
    print(MiniTrainer(curriculum, out, inner=inner).train(stop_at))


if __name__ == "__main__":
    typer.run(main)
