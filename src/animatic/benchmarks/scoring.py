"""Stage 2, second half: what a run made is looked at and judged. Nothing is generated, so a run can be scored anew."""

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

import numpy as np

from ..errors import AnimaticError
from ..files import write_atomically
from ..scene import Scene, parse
from .cases import Benchmark, Looking, Tally, rules_named
from .detect import detect, looked_at
from .jobs import DONE, FAILED, LEFT_OUT, Job, Tick, digest, untold
from .known import benchmark_named, detector_named, suits
from .metrics import agreement, motion
from .run_store import Run

VERSION = 1
METRICS = ("plan", "motion", "clip")
CHUNK = 5  # jobs sent to a process at a time


@dataclass(frozen=True)
class Scoring:
    """How a run is scored. `metrics` are of METRICS; `clip` are the weights for that one, "" the usual ones.

    `threshold` (0..1): least score of a box; `nms`: overlap (IoU) with a surer box from which a box falls, over 1 for
    never; `class_aware`: only boxes of one name compete; `frames`: how many of a video are looked at, evenly spread.
    None is as published for the benchmark and the detector (see `known.suits`).
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

    def of_benchmark(self, benchmark: Benchmark) -> Scoring:
        """The same with nothing left open."""
        usual = suits(self.detector, benchmark.looking)
        return replace(
            self,
            threshold=usual.threshold if self.threshold is None else self.threshold,
            nms=usual.nms if self.nms is None else self.nms,
            class_aware=usual.aware if self.class_aware is None else self.class_aware,
            frames=self.frames or benchmark.frames,
        )

    def looking(self, benchmark: Benchmark) -> Looking:
        """How detections become a layout."""
        whole = self.of_benchmark(benchmark)
        assert whole.threshold is not None and whole.nms is not None and whole.class_aware is not None
        return Looking(whole.threshold, whole.nms, whole.class_aware, benchmark.looking.whole)


@dataclass(frozen=True)
class Verdict:
    """Of one job: whether the predicate holds (None: not judged), what was seen in the frames `looked` at, numbers."""

    number: int
    task: str
    state: str
    held: bool | None = None
    reason: str = ""
    looked: tuple[int, ...] = ()
    seen: Scene | None = None
    values: dict[str, float] = field(default_factory=dict)


class Judge:
    """A benchmark's predicates and a detector at work on a run's videos."""

    def __init__(self, folder: str, scoring: Scoring) -> None:
        self.run = Run(folder)
        settings = self.run.settings
        self.benchmark = benchmark_named(settings.benchmark)
        self.scoring = scoring.of_benchmark(self.benchmark)
        self.cases = self.benchmark.cases()
        if digest(case.prompt for case in self.cases) != settings.digest:
            raise AnimaticError(f"{folder} was made of other prompts than {settings.benchmark!r} has now")
        self.story = self.benchmark.kind == "story"
        if not self.story and not any(case.queries for case in self.cases):
            raise AnimaticError(f"benchmark {settings.benchmark!r} names nothing to look for; only plans can be scored")
        self.detector = detector_named(scoring.detector)
        self.looking = scoring.looking(self.benchmark)
        self.clip = None
        if "clip" in scoring.metrics:
            from .clip import WEIGHTS, Clip

            self.clip = Clip(scoring.clip or WEIGHTS)

    def __call__(self, job: Job) -> Verdict:
        """Judge one job. What failed, is missing or damaged is wrong, and says why."""
        verdict = Verdict(job.number, job.task, job.state, reason=job.reason)
        if job.state != DONE:
            return replace(verdict, held=False) if job.state == FAILED else verdict
        try:
            frames = self.run.video(job).frames
        except AnimaticError as error:
            return replace(verdict, held=False, state=FAILED, reason=str(error))
        values = self._measured(frames, job.prompt.split(" | ") if self.story else [job.prompt])
        if self.story:
            return replace(verdict, values=values)
        case = self.cases[job.number % len(self.cases)]
        looked = looked_at(len(frames), self.scoring.frames or self.benchmark.frames)
        seen = detect(self.detector, frames[looked], case.queries, case.prompt, self.looking, case.several)
        if "plan" in self.scoring.metrics and isinstance(job.plan, Scene):
            values = agreement(job.plan, seen, len(frames), looked) | values
        held = case.holds(seen, rules_named(self.scoring.rules))
        return replace(verdict, held=held, looked=tuple(looked), seen=seen, values=values)

    def _measured(self, frames: np.ndarray, prompts: Sequence[str]) -> dict[str, float]:
        """What the metrics say of the whole, but of each part of a story its likeness to its own prompt.

        Numbers that are not finite are left out: the tables say of how many videos a mean is.
        """
        values = motion(frames) if "motion" in self.scoring.metrics else {}
        if self.clip:
            values |= self.clip(frames, prompts[0])
            if len(prompts) > 1:
                parts = zip(np.array_split(frames, len(prompts)), prompts, strict=True)
                values["clip text"] = float(np.mean([self.clip(part, prompt)["clip text"] for part, prompt in parts]))
        return {name: value for name, value in values.items() if isfinite(value)}


def score(folder: str | os.PathLike[str], scoring: Scoring, workers: int = 1, tick: Tick = untold) -> list[Verdict]:
    """Score every job of a run, in `workers` processes, and keep the verdicts in its score.json."""
    run = Run(folder)
    scoring, jobs = scoring.of_benchmark(benchmark_named(run.settings.benchmark)), run.jobs()
    verdicts: list[Verdict] = []
    for verdict in _judged(str(folder), scoring, jobs, workers):
        verdicts.append(verdict)
        tick(len(verdicts), len(jobs))
    told = {
        "version": VERSION,
        "scoring": asdict(scoring),
        "verdicts": [{**asdict(v), "seen": v.seen and json.loads(v.seen.to_json())} for v in verdicts],
    }
    write_atomically(Path(folder) / "score.json", (json.dumps(told) + "\n").encode())
    return verdicts


def _judged(folder: str, scoring: Scoring, jobs: Sequence[Job], workers: int) -> Iterator[Verdict]:
    judge = Judge(folder, scoring)  # here too: what is wrong is told before any process begins
    if workers <= 1:
        yield from map(judge, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(partial(_verdict, folder, scoring), jobs, chunksize=CHUNK)


@cache
def _judge(folder: str, scoring: Scoring) -> Judge:
    """One per process of the pool, which lives for one call of `score`."""
    import torch

    torch.set_num_threads(1)
    return Judge(folder, scoring)


def _verdict(folder: str, scoring: Scoring, job: Job) -> Verdict:
    return _judge(folder, scoring)(job)


def read_score(folder: str | os.PathLike[str]) -> tuple[Scoring, list[Verdict]]:
    """What `score` kept. Raises where a run was not scored."""
    path = Path(folder) / "score.json"
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["version"] != VERSION:
            raise AnimaticError(f"{path}: version is {data['version']!r}; this program reads version {VERSION}")
        told = data["scoring"]
        verdicts = [
            Verdict(**{**v, "looked": tuple(v["looked"]), "seen": v["seen"] and parse(v["seen"])})
            for v in data["verdicts"]
        ]
        return Scoring(**{**told, "metrics": tuple(told["metrics"])}), verdicts
    except FileNotFoundError:
        raise AnimaticError(f"{folder} has no score; run: animatic bench score {folder}") from None
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise AnimaticError(f"{path}: is damaged ({error!r}); score again") from None


@dataclass(frozen=True)
class Summary:
    """A run in numbers. `unmade` are not generated yet, `left_out` cannot be shown by the model: neither is counted.

    `failed` (with their reasons) are counted, as wrong. `means` are (mean, how many videos) of each metric.
    """

    tasks: dict[str, Tally]
    means: dict[str, tuple[float, int]]
    failed: dict[int, str]
    left_out: dict[int, str]
    unmade: int

    @property
    def overall(self) -> Tally:
        return sum(self.tasks.values(), Tally())


def summary(verdicts: Sequence[Verdict]) -> Summary:
    tasks: dict[str, Tally] = {verdict.task: Tally() for verdict in verdicts}
    values: dict[str, list[float]] = {}
    for v in verdicts:
        if v.held is not None:
            tasks[v.task] += Tally(int(v.held), 1)
        for name, value in v.values.items():
            values.setdefault(name, []).append(value)
    return Summary(
        tasks,
        {name: (float(np.mean(found)), len(found)) for name, found in values.items()},
        {v.number: v.reason for v in verdicts if v.state == FAILED},
        {v.number: v.reason for v in verdicts if v.state == LEFT_OUT},
        sum(v.held is None and v.state not in (LEFT_OUT, DONE) for v in verdicts),
    )
