"""What a job can be: to render scenes, to finish a video that was made, to make one again with other words."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..attention import Album, panels
from ..backbones.base import Components
from ..cascade.stages import finish as finished
from ..cascade.stages import said, stages_of
from ..controls.watching import Preview, Progress, Stop, Stopped
from ..editing import Edit, render_edit
from ..methods import Recipe, recipe_named
from ..rendering import How, render
from ..sampling import Control, Step
from ..scene import Story, parse_story
from ..video import Video, joined
from .fields import Setting, tuned
from .log import Log, Record

PREVIEW = 192  # pixels of a preview's sides, or up to twice that


@dataclass(frozen=True)
class Wanted:
    """What a job is asked for: scenes in a row, a model, a method and others beside it; None is the model's habit.

    `after`: what is to be done to the job that it names in "of": {"version", "then"} or {"source", "edit"}.
    """

    story: Story
    model: str = "mini"
    method: str = "lvd"
    seed: int = 0
    steps: int | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    scheduler: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    heat: bool = False
    after: Mapping[str, Any] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.method, *self.beside)))

    def how(self, watch: Sequence[Control] = ()) -> How:
        told: How = {"steps": self.steps, "frames": self.frames, "size": self.size, "scheduler": self.scheduler}
        return {**told, "watch": watch}

    def recipe(self, method: str, model: Components) -> Recipe:
        """One of its methods; the settings are the first one's."""
        return tuned(recipe_named(method), self.settings if method == self.method else {}, model, method)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "story": {"version": 1, "scenes": [asdict(scene) for scene in self.story]}}

    @staticmethod
    def of(data: Mapping[str, Any]) -> Wanted:
        size = data["size"] and tuple(data["size"])
        told = {"story": parse_story(data["story"]), "size": size, "beside": tuple(data["beside"])}
        return Wanted(**{**data, **told})


class Job:
    """A record being worked at: how far it is, what it would show by now, and whether it should stop."""

    def __init__(self, record: Record, folder: Path) -> None:
        self.record, self.folder, self.stop = record, folder, threading.Event()
        self.began, self.done, self.count = 0.0, 0, 0
        self.preview, self.shown = b"", 0

    def tick(self, done: int, count: int) -> None:
        if self.stop.is_set():
            raise Stopped
        if not done:
            self.began = time.monotonic()  # loading is not counted into the rest
        self.done, self.count = done, count

    def show(self, step: Step, frames: Tensor) -> None:
        part = max(1, max(frames.shape[2:4]) // PREVIEW)
        small = Video(frames[0, :, ::part, ::part].cpu().numpy())
        self.preview, self.shown = small.encoded(".webp", scale=1), self.shown + 1

    @property
    def rest(self) -> float | None:
        """Seconds that are left, as the steps so far went."""
        took = time.monotonic() - self.began
        return took / self.done * (self.count - self.done) if self.done else None

    def keep(self, video: Video, stem: str, label: str) -> dict[str, str]:
        """Write a video for the page, and as it is without loss (mkv), to be gone on with; its files by kind."""
        version = {"method": label, "json": "story.json"}
        for suffix, scale in (("mp4", None), ("gif", None), ("mkv", 1)):
            version[suffix] = video.save(self.folder / f"{stem}.{suffix}", scale).name
        return version


Files = list[dict[str, str]]
"""For each version that was made its files by kind, and its "method"."""


def make(job: Job, wanted: Wanted, model: Components, log: Log) -> Files:
    """Render the scenes under the method, then under each one beside it, with the same noise."""
    files, runs = [], len(wanted.methods) * len(wanted.story)
    for m, name in enumerate(wanted.methods):
        recipe, videos, maps = wanted.recipe(name, model), [], []
        for s, scene in enumerate(wanted.story):

            def tick(done: int, count: int, run: int = m * len(wanted.story) + s) -> None:
                job.tick(run * count + done, runs * count)

            album = Album(whole=wanted.heat and m == 0)
            watch = [Preview(job.show, every=1), Stop(job.stop.is_set), Progress(tick), *album.controls(scene)]
            videos.append(render(scene, model, recipe, wanted.seed + s, **wanted.how(watch)))
            if album.means:
                maps.append(panels(videos[-1], album.means))
        stem = f"{m + 1}-{re.sub(r'[^a-z0-9]+', '-', name)}".rstrip("-")
        version = job.keep(joined(videos), stem, name)
        for s, seen in enumerate(maps):
            version[f"heat{s or ''}"] = seen.save(job.folder / f"{stem}.heat{s or ''}.mp4").name
        files.append(version)
    return files


def finish(job: Job, wanted: Wanted, model: Components, log: Log) -> Files:
    """Take a video through its stages."""
    told = wanted.after or {}
    video = log.video(told["of"], told["version"])
    made = finished(video, stages_of(told["then"]), said(video, "", wanted.seed, tick=job.tick))
    return [job.keep(made, "1-finished", f"{wanted.method}, then {told['then']}")]


def edit(job: Job, wanted: Wanted, model: Components, log: Log) -> Files:
    """Make the scene again as edited and as it was, from the same noise."""
    told = wanted.after or {}
    (scene,) = parse_story(told["source"])
    recipe, watch = wanted.recipe(wanted.method, model), [Stop(job.stop.is_set), Progress(job.tick)]
    before, after = render_edit(scene, Edit(**told["edit"]), model, recipe, wanted.seed, **wanted.how(watch))
    return [job.keep(after, "1-edited", "edited"), job.keep(before, "2-before", "before")]


ACTIONS: dict[str, Callable[[Job, Wanted, Components, Log], Files]] = {"render": make, "finish": finish, "edit": edit}
"""By the name of the errand in `api.py`. They call `job.tick`, mind `job.stop` and write into `job.folder`."""
