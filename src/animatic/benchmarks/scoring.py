"""Scores the videos of a run: detects objects, evaluates each case's predicate and computes metrics.

Nothing is generated here, so a run can be scored again with other settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from math import isfinite
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnimaticError
from ..files import write_atomically
from ..scene import Scene, parse
from .cases import Benchmark, DetectionSettings, Tally, rules_named
from .detect import detect, sampled_frames
from .jobs import DONE, FAILED, LEFT_OUT, Job, Progress, digest, no_progress
from .metrics import agreement, motion
from .registry import benchmark_named, detector_named, thresholds_for
from .run_store import Run

VERSION = 1
FORMER_FIELDS = {"held": "passed", "looked": "frames", "seen": "detections"}  # of a result in score.json
METRICS = ("plan", "motion", "clip")
CHUNK = 5  # jobs sent to a process at a time


@dataclass(frozen=True)
class ScoringSettings:
    """How a run is scored.

    `metrics`: names of METRICS. `clip`: CLIP weights (folder or hub id), "" the default ones. `threshold` (0..1):
    minimum score of a box. `nms`: IoU with a box of higher score from which a box is suppressed; above 1 nothing is
    suppressed. `class_aware`: only boxes of the same query suppress each other. `frames`: number of evenly spaced
    frames that the detector is given. None is the published value for the benchmark and detector (see
    `registry.thresholds_for`).
    """

    detector: str = "toy"
    rules: str = "published"
    metrics: tuple[str, ...] = ("plan",)
    clip: str = ""
    threshold: float | None = None
    nms: float | None = None
    class_aware: bool | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("nms", self.nms)):
            if value is not None and not (isfinite(value) and value >= 0):
                raise AnimaticError(f"{name} is {value}; want 0 or more, such as 0.1")
        if self.frames is not None and self.frames < 1:
            raise AnimaticError(f"frames is {self.frames}; want at least 1")
        rules_named(self.rules)  # raises where there are none
        for name in self.metrics:
            if name not in METRICS:
                raise AnimaticError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")

    def of_benchmark(self, benchmark: Benchmark) -> ScoringSettings:
        """The same settings, every None replaced by the default of the benchmark and detector."""
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


@dataclass(frozen=True)
class CaseResult:
    """The result of one job.

    `passed`: whether the case's predicate holds for the detections, None where it was not evaluated. `frames`: indices
    of the frames given to the detector. `values`: metrics by name.
    """

    number: int
    task: str
    state: str
    passed: bool | None = None
    reason: str = ""
    frames: tuple[int, ...] = ()
    detections: Scene | None = None
    values: dict[str, float] = field(default_factory=dict)


class Judge:
    """A benchmark's predicates and a detector at work on a run's videos."""

    def __init__(self, folder: str, scoring: ScoringSettings) -> None:
        self.run = Run(folder)
        settings = self.run.settings
        self.benchmark = benchmark_named(settings.benchmark)
        self.scoring = scoring.of_benchmark(self.benchmark)
        self.cases = self.benchmark.cases()
        if digest(case.prompt for case in self.cases) != settings.digest:
            raise AnimaticError(f"{folder} was made from other prompts than {settings.benchmark!r} has now")

        self.story = self.benchmark.kind == "story"
        if not self.story and not any(case.queries for case in self.cases):
            raise AnimaticError(f"benchmark {settings.benchmark!r} has no queries to detect; only plans can be scored")
        self.detector = detector_named(scoring.detector)
        self.detection = scoring.detection(self.benchmark)
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
        try:
            frames = self.run.video(job).frames
        except AnimaticError as error:
            return replace(result, passed=False, state=FAILED, reason=str(error))

        prompts = job.prompt.split(" | ") if self.story else [job.prompt]
        values = self._measured(frames, prompts)
        if self.story:
            return replace(result, values=values)

        # Detect the queried objects in evenly spaced frames, then compare them with the plan and the predicate.
        case = self.cases[job.number % len(self.cases)]
        indices = sampled_frames(len(frames), self.scoring.frames or self.benchmark.frames)
        detections = detect(self.detector, frames[indices], case.queries, case.prompt, self.detection, case.all_boxes)
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
                similarities = []
                for part, prompt in zip(np.array_split(frames, len(prompts)), prompts, strict=True):
                    similarities.append(self.clip(part, prompt)["clip text"])
                values["clip text"] = float(np.mean(similarities))
        return {name: value for name, value in values.items() if isfinite(value)}


def score(
    folder: str | os.PathLike[str], scoring: ScoringSettings, workers: int = 1, tick: Progress = no_progress
) -> list[CaseResult]:
    """Score every job of a run, in `workers` processes, and write the results to its score.json."""
    run = Run(folder)
    scoring = scoring.of_benchmark(benchmark_named(run.settings.benchmark))
    jobs = run.jobs()

    results: list[CaseResult] = []
    for result in _judged(str(folder), scoring, jobs, workers):
        results.append(result)
        tick(len(results), len(jobs))

    data = {
        "version": VERSION,
        "scoring": asdict(scoring),
        "results": [_to_json(result) for result in results],
    }
    write_atomically(Path(folder) / "score.json", (json.dumps(data) + "\n").encode())
    return results


def _judged(folder: str, scoring: ScoringSettings, jobs: Sequence[Job], workers: int) -> Iterator[CaseResult]:
    judge = Judge(folder, scoring)  # in this process too, so that errors are raised before others start
    if workers <= 1:
        yield from map(judge, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(partial(_result, folder, scoring), jobs, chunksize=CHUNK)


@cache
def _judge(folder: str, scoring: ScoringSettings) -> Judge:
    """One judge per process of the pool, which lives for one call of `score`."""
    import torch

    torch.set_num_threads(1)
    return Judge(folder, scoring)


def _result(folder: str, scoring: ScoringSettings, job: Job) -> CaseResult:
    return _judge(folder, scoring)(job)


def _to_json(result: CaseResult) -> dict[str, Any]:
    fields = asdict(result)
    fields["detections"] = json.loads(result.detections.to_json()) if result.detections else None
    return fields


def _from_json(fields: dict[str, Any]) -> CaseResult:
    """A result as `score` wrote it; files written by earlier versions have the names of FORMER_FIELDS."""
    fields = {FORMER_FIELDS.get(name, name): value for name, value in fields.items()}
    detections = fields["detections"]
    fields["frames"] = tuple(fields["frames"])
    fields["detections"] = parse(detections) if detections else None
    return CaseResult(**fields)


def read_score(folder: str | os.PathLike[str]) -> tuple[ScoringSettings, list[CaseResult]]:
    """The settings and results in a run's score.json. Raises `AnimaticError` where the run was not scored."""
    path = Path(folder) / "score.json"
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["version"] != VERSION:
            raise AnimaticError(f"{path}: version is {data['version']!r}; this program reads version {VERSION}")
        scoring = data["scoring"]
        settings = ScoringSettings(**{**scoring, "metrics": tuple(scoring["metrics"])})
        rows = data["results"] if "results" in data else data["verdicts"]  # their name in version 0.1
        return settings, [_from_json(fields) for fields in rows]
    except FileNotFoundError:
        raise AnimaticError(f"{folder} has no score; run: animatic bench score {folder}") from None
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise AnimaticError(f"{path}: is damaged ({error!r}); score again") from None


