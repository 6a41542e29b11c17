"""Trains the grounding of `mini`: GLIGEN's layers alone, everything else frozen. Resumes from its last checkpoint.

    python -m animatic.toy.grid_grounding --out runs/out/grounding

Single frames mostly: the layers work frame by frame, as the published video adapters were trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from .mini import leave_nothing_out

PLAN = CurriculumConfig(
    still_steps=0, clip_steps=4500, clips=6, still_fraction=0.8, learning_rate=2e-3, warmup_steps=50, decay=3600, box_dropout=0.1,
    timestep_exponent=0.35, ema_decay=0.995,  # boxes decide at the noisy levels
)  # fmt: skip


def build() -> Components:
    """`mini` with untrained grounding whose last layers are zero: no effect at first, gradients from the first step."""
    model = load("mini")
    if "grounding" not in model.provides:
        add_grounding(model.unet)
    leave_nothing_out(model.unet)
    for name, part in model.unet.named_parameters():
        part.requires_grad_(is_grounding(name))
        if is_grounding(name) and "alpha" in name:
            nn.init.ones_(part)
        elif is_grounding(name) and any(last in name for last in ("attn.to_out.0.", "ff.net.2.")):
            nn.init.zeros_(part)
    return model


@contextmanager
def listening(unet: nn.Module, frames: int, things: int) -> Iterator[dict[str, Tensor]]:
    """Attention of pixels to the first boxes in every fuser, `[row, frame, head, height, width, thing]` by its name.

    Left to itself the network takes very long to find out that pixels inside a box should look at it.
    """
    found: dict[str, Tensor] = {}

    def hear(name: str, attn: Any, hidden: Tensor) -> None:
        pixels = hidden.shape[1] - MOST
        q, k = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden[:, :pixels]), attn.to_k(hidden))
        )
        p = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)[..., pixels : pixels + things]
        side = round(pixels**0.5)
        found[name] = p.unflatten(2, (side, side)).unflatten(0, (-1, frames))

    fusers = [(name, m) for name, m in unet.named_modules() if isinstance(m, GatedSelfAttentionDense)]
    hooks = [m.attn.register_forward_pre_hook(lambda a, args, n=n: hear(str(n), a, *args)) for n, m in fusers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class GridGroundingTrainer(CurriculumTrainer):
    """`mini` learns to read boxes; leaves the weights of what reads them, in half precision."""

    def __init__(self, plan: CurriculumConfig, out: Path, model: Components | None = None) -> None:
        torch.manual_seed(plan.seed)
        super().__init__(plan, model or build(), out)

    def losses(self, lesson: TrainBatch) -> tuple[Tensor, Tensor]:
        films, covers = (part.to(self.model.device) for part in lesson.draw())
        told = named_boxes(lesson.scenes, self.model.text, lesson.frames)
        told = {name: value.to(films.device) for name, value in told.items()}
        silent = [lesson.rng.random() < self.curriculum.box_dropout for _ in lesson.scenes]
        told["present"] = told["present"] * ~torch.tensor(silent, device=films.device)[:, None, None]
        things = covers.shape[1]
        with listening(self.model.unet, lesson.frames, things) as found:
            error = self.error(lesson, films, covers, extra=told)
        return error, attention_loss(found, covers, told["present"].amax(1)[:, :things])

    def finish(self) -> Path:
        file = self.out / "diffusion_pytorch_model.safetensors"
        named = self.model.unet.named_parameters()
        kept = {name: p.detach().cpu().half().contiguous() for name, p in named if is_grounding(name)}
        write_atomically(file, save(kept))
        return file


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    steps: int = PLAN.steps,
    rate: float = PLAN.learning_rate,
    seed: int = PLAN.seed,
) -> None:
    plan = replace(PLAN, clip_steps=steps, decay=steps * 4 // 5, rate=rate, seed=seed)
    print(GridGroundingTrainer(plan, out).train())


if __name__ == "__main__":
    typer.run(main)
