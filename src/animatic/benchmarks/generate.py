"""Stage 2, first half: every prompt of a benchmark made into a video by a method, as a run that can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..background import Background
from ..errors import AnimaticError
from ..planning.planners import PlannerOptions, plan_all, planner_named
from ..request import GenerationRequest, SamplingOptions
from ..scene import Scene, Story, Track
from ..video import Video
from .cases import Benchmark
from .contents import contents
from .jobs import (
    FAILED,
    LEFT_OUT,
    TODO,
    Job,
    Outcome,
    Progress,
    Rendered,
    RunSettings,
    digest,
    jobs_of,
    no_progress,
    scenes_of,
)
from .run_store import Run

RendersJobs = Callable[[Sequence[Job]], Sequence[Outcome | Rendered]]


@dataclass(frozen=True)
class RunPart:
    """What of a run one process does: places below `limit`, batches `shard` = (i, n)."""

    limit: int | None = None
    shard: tuple[int, int] = (0, 1)


def prepare(
    folder: str | Path,
    benchmark: Benchmark,
    settings: RunSettings,
    options: PlannerOptions | None = None,
    retry: bool = False,
    tick: Progress = no_progress,
) -> Run:
    """Begin a run or take it up: a row per case, every prompt planned, what is missing from the disk opened again."""
    from ..generation import versions
    from ..methods import method_named

    method_named(settings.method)
    planner = planner_named(settings.planner, options or PlannerOptions(benchmark.kind))
    cases = benchmark.cases()
    if not cases:
        raise AnimaticError(f"benchmark {benchmark.name!r} has no cases")
    deciding = {name: value for name, value in versions().items() if name != "python"}  # of the frames
    deciding |= contents(settings)
    run = Run.prepared(folder, settings, deciding, jobs_of(cases, settings))
    with run.preparing():
        run.reopen(retry)
        kept = run.jobs()
        there = {job.number for job in kept if job.plan is not None or job.state not in (TODO, FAILED)}
        there |= {job.number for job in kept if job.reason and not retry}
        plans: list[tuple[int, Scene | Story | AnimaticError]] = []
        for i, planned in plan_all(planner, [job.prompt for job in kept], 4, there):
            if not isinstance(planned, AnimaticError):
                planned = planned.story if benchmark.kind == "story" else planned.scene
            plans.append((i, planned))
            tick(len(plans), len(kept) - len(there))
        run.keep_plans(plans)
    return run


def settings_of(benchmark: Benchmark, name: str, model: str, method: str, planner: str, **sampling: Any) -> RunSettings:
    """Settings with every other value at its default. `name` is what the benchmark was called by."""
    prompts = digest(case.prompt for case in benchmark.cases())
    request = GenerationRequest((), model, method=method, sampling=SamplingOptions(**sampling))
    return RunSettings(name, prompts, benchmark.kind, planner, request)


class JobRenderer:
    """A model and a method at work: jobs to videos, or why there is none. Loaded once per process or per Ray actor."""

    def __init__(self, settings: RunSettings) -> None:
        import torch

        from ..binding import load_model
        from ..methods import method_named

        if not torch.cuda.is_available():
            torch.set_num_threads(settings.threads)
        method_named(settings.method)  # raises where there is none, before a model is loaded
        self.settings, self.backbone = settings, load_model(settings.request)
        self._check()

    def _check(self) -> None:
        """Raise where no job could ever be made: asked once, of an object that the model knows, before the first."""
        from ..checking import check
        from ..timeline import check_no_frames

        settings, backbone = self.settings, self.backbone
        if settings.kind != "image" and "video" not in backbone.provides:
            raise AnimaticError(
                f"{settings.benchmark!r} is of videos, and {backbone.name} makes pictures; want a video model"
            )
        if settings.kind == "story":
            check_no_frames(settings.request.sampling.frames)
        word = backbone.words[0] if backbone.words else "cat"
        seconds = 0.0 if settings.kind == "image" else backbone.geometry.frames / backbone.geometry.fps
        scene = Scene(f"a {word}", (Track(word, ((0.2, 0.2, 0.7, 0.7),)),), seconds=seconds)
        story = (scene,) * (2 if settings.kind == "story" else 1)
        check(settings.job_request(story, settings.seed), backbone)

    def __call__(self, batch: Sequence[Job]) -> list[Outcome | Rendered]:
        """Render jobs together. A job that cannot be rendered becomes an outcome with its reason."""
        reasons = [self._cannot_show(job) for job in batch]
        left_out: list[Outcome | Rendered] = [
            Outcome(job.number, LEFT_OUT, why) for job, why in zip(batch, reasons, strict=True) if why
        ]
        possible = [job for job, why in zip(batch, reasons, strict=True) if not why]
        return left_out + (self._make(possible) if possible else [])

    def _cannot_show(self, job: Job) -> str:
        """Why the model cannot show the job's objects, "" where it can. Not the method's failure, so not counted."""
        scene = Scene(job.prompt, tuple(Track(name, (None,)) for name in job.names))
        try:
            self.backbone.check_scene(scene)
        except AnimaticError as error:
            return str(error)
        return ""

    def _make(self, jobs: Sequence[Job]) -> list[Outcome | Rendered]:
        began = time.perf_counter()
        try:
            videos = self._render(jobs)
        except (AnimaticError, RuntimeError) as error:
            # one job with bad input must not fail the others of its batch
            if len(jobs) > 1 and isinstance(error, AnimaticError):
                return [outcome for job in jobs for outcome in self._make([job])]
            reason = " ".join(str(error).split())
            if not isinstance(error, AnimaticError):
                reason = f"{type(error).__name__}: {reason}"
            return [Outcome(job.number, FAILED, reason, time.perf_counter() - began) for job in jobs]

        seconds = (time.perf_counter() - began) / len(jobs)
        format = self.settings.format
        return [Rendered(job, video, seconds, format) for job, video in zip(jobs, videos, strict=True)]

    def _render(self, jobs: Sequence[Job]) -> list[Video]:
        from ..generation import generate, generate_batch

        settings, backbone = self.settings, self.backbone
        if settings.kind == "story":
            # one after another: stories of one benchmark may have different windows
            return [generate(settings.job_request(self._story(job), job.seed), backbone) for job in jobs]
        requests = [settings.job_request((self._scene(job),), job.seed) for job in jobs]
        return generate_batch(requests, backbone)

    def _scene(self, job: Job) -> Scene:
        """A still, or a scene as long as the model's own clip: the rate of the frames is the model's."""
        if self.settings.prompt_only or job.plan is None:
            scene = Scene(job.prompt, seconds=0.0 if self.settings.kind == "image" else 2.0)
        else:
            scene = scenes_of(job.plan)[0]
        if not scene.seconds:
            return scene
        geometry = self.backbone.geometry
        return replace(scene, seconds=(self.settings.request.sampling.frames or geometry.frames) / geometry.fps)

    def _story(self, job: Job) -> Story:
        """Scenes as long as the model's own clips."""
        geometry = self.backbone.geometry
        scenes = scenes_of(job.plan or tuple(Scene(prompt.strip()) for prompt in job.prompt.split("|")))
        if self.settings.prompt_only:
            scenes = tuple(Scene(scene.prompt) for scene in scenes)
        return tuple(replace(scene, seconds=geometry.frames / geometry.fps) for scene in scenes)


def work(run: Run, part: RunPart, tick: Progress = no_progress, maker: RendersJobs | None = None) -> None:
    """Make a part of a run in this process: a batch is encoded and written while the next one is rendered.

    Raises `AnimaticError` where a batch cannot be written; its jobs are free again.
    """
    maker = maker or JobRenderer(run.settings)
    with run.working():
        tick(*run.progress(part.limit, part.shard))
        with Background[None]() as writing:
            while batch := run.claim(part.limit, part.shard):
                writing.submit(store, run, batch, maker(batch))
                tick(*run.progress(part.limit, part.shard))
        tick(*run.progress(part.limit, part.shard))


def store(run: Run, batch: Sequence[Job], made: Sequence[Outcome | Rendered]) -> None:
    """Encode and keep what became of jobs that were still to be done."""
    jobs = {job.number: job for job in batch}
    for each in made:
        outcome = each.outcome() if isinstance(each, Rendered) else each
        if jobs[outcome.number].state == TODO:
            run.keep(outcome, jobs[outcome.number].plan)
