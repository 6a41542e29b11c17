"""The nouns of a run: what decides what it makes, one job of it, and what became of that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.setting_values import Value, shown
from ..scene import Scene, Story
from ..video import Video

if TYPE_CHECKING:
    from .cases import Case

Progress = Callable[[int, int], None]  # jobs done, of how many

TODO, RUNNING, DONE, FAILED, LEFT_OUT = "todo", "running", "done", "failed", "left out"
REPEAT = 6789  # LMD's and LVD's distance between the seeds of a prompt's repeats


@dataclass(frozen=True)
class RunSettings:
    """All that decides what a run makes. `digest` is of the benchmark's prompts; None is the model's default.

    `negative` are the model's own unwanted words, `settings` those of the method that are not its own, by name. `batch`
    jobs are rendered together and `threads` CPU threads used by each worker: sums, and so the last bits of a frame,
    depend on both. `prompt_only`: the plan is kept to measure against but not shown to the method. `format` of the
    files: "" is mp4, of stills png.
    """

    benchmark: str
    digest: str
    kind: str
    model: str
    method: str
    planner: str
    prompt_only: bool = False
    seed: int = 0
    repeats: int = 1
    steps: int | None = None
    guidance: float | None = None
    frames: int | None = None
    size: str = ""
    scheduler: str = ""
    negative: str | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    batch: int = 1
    threads: int = 1
    format: str = ""

    @property
    def method_shown(self) -> str:
        """The method with its settings, as tables name it."""
        return " ".join([self.method, *(f"{name}={shown(value)}" for name, value in self.settings.items())])


@dataclass(frozen=True)
class Job:
    """One thing to make. `names` are what it must show, `plan` None where there is none (see `reason`).

    `frames`, `height` and `width` are of the video as it was generated; files of small ones are enlarged.
    """

    number: int
    place: int
    task: str
    prompt: str
    names: tuple[str, ...]
    seed: int
    plan: Scene | Story | None = None
    state: str = TODO
    reason: str = ""
    seconds: float | None = None
    file: str = ""
    frames: int = 0
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `data` is the file's content, `shape` (frames, height, width) of the video."""

    number: int
    state: str
    reason: str = ""
    seconds: float = 0.0
    data: bytes = field(default=b"", repr=False)
    suffix: str = ""
    shape: tuple[int, int, int] = (0, 0, 0)


def no_progress(done: int, count: int) -> None:
    """A progress callback that does nothing."""


def finished(job: Job, video: Video, seconds: float = 0.0, format: str = "") -> Outcome:
    """The outcome of a job that succeeded, encoded as `format` ("npz"); "" is mp4 for a video and png for an image."""
    default = "mp4" if len(video) > 1 else "png"
    suffix = f".{format or default}"
    data = video.encoded(suffix)
    return Outcome(job.number, DONE, "", seconds, data, suffix, video.frames.shape[:3])


def digest(prompts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()[:16]


def jobs_of(cases: Sequence[Case], settings: RunSettings) -> list[Job]:
    """One job per case and repeat, with seed = settings.seed + index + 6789 * repeat, however the work is divided."""
    order = fair_order([case.task for case in cases])
    jobs = []
    for repeat in range(settings.repeats):
        # numbers of jobs are consecutive over repeats; places order the work within each repeat
        first = repeat * len(cases)
        for i, case in enumerate(cases):
            seed = settings.seed + i + REPEAT * repeat
            jobs.append(Job(first + i, first + order[i], case.task, case.prompt, case.queries, seed))
    return jobs


def fair_order(tasks: Sequence[str]) -> list[int]:
    """The place of each index in an order whose every prefix has each task in proportion, spread over its cases."""
    golden = (5**0.5 - 1) / 2
    keys: list[tuple[float, int]] = []
    for task in dict.fromkeys(tasks):
        members = [i for i, other in enumerate(tasks) if other == task]

        # the golden-ratio sequence visits the cases of a task evenly
        spread = sorted(range(len(members)), key=lambda k: k * golden % 1)

        # tasks are merged by relative rank
        for rank, k in enumerate(spread):
            keys.append(((rank + 0.5) / len(members), members[k]))

    places = [0] * len(tasks)
    for place, (_, i) in enumerate(sorted(keys)):
        places[i] = place
    return places


def scenes_of(plan: Scene | Story) -> Story:
    """A plan as a story: a scene is a story of one."""
    return (plan,) if isinstance(plan, Scene) else plan
