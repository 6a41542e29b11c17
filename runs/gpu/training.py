"""The toy trainers: optimiser steps and videos a second of `mini` and `mini-dit`, on stills and on clips."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from bench import Table, Tiny, device_of

from animatic.toy.curriculum import CurriculumConfig
from animatic.toy.train_dit import DitCurriculum, DitTrainer
from animatic.toy.train_mini import MiniTrainer

WARM_UP = 3  # steps that are not counted
TRAINERS: dict[str, tuple[Any, CurriculumConfig]] = {
    "train_mini": (MiniTrainer, CurriculumConfig()),
    "train_dit": (DitTrainer, DitCurriculum()),
}


def figures(trainer: Any, curriculum: CurriculumConfig, steps: int) -> list[float]:
    """Batch size, steps a second, videos a second; the loss of each step is waited for, as always."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        run = trainer(curriculum, Path(out))
        run.watch = lambda done, count, values: ends.append(time.perf_counter())
        run.train(stop_at=WARM_UP + steps)
    per_second = steps / (ends[-1] - ends[WARM_UP - 1])
    batch = curriculum.stills if curriculum.still_steps else curriculum.clips
    return [batch, per_second, batch * per_second]


def main(tiny: Tiny = False) -> None:
    """Print a table of Markdown."""
    device_of(tiny)
    steps = 2 if tiny else 30
    table = Table("trainer", "batches", "batch size", "steps/s", "videos/s")
    for name, (trainer, curriculum) in TRAINERS.items():
        # short, and without the exports in between
        length = WARM_UP + steps
        own = replace(curriculum, still_fraction=0.0, warmup_steps=0, decay=0, export_every=0)
        if tiny:
            own = replace(own, stills=2, clips=1)
        stills = replace(own, still_steps=length, clip_steps=0)
        clips = replace(own, still_steps=0, clip_steps=length)
        table.row((name, "stills"), lambda t=trainer, c=stills: figures(t, c, steps))
        table.row((name, "clips"), lambda t=trainer, c=clips: figures(t, c, steps))
    table.end()


if __name__ == "__main__":
    typer.run(main)
