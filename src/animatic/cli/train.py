"""Commands that train, and that make checkpoints of others ours. Every field of `Settings` is an option."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from ..errors import AnimaticError
from ..training.settings import TrainingSettings
from .console import bar, line, table
from .options import AsJson


def train(
    settings: TrainingSettings,
    dry_run: Annotated[
        bool, typer.Option(help="Read the data, build the network, say what would be done, and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a video model from nothing, go on with one, or teach it by LoRA. Run it again to resume."""
    if not as_json:
        table(("setting", "value"), [(f.name, getattr(settings, f.name)) for f in fields(settings)])

    # torch and diffusers take seconds to import, which `--help` need not wait for
    from ..training.fit import DiffusionTrainer

    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        line(f"note: {text}", silent=as_json)

    with bar("training", as_json) as tick:
        trainer = DiffusionTrainer(settings, lambda done, count, _: tick(done, count), note)
        if dry_run:
            found = trainer.preview()
            if as_json:
                print(json.dumps({**found, "notes": notes}))
            else:
                table(("found", "value"), list(found.items()))
            return
        made = trainer.train()
    if as_json:
        print(json.dumps({"made": str(made), "skipped": len(trainer.skipped), "notes": notes}))
    else:
        line(f"made  {made}")


def convert(
    kind: Annotated[str, typer.Argument(help="vdp: of video-diffusion-pytorch 0.7; lavie: any of LaVie's three.")],
    checkpoint: Annotated[Path, typer.Argument(help="Its file (.pt); vdp's of Trainer, diffusion or network.")],
    out: Annotated[Path | None, typer.Argument(help="Folder; where --model lavie looks if not given.")] = None,
    size: Annotated[int, typer.Option(help="Pixels a side, as GaussianDiffusion was given them (image_size).")] = 64,
    frames: Annotated[int, typer.Option(help="Frames, as it was given them (num_frames).")] = 16,
    classes: Annotated[Path | None, typer.Option(help="JSON: name -> condition vector, if it has conditions.")] = None,
    bert: Annotated[
        str, typer.Option(help="Folder or hub id of the BERT that it reads, such as bert-base-cased.")
    ] = "",
    pool: Annotated[str, typer.Option(help="What the network reads of BERT's states: mean, or cls.")] = "mean",
    threshold: Annotated[
        float, typer.Option(help="1 clips x0 to -1..1; below 1: percentile of its dynamic thresholding.")
    ] = 1.0,
    parts: Annotated[str, typer.Option(help="Of lavie: folder or hub id of the text encoder and VAE.")] = "",
) -> None:
    """Make a checkpoint of another system a model folder that `render` and `train` read."""
    if kind not in ("vdp", "lavie"):
        raise AnimaticError(f"unknown kind {kind!r}; known: vdp, lavie")

    # an option of the other kind would be without effect: it is refused instead
    of_the_other = {"parts": parts != ""}
    if kind == "lavie":
        of_the_other = {"size": size != 64, "frames": frames != 16, "classes": classes is not None}
        of_the_other |= {"bert": bert != "", "pool": pool != "mean", "threshold": threshold != 1}
    for name, given in of_the_other.items():
        if given:
            raise AnimaticError(f"--{name} is given, which convert {kind} has no use for")
    from ..backbones.convert import convert_vdp
    from ..backbones.lavie import convert_lavie

    if kind == "lavie":
        made = convert_lavie(checkpoint, out, parts)
    elif out is None:
        raise AnimaticError("no folder to write to; want animatic convert vdp FILE.pt FOLDER")
    else:
        made = convert_vdp(checkpoint, out, size, frames, classes, bert, pool, threshold)
    line(f"made  {made}")
