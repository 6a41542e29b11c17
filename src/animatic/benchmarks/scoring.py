"""Scores the videos of a run: detects objects, evaluates each case's predicate and computes metrics.

Nothing is generated here, so a run can be scored again with other settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from math import isfinite
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnimaticError, warn
from ..files import digest_of, write_atomically
from ..scene import Scene
from .cases import Benchmark, DetectionSettings, rules_named
from .contents import file_of
from .detect import detect, sampled_frames
from .jobs import DONE, FAILED, Job, Progress, digest, no_progress
from .metrics import agreement, motion
from .registry import benchmark_named, detector_named, thresholds_for
from .results import CaseResult, from_json, to_json
from .run_store import Run

VERSION = 1
METRICS = ("plan", "motion", "clip")
CHUNK = 5  # jobs sent to a process at a time


@dataclass(frozen=True)
class ScoringSettings:
    """How a run is scored.

    `metrics`: names of METRICS. `clip`: CLIP weights (folder or hub id), "" the default ones. `threshold` (0..1):
    minimum score of a box. `nms`: IoU with a box of higher score from which a box is suppressed; above 1 nothing is
    suppressed. `class_aware`: only boxes of the same query suppress each other. `frames`: number of evenly spaced
    frames that the detector is given. None is the published value for the benchmark and detector (see
    `registry.thresholds_for`). `benchmark`: "" is the one that the run names; a file is run only if it stands here.
    """

    detector: str = "toy"
    rules: str = "published"
    metrics: tuple[str, ...] = ("plan",)
    clip: str = ""
    threshold: float | None = None
    nms: float | None = None
    class_aware: bool | None = None
    frames: int | None = None
    benchmark: str = ""

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("nms", self.nms)):
            if value is not None and not (isfinite(value) and value >= 0):
                raise AnimaticError(f"{name} is {value}; want 0 or more, such as 0.1")
        if self.frames is not None and self.frames < 1:
            raise AnimaticError(f"frames is {self.frames}; want at least 1")

        # Misspelt names are errors before the first video is read.
        rules_named(self.rules)  # raises where there are none
        for name in self.metrics:
            if name not in METRICS:
                raise AnimaticError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")

    def of_benchmark(self, benchmark: Benchmark) -> ScoringSettings:
        """The same settings, every None replaced by the default of the benchmark and detector."""
        # Thresholds were published for one detector; others have their own.
        defaults = thresholds_for(self.detector, benchmark.detection)
        filled: dict[str, Any] = {"frames": self.frames or benchmark.frames}
        for name in ("threshold", "nms", "class_aware"):
            value = getattr(self, name)
            filled[name] = getattr(defaults, name) if value is None else value
        return replace(self, **filled)

    def detection(self, benchmark: Benchmark) -> DetectionSettings:
        """How detections become a layout."""
        complete = self.of_benchmark(benchmark)
        assert complete.threshold is not None and complete.nms is not None and complete.class_aware is not None
        return DetectionSettings(
            complete.threshold, complete.nms, complete.class_aware, benchmark.detection.whole_pixels
        )


class Judge:
    """A benchmark's predicates and a detector at work on a run's videos."""

    def __init__(self, folder: str, scoring: ScoringSettings) -> None:
        self.run = Run(folder)
        settings = self.run.settings
        self.benchmark = benchmark_of(self.run, scoring)
        self.scoring = scoring.of_benchmark(self.benchmark)
        self.cases = self.benchmark.cases()
        if digest(case.prompt for case in self.cases) != settings.digest:
            raise AnimaticError(f"{folder} was made from other prompts than {settings.benchmark!r} has now")

        # A case is found by its number: with other prompts it would be another case.
        self.story = self.benchmark.kind == "story"
        if not self.story and not any(case.queries for case in self.cases):
            raise AnimaticError(f"benchmark {settings.benchmark!r} has no queries to detect; only plans can be scored")
        self.detector = detector_named(scoring.detector)
        self.detection = scoring.detection(self.benchmark)

        # CLIP is loaded only where it is asked for.
        self.clip = None
        if "clip" in scoring.metrics:
            from .clip import WEIGHTS, ClipMetrics

            self.clip = ClipMetrics(scoring.clip or WEIGHTS)

    def __call__(self, job: Job) -> CaseResult:
        """Judge one job. A job that failed, or whose file is missing or damaged, does not pass; `reason` says why."""
        result = CaseResult(job.number, job.task, job.state, reason=job.reason)
        if job.state == FAILED:
            return replace(result, passed=False)
        if job.state != DONE:
            return result

        # A damaged file counts as a failed job, with its reason.
        try:
            frames = self.run.video(job).frames
        except AnimaticError as error:
            return replace(result, passed=False, state=FAILED, reason=str(error))

        # Metrics of the video alone; a story has no boxes to judge.
        prompts = job.prompt.split(" | ") if self.story else [job.prompt]
        values = self._measured(frames, prompts)
        if self.story:
            return replace(result, values=values)

        # Detect the queried objects in evenly spaced frames, then compare them with the plan and the predicate.
        case = self.cases[job.number % len(self.cases)]
        indices = sampled_frames(len(frames), self.scoring.frames or self.benchmark.frames)
        chosen = frames[indices]
        detections = detect(self.detector, chosen, case.queries, case.prompt, self.detection, case.all_boxes)
        if "plan" in self.scoring.metrics and isinstance(job.plan, Scene):
            values = agreement(job.plan, detections, len(frames), indices) | values
        passed = case.holds(detections, rules_named(self.scoring.rules))
        return replace(result, passed=passed, frames=tuple(indices), detections=detections, values=values)

    def _measured(self, frames: np.ndarray, prompts: Sequence[str]) -> dict[str, float]:
        """The metrics of a video; a story's CLIP similarity is the mean over its parts, each with its own prompt.

        Values that are not finite are left out: the tables give the number of videos behind each mean.
        """
        values = motion(frames) if "motion" in self.scoring.metrics else {}
        if self.clip:
            values |= self.clip(frames, prompts[0])
            if len(prompts) > 1:
                # A story shows its prompts one after another, in parts of equal length.
                similarities = []
                parts = np.array_split(frames, len(prompts))
                for part, prompt in zip(parts, prompts, strict=True):
                    similarities.append(self.clip(part, prompt)["clip text"])
                values["clip text"] = float(np.mean(similarities))
        return {name: value for name, value in values.items() if isfinite(value)}


def benchmark_of(run: Run, scoring: ScoringSettings) -> Benchmark:
    """The benchmark of a run. Raises where that is a Python file which the user has not named: it would be run."""
    name = run.settings.benchmark
    file = file_of(name)
    if not file:
        if scoring.benchmark not in ("", name):
            raise AnimaticError(f"benchmark is {scoring.benchmark!r}; {run.folder} is a run of {name!r}")
        return benchmark_named(name)

    if not scoring.benchmark:
        raise AnimaticError(
            f"{run.folder} is scored by the Python file {name!r}, which would be run; want --benchmark FILE.py if so"
        )
    return benchmark_named(scoring.benchmark)


def _warn_of_changed_predicates(run: Run, scoring: ScoringSettings) -> None:
    """Warn where a benchmark's file is not the one that the run began with: a run records its digest."""
    before = run.versions.get("benchmark file", "")
    file = file_of(scoring.benchmark)
    if before and file and not digest_of(Path(file)).startswith(before):
        warn(f"{file}: has changed since the run began; the scores are those of the present file")