@dataclass(frozen=True)
class Summary:
    """A run in numbers.

    `tasks`: tallies of the judged cases; failed jobs count as wrong. `means`: (mean, number of videos) of each metric.
    `failed` and `left_out`: reasons by job number; what the model cannot show is left out and not counted. `unmade`:
    number of jobs that are not generated yet, not counted either.
    """

    tasks: dict[str, Tally]
    means: dict[str, tuple[float, int]]
    failed: dict[int, str]
    left_out: dict[int, str]
    unmade: int

    @property
    def overall(self) -> Tally:
        return sum(self.tasks.values(), Tally())


def summarise(results: Sequence[CaseResult]) -> Summary:
    """Tallies per task and mean metrics; cases that were not judged (`passed` is None) are left out of the tallies."""
    tasks: dict[str, Tally] = {result.task: Tally() for result in results}
    values: dict[str, list[float]] = {}
    failed: dict[int, str] = {}
    left_out: dict[int, str] = {}
    unmade = 0
    for result in results:
        if result.passed is not None:
            tasks[result.task] += Tally(int(result.passed), 1)
        for name, value in result.values.items():
            values.setdefault(name, []).append(value)

        if result.state == FAILED:
            failed[result.number] = result.reason
        elif result.state == LEFT_OUT:
            left_out[result.number] = result.reason
        elif result.state != DONE and result.passed is None:
            unmade += 1

    means = {}
    for name, numbers in values.items():
        means[name] = (float(np.mean(numbers)), len(numbers))
    return Summary(tasks, means, failed, left_out, unmade)
