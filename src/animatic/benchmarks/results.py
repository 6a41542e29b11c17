"""The results of a scored run: one for each job, and their summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..scene import Scene, parse
from .cases import Tally
from .jobs import DONE, FAILED, LEFT_OUT

FORMER_FIELDS = {"held": "passed", "looked": "frames", "seen": "detections"}  # of a result in score.json


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


def to_json(result: CaseResult) -> dict[str, Any]:
    fields = asdict(result)
    fields["detections"] = None
    if result.detections:
        fields["detections"] = json.loads(result.detections.to_json())
    return fields


def from_json(fields: dict[str, Any]) -> CaseResult:
    """A result as `score` wrote it; files written by earlier versions have the names of FORMER_FIELDS."""
    fields = {FORMER_FIELDS.get(name, name): value for name, value in fields.items()}

    # Detections are a scene, or nothing where the job was not judged.
    detections = fields["detections"]
    fields["frames"] = tuple(fields["frames"])
    fields["detections"] = parse(detections) if detections else None
    return CaseResult(**fields)


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
    # Failed jobs are judged as not passed; what a model cannot show is not judged.
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

    # The mean of each metric over the videos that have it.
    means = {}
    for name, numbers in values.items():
        means[name] = (float(np.mean(numbers)), len(numbers))
    return Summary(tasks, means, failed, left_out, unmade)
