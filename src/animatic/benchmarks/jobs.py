"""The nouns of a run: what decides what it makes, one job of it, and what became of that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from ..core.setting_values import shown
from ..errors import AnimaticError
from ..request import GenerationRequest
from ..scene import Scene, Story
from ..video import Video, parse_size

if TYPE_CHECKING:
    from .cases import Case

Progress = Callable[[int, int], None]  # jobs done, of how many

TODO, RUNNING, DONE, FAILED, LEFT_OUT = "todo", "running", "done", "failed", "left out"
LARGEST = 2**31 - 1  # of the counts in settings
REPEAT = 6789  # LMD's and LVD's distance between the seeds of a prompt's repeats


@dataclass(frozen=True)
class RunSettings:
    """All that decides what a run makes.

    `benchmark` is the name it was called by, `digest` of its prompts, `kind` video, image or story. `request` is
    that of every job but for its story and seed; its own seed is that of the first job. `batch` jobs are rendered
    together and `threads` CPU threads used by each worker: sums, and so the last bits of a frame, depend on both.
    `prompt_only`: the plan is kept to measure against but not shown to the method. `format` of the files: "" is mp4, of
    stills png.
    """

    benchmark: str
    digest: str
    kind: str
    planner: str
    request: GenerationRequest
    prompt_only: bool = False
    repeats: int = 1
    batch: int = 1
    threads: int = 1
    format: str = ""

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def seed(self) -> int:
        return self.request.sampling.seed

    @property
    def method_shown(self) -> str:
        """The method with its settings, as tables name it."""
        settings = [f"{name}={shown(value)}" for name, value in self.request.settings.items()]
        return " ".join([self.method, *settings])

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `of_dict` reads it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "request": self.request.to_dict()}

    @staticmethod
    def of_dict(data: Mapping[str, Any], source: str | Path) -> RunSettings:
        """The settings in decoded JSON. Raises `AnimaticError` naming `source` where they are not those of a run."""
        values = dict(data)
        if "request" not in values:  # before version 0.2 of the package its fields stood beside the others
            names = ("model", "method", "settings", "seed", "steps", "guidance", "frames", "scheduler", "negative")
            request = {name: values.pop(name) for name in names if name in values}
            request["size"] = parse_size(values.pop("size", ""))
            values["request"] = {"story": [], **request}
        if unknown := set(values) ^ {f.name for f in fields(RunSettings)}:
            raise AnimaticError(f"{source}: its settings are not those of a run ({', '.join(sorted(unknown))})")
        settings = RunSettings(**{**values, "request": GenerationRequest.of_dict(values["request"], source)})
        settings.check_types(source)
        return settings

    def check_types(self, source: str | Path) -> None:
        """Raise `AnimaticError` naming `source` where a value has another type than its field, or counts nothing."""
        for name, wanted in get_type_hints(RunSettings).items():
            value = getattr(self, name)
            is_count = type(value) is int and 1 <= value <= LARGEST
            if type(value) is not wanted or (wanted is int and not is_count):
                words = f"a whole number from 1 to {LARGEST}" if wanted is int else wanted.__name__
                raise AnimaticError(f"{source}: {name} is {repr(value)[:80]}; want {words}")

    def differences(self, other: RunSettings) -> list[str]:
        """Where other settings differ from these, a line each."""
        ours, theirs = _flat(self.to_dict()), _flat(other.to_dict())
        return [f"{key} was {old!r}, now {theirs.get(key)!r}" for key, old in ours.items() if theirs.get(key) != old]

    def job_request(self, story: Story, seed: int) -> GenerationRequest:
        """The request of one job."""
        return replace(self.request, story=story).with_sampling(seed=seed)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by the last of their names, as options are called; those of finishing by both names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name != "settings":
            flat |= _flat(value, "finishing." if name == "finishing" else "")
        else:
            flat[prefix + name] = value
    return flat


@dataclass(frozen=True)
class Job:
    """One thing to make. `names` are what it must show, `plan` None where there is none (see `reason`).

    `frames`, `height` and `width` are of the video as it was generated; files of small ones are enlarged. `digest` is
    the SHA-256 of the file's content, "" where it is not known.
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
    digest: str = ""


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


@dataclass(frozen=True)
class Rendered:
    """A job's video that is still to be encoded, in `format` (see `finished`)."""

    job: Job
    video: Video
    seconds: float = 0.0
    format: str = ""

    def outcome(self) -> Outcome:
        return finished(self.job, self.video, self.seconds, self.format)


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