def score(
    folder: str | os.PathLike[str], scoring: ScoringSettings, workers: int = 1, tick: Progress = no_progress
) -> list[CaseResult]:
    """Score every job of a run, in `workers` processes, and write the results to its score.json."""
    run = Run(folder)
    scoring = scoring.of_benchmark(benchmark_of(run, scoring))
    _warn_of_changed_predicates(run, scoring)
    jobs = run.jobs()

    # In the order of the jobs, whatever process judged them.
    results: list[CaseResult] = []
    for result in _judged(str(folder), scoring, jobs, workers):
        results.append(result)
        tick(len(results), len(jobs))

    # Everything that the numbers depend on is written with them.
    data = {
        "version": VERSION,
        "scoring": asdict(scoring),
        "results": [to_json(result) for result in results],
    }
    text = json.dumps(data) + "\n"
    write_atomically(Path(folder) / "score.json", text.encode())
    return results


def _judged(folder: str, scoring: ScoringSettings, jobs: Sequence[Job], workers: int) -> Iterator[CaseResult]:
    judge = Judge(folder, scoring)  # in this process too, so that errors are raised before others start
    if workers <= 1:
        yield from map(judge, jobs)
        return

    # Spawned: a forked process must not use torch's threads.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(partial(_result, folder, scoring), jobs, chunksize=CHUNK)


@cache
def _judge(folder: str, scoring: ScoringSettings) -> Judge:
    """One judge per process of the pool, which lives for one call of `score`."""
    import torch

    # Processes share the cores; one thread each is fastest.
    torch.set_num_threads(1)
    return Judge(folder, scoring)


def _result(folder: str, scoring: ScoringSettings, job: Job) -> CaseResult:
    return _judge(folder, scoring)(job)


def read_score(folder: str | os.PathLike[str]) -> tuple[ScoringSettings, list[CaseResult]]:
    """The settings and results in a run's score.json. Raises `AnimaticError` where the run was not scored."""
    path = Path(folder) / "score.json"
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["version"] != VERSION:
            raise AnimaticError(f"{path}: version is {data['version']!r}; this program reads version {VERSION}")

        # JSON has no tuples.
        scoring = data["scoring"]
        settings = ScoringSettings(**{**scoring, "metrics": tuple(scoring["metrics"])})
        rows = data["results"] if "results" in data else data["verdicts"]  # their name in version 0.1
        return settings, [from_json(fields) for fields in rows]
    except FileNotFoundError:
        raise AnimaticError(f"{folder} has no score; run: animatic bench score {folder}") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise AnimaticError(f"{path}: is damaged ({error!r}); score again") from None
