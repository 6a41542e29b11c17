"""The grounding of the next `mini`: GLIGEN layers (Li et al. 2023, arXiv 2301.07093) on its frozen network.

    python -m animatic.toy.train_grounding --out runs/out/mini2/grounding --model runs/out/mini2/mini

It begins with the grounding of the present `mini`, and writes the weights into the folder of the model. A run resumes
from its last checkpoint.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from ..backbones import load
from ..backbones.components import Components
from ..backbones.grounding import add_grounding, is_grounding
from .grid_grounding import GridGroundingTrainer
from .mini import disable_dropout
from .train_mini import MiniCurriculum, copy_inner_levels


def start(model: Path) -> Components:
    """The model in the folder `model` with the grounding of the present `mini`, whose layers alone are trained."""
    mini = load(str(model), "cpu")
    add_grounding(mini.unet)
    copy_inner_levels(load("mini", "cpu").unet, mini.unet, is_grounding)
    disable_dropout(mini.unet)
    for name, parameter in mini.unet.named_parameters():
        parameter.requires_grad_(is_grounding(name))
    return mini


class GroundingTrainer(GridGroundingTrainer):
    """A run of `curriculum` in the folder `out`, for the model in the folder `model`."""

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
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--rate")] = 1e-3,
    seed: int = 0,
) -> None:
    # Boxes matter at noisy levels, hence the exponent; the layers work on single frames, hence mostly stills.
    curriculum = MiniCurriculum(
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
    print(GroundingTrainer(curriculum, out, model).train())


if __name__ == "__main__":
    typer.run(main)
