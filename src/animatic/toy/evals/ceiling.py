"""The upper bound of a benchmark: plans rendered exactly by the toy world, as a benchmark run like any other.

python -m animatic.toy.evals.ceiling lvd --out runs/ceiling && animatic bench score runs/ceiling
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...benchmarks.generate import RunPart, prepare, settings_of, work
from ...benchmarks.jobs import FAILED, LEFT_OUT, Job, Outcome, finished, scenes_of
from ...benchmarks.registry import benchmark_named
from ...errors import AnimaticError
from ...scene import Scene
from ...video import Video
from ..world import BACKGROUNDS, FPS, FRAMES, draw, identify


class ToyRenderer:
    """Renders the plan of each job with the sprites of the toy world, in place of a model."""

    def __call__(self, batch: Sequence[Job]) -> list[Outcome]:
        return [self._render(job) for job in batch]

    def _render(self, job: Job) -> Outcome:
        try:
            for name in job.names:
                identify(name)
        except AnimaticError as error:
            return Outcome(job.number, LEFT_OUT, str(error))

        plan, *more = scenes_of(job.plan or Scene(job.prompt))
        if more:
            return Outcome(job.number, FAILED, f"a story of {len(more) + 1} scenes; want one")

        # Planners name backgrounds freely; the toy world has ten.
        is_known = plan.background in BACKGROUNDS
        drawable = replace(plan, background=plan.background if is_known else "grass")
        try:
            frames, _ = draw(drawable, FRAMES if plan.seconds else 1)
        except AnimaticError as error:
            return Outcome(job.number, FAILED, str(error))
        video = Video(frames, FPS, {"prompt": job.prompt, "seed": job.seed})
        return finished(job, video)


def main(name: str, out: Annotated[Path, typer.Option()], limit: int | None = None, planner: str = "rules") -> None:
    """Render the plans of a benchmark."""
    benchmark = benchmark_named(name)
    run = prepare(out, benchmark, settings_of(benchmark, name, "mini", "none", planner))
    work(run, RunPart(limit), maker=ToyRenderer())


if __name__ == "__main__":
    typer.run(main)
