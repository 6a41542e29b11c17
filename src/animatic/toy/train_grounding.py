"""The training of the grounding of `mini`: GLIGEN layers (Li et al. 2023, arXiv 2301.07093) in its frozen network.

    python -m animatic.toy.train_grounding --out runs/out/mini/grounding --model runs/out/mini/mini

It trains mostly on single frames: the layers work frame by frame, as in the published video adapters. The weights are
written into the folder of the model. A run resumes from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers.models.attention import GatedSelfAttentionDense
from safetensors.torch import save
from torch import Tensor, nn

from ..backbones import load
from ..backbones.components import Components
from ..backbones.grounding import add_grounding, is_grounding
from ..controls.grounding import MOST, named_boxes
from ..files import write_atomically
from ..training.loss import attention_loss
from .curriculum import CurriculumConfig, CurriculumTrainer, TrainBatch
from .mini import disable_dropout
from .train_mini import copy_inner_levels


def start(model: str, inner: str = "") -> Components:
    """The model with grounding whose layers alone are trained: that of the model `inner`, or untrained.

    Untrained, its last layers are zero and its gates are open: it has no effect at first, and gradients from the first
    step on.
    """
    mini = load(model, "cpu")
    if "grounding" not in mini.provides:
        add_grounding(mini.unet)
    disable_dropout(mini.unet)
    for name, parameter in mini.unet.named_parameters():
        parameter.requires_grad_(is_grounding(name))

    if inner:
        copy_inner_levels(load(inner, "cpu").unet, mini.unet, is_grounding)
        return mini
    for name, parameter in mini.unet.named_parameters():
        if not is_grounding(name):
            continue
        if "alpha" in name:
            nn.init.ones_(parameter)
        elif "attn.to_out.0." in name or "ff.net.2." in name:
            nn.init.zeros_(parameter)
    return mini


@contextmanager
def recorded_box_attention(unet: nn.Module, frames: int, objects: int) -> Iterator[dict[str, Tensor]]:
    """Within this context each call records the attention of pixels to the first `objects` boxes in every GLIGEN layer.

    Maps are `[sample, frame, head, height, width, object]` by the name of the layer. Their loss teaches pixels inside a
    box to attend to it, which the denoising loss alone does only very slowly.
    """
    maps: dict[str, Tensor] = {}

    def record(name: str, attention: Any, hidden: Tensor) -> None:
        # The sequence is the pixels and then MOST boxes; only pixels are queries.
        pixels = hidden.shape[1] - MOST
        q = attention.to_q(hidden[:, :pixels])
        k = attention.to_k(hidden)
        split = (attention.heads, -1)
        q = q.unflatten(-1, split).transpose(1, 2)
        k = k.unflatten(-1, split).transpose(1, 2)
        products = q @ k.transpose(-1, -2)
        logits = products * attention.scale
        probabilities = logits.softmax(-1)
        to_boxes = probabilities[..., pixels : pixels + objects]

        # Frames are entries of the batch of a spatial layer.
        side = round(pixels**0.5)
        by_cell = to_boxes.unflatten(2, (side, side))
        maps[name] = by_cell.unflatten(0, (-1, frames))

    handles = []
    for name, layer in unet.named_modules():
        if isinstance(layer, GatedSelfAttentionDense):
            hook = partial(_call_with_input, record, name)
            handles.append(layer.attn.register_forward_pre_hook(hook))
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _call_with_input(record: Callable[[str, Any, Tensor], None], name: str, attention: Any, args: Any) -> None:
    """A forward pre-hook that passes the input of an attention layer to `record`."""
    record(name, attention, *args)


class GroundingTrainer(CurriculumTrainer):
    """A run of `curriculum` in the folder `out`, for the model in the folder `model`."""

    def __init__(self, curriculum: CurriculumConfig, out: Path, model: Path, inner: str = "") -> None:
        torch.manual_seed(curriculum.seed)
        super().__init__(curriculum, start(str(model), inner), out)
        self.folder = model

    def losses(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        device = self.accelerator.device
        videos, covers = batch.draw()
        videos = videos.to(device)
        covers = covers.to(device)

        # The boxes and names of the objects; those of some scenes are dropped.
        boxes = named_boxes(batch.scenes, self.model.text, batch.frames)
        boxes = {name: value.to(device) for name, value in boxes.items()}
        dropped = [batch.rng.random() < self.curriculum.box_dropout for _ in batch.scenes]
        is_kept = ~torch.tensor(dropped, device=device)
        boxes["present"] = boxes["present"] * is_kept[:, None, None]

        # The maps have one column for each track.
        objects = covers.shape[1]
        with recorded_box_attention(self.model.unet, batch.frames, objects) as maps:
            error = self.error(batch, videos, covers, extra=boxes)
        is_present = boxes["present"].amax(1)[:, :objects] > 0
        names_track = torch.diag_embed(is_present)  # one "token" for each track
        return error, attention_loss(maps, covers, names_track)

    def finish(self) -> Path:
        weights = {}
        for name, parameter in self.model.unet.named_parameters():
            if is_grounding(name):
                weights[name] = parameter.detach().cpu().half().contiguous()
        file = self.folder / "grounding" / "diffusion_pytorch_model.safetensors"
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, save(weights))
        return file


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    model: Annotated[Path, typer.Option(help="Folder of the model; its grounding is written there.")],
    inner: Annotated[str, typer.Option(help="Model whose grounding it begins with.")] = "",
    steps: int = 6000,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = 1e-3,
    seed: int = 0,
) -> None:
    # Boxes matter at noisy levels, hence the exponent; the layers work on single frames, hence mostly stills.
    curriculum = CurriculumConfig(
        still_steps=0,
        clip_steps=steps,
        clips=3,
        still_fraction=0.85,
        learning_rate=learning_rate,
        warmup_steps=50,
        decay=steps * 4 // 5,
        box_dropout=0.1,
        timestep_exponent=0.35,
        ema_decay=0.998,
        seed=seed,
        export_every=0,
    )
    print(GroundingTrainer(curriculum, out, model, inner).train())


if __name__ == "__main__":
    typer.run(main)
