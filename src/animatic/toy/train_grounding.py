"""The grounding of the next `mini`: GLIGEN's layers on its frozen network, which read boxes to a fraction of a pixel.

    python -m animatic.toy.train_grounding --out runs/out/mini2/grounding --model runs/out/mini2/mini

Begins with the grounding of today's `mini`. The weights are put into the folder of the model. Resumes from its last
checkpoint.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from ..backbones import load
from ..backbones.components import Components
from ..backbones.grounding import is_grounding, load_grounding
from .grid_grounding import GridGroundingTrainer
from .mini import leave_nothing_out
from .train_mini import MiniCurriculum


def start(model: Path) -> Components:
    """The model in the folder `model` with the grounding of today's `mini`, which alone will learn."""
    mini = load(str(model), "cpu")
    load_grounding(mini.unet, Path(str(files("animatic") / "weights" / "mini" / "grounding")))
    leave_nothing_out(mini.unet)
    for name, parameter in mini.unet.named_parameters():
        parameter.requires_grad_(is_grounding(name))
    return mini


class GroundingTrainer(GridGroundingTrainer):
    """A run of a curriculum in the folder `out`, for the model in the folder `model`."""

    def __init__(self, curriculum: MiniCurriculum, out: Path, model: Path) -> None:
        super().__init__(curriculum, out, start(model))
        self.folder = model

    def finish(self) -> Path:
        file = super().finish()
        final = self.folder / "grounding" / file.name
        final.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, final)
        return final


def main(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights; a run in it is resumed.")],
    model: Annotated[Path, typer.Option(help="Folder of the model; its grounding is written there.")],
    steps: int = 6000,
    rate: float = 1e-3,
    seed: int = 0,
) -> None:
    # boxes decide at the noisy levels, to which `lean` leans; the layers work frame by frame, so stills do mostly
    curriculum = MiniCurriculum(
        still_steps=0, clip_steps=steps, clips=3, still_fraction=0.85, learning_rate=rate, warmup_steps=50, decay=steps * 4 // 5,
        box_dropout=0.1, timestep_exponent=0.35, ema_decay=0.998, seed=seed, export_every=0,
    )  # fmt: skip
    print(GroundingTrainer(curriculum, out, model).train())


if __name__ == "__main__":
    typer.run(main)
