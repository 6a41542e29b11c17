"""Trains the grounding of `mini`: GLIGEN layers (Li et al. 2023, arXiv 2301.07093) in its frozen network.

    python -m animatic.toy.grid_grounding --out runs/out/grounding

It trains mostly on single frames: the layers work frame by frame, as in the published video adapters. A run resumes
from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
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

GROUNDING = CurriculumConfig(
    still_steps=0,
    clip_steps=4500,
    clips=6,
    still_fraction=0.8,
    learning_rate=2e-3,
    warmup_steps=50,
    decay=3600,
    box_dropout=0.1,
    timestep_exponent=0.35,  # boxes matter at noisy levels
    ema_decay=0.995,
)


def build() -> Components:
    """`mini` with untrained grounding.

    The last layers of the grounding are zero and its gates are open: it has no effect at first, and gradients from the
    first step on.
    """
    model = load("mini")
    if "grounding" not in model.provides:
        add_grounding(model.unet)
    disable_dropout(model.unet)

    # Gates of 1 and last layers of 0: no effect, but a gradient.
    for name, parameter in model.unet.named_parameters():
        parameter.requires_grad_(is_grounding(name))
        if not is_grounding(name):
            continue
        if "alpha" in name:
            nn.init.ones_(parameter)
        elif "attn.to_out.0." in name or "ff.net.2." in name:
            nn.init.zeros_(parameter)
    return model


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


class GridGroundingTrainer(CurriculumTrainer):
    """Trains the grounding of `mini`; leaves the weights of the grounding layers, in half precision."""

    def __init__(self, curriculum: CurriculumConfig, out: Path, model: Components | None = None) -> None:
        torch.manual_seed(curriculum.seed)
        super().__init__(curriculum, model or build(), out)

    def losses(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        videos, covers = batch.draw()
        videos = videos.to(self.model.device)
        covers = covers.to(self.model.device)
        device = videos.device

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
        is_present = boxes["present"].amax(1)[:, :objects]
        return error, attention_loss(maps, covers, is_present)

    def finish(self) -> Path:
        file = self.out / "diffusion_pytorch_model.safetensors"
        weights = {}
        for name, parameter in self.model.unet.named_parameters():
            if is_grounding(name):
                weights[name] = parameter.detach().cpu().half().contiguous()
        write_atomically(file, save(weights))
        return file


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    steps: int = GROUNDING.steps,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = GROUNDING.learning_rate,
    seed: int = GROUNDING.seed,
) -> None:
    curriculum = replace(GROUNDING, clip_steps=steps, decay=steps * 4 // 5, learning_rate=learning_rate, seed=seed)
    print(GridGroundingTrainer(curriculum, out).train())


if __name__ == "__main__":
    typer.run(main)
