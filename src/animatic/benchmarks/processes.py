"""A run's jobs in several processes of this machine: each claims batches of its own, from the run's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

from ..backbones.presets import PRESETS
from ..errors import AnimaticError
from .generate import RendersJobs, RunPart, work
from .jobs import Progress, no_progress
from .run_store import Run

INTERVAL = 0.5  # seconds between two looks at how far the others are
WORTH_A_PROCESS = 8  # jobs


def default_workers(run: Run, part: RunPart) -> int:
    """How many processes make a part of a run: one for each `threads` cores where the model is bundled, else one.

    Every process has weights of its own: those of a bundled model are small. On a GPU it is one. A process takes as
    long to begin as some jobs take, so that each is to have `WORTH_A_PROCESS` of them.
    """
    import torch

    known = PRESETS.get(run.settings.model)
    if torch.cuda.is_available() or known is None or known.source:
        return 1
    done, count = run.progress(part.limit, part.shard)
    return max(1, min(_cores() // run.settings.threads, (count - done) // WORTH_A_PROCESS))


def _cores() -> int:
    """Cores that this process may use, which containers and job schedulers restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows have no such question


def work_together(run: Run, part: RunPart, maker: RendersJobs, workers: int, tick: Progress = no_progress) -> None:
    """Make a part of a run in `workers` processes, of which this is one; returns when all of them have ended.

    Raises `AnimaticError` where another process ended otherwise than by having nothing more to do.
    """
    with _others(run, part, workers - 1) as others:
        work(run, part, tick, maker)

        # what the others have claimed is still being made
        while any(other.is_alive() for other in others):
            others[0].join(INTERVAL)
            others = [*others[1:], others[0]]
            tick(*run.progress(part.limit, part.shard))
    for other in others:
        if other.exitcode:
            raise AnimaticError(
                f"a worker of {run.folder} ended with exit code {other.exitcode}; the same command makes what it left"
            )


@contextmanager
def _others(run: Run, part: RunPart, count: int) -> Iterator[list[BaseProcess]]:
    """`count` processes at work; whatever ends this context ends them. The jobs of one that is ended are free again."""
    context = get_context("spawn")  # a fork of a process that has used torch may hang
    others: list[BaseProcess] = [context.Process(target=_work, args=(run.folder, part)) for _ in range(count)]
    try:
        for other in others:
            other.start()
        yield others
    finally:
        for other in others:
            if other.is_alive():
                other.terminate()
            other.join()


def _work(folder: os.PathLike[str], part: RunPart) -> None:
    work(Run(folder), part)
