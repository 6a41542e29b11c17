"""What a job can be: to render scenes, to finish a video that was made, to make one again with other words."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..attention_export import AttentionExport, panels
from ..backbones.components import Components
from ..checking import checked
from ..controls.watching import Preview, Progress, Stop, Stopped
from ..core.control import Control
from ..core.setting_values import Value
from ..core.types import Step
from ..durations import length_note
from ..editing import Edit, render_edit
from ..errors import AnimaticError
from ..finishing.stages import finish as finished
from ..finishing.stages import stage_context, stages_of
from ..generation import How, Take, laid_out, render, render_story
from ..methods import method_named
from ..methods.effect import without_effect
from ..scene import Scene, Story, parse_story
from ..timeline import BY_TIME, Timeline, check_no_frames
from ..video import Video
from .log import Log, Record

PREVIEW = 192  # pixels of a preview's sides, or up to twice that


@dataclass(frozen=True)
class Wanted:
    """What a job is asked for: a story, a model, a method and others beside it; None is the model's default.

    `after`: what is to be done to the job that it names in "of": {"version", "then"}, or {"source", "edits"}.
    """

    story: Story
    model: str = "mini"
    method: str = "lvd"
    seed: int = 0
    steps: int | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    scheduler: str = ""
    settings: Mapping[str, Value] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    heat: bool = False
    after: Mapping[str, Any] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.method, *self.beside)))

    def how(self, method: str, watch: Sequence[Control] = ()) -> How:
        """How one of its methods samples; the settings are the first one's."""
        return {
            "steps": self.steps, "frames": self.frames, "size": self.size, "scheduler": self.scheduler,
            "settings": self.settings if method == self.method else {}, "watch": watch,
        }  # fmt: skip

    def laid_out(self, model: Components) -> Scene | Timeline:
        """The story as the model shows it: one scene at once, or a timeline in windows.

        Raises where the story cannot be laid out, or where `frames` is given beside the scenes' seconds.
        """
        layout = method_named(self.method).layout if self.method else BY_TIME
        shown = laid_out(self.story, model, self.frames, layout)
        if isinstance(shown, Timeline):
            check_no_frames(self.frames)
        return shown

    def check(self, model: Components) -> list[str]:
        """Raise where one of its methods cannot do it on this model; returns what will be without effect."""
        shown, notes = self.laid_out(model), []
        if self.heat and not shown.tracks:
            raise AnimaticError("heat maps are of things, and the scene has none; want a box, or no heat maps")
        for method in self.methods:
            controls = checked(Take.of(model, method, **self.how(method)), shown)
            notes.append(without_effect(method, controls, shown))
        if isinstance(shown, Scene):
            notes.append(length_note(shown, model, self.frames, None))
        return list(filter(None, notes))

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
    """Render the story in one take under the method, then under each one beside it, from the same noise."""
    shown, files = wanted.laid_out(model), []
    for m, name in enumerate(wanted.methods):

        def tick(done: int, count: int, before: int = m) -> None:
            job.tick(before * count + done, len(wanted.methods) * count)

        album = AttentionExport(whole=wanted.heat and m == 0)
        seen = album.controls()
        watch = [Preview(job.show, every=1), Stop(job.stop.is_set), Progress(tick), *seen]
        if isinstance(shown, Scene):
            video = render(shown, model, name, wanted.seed, **wanted.how(name, watch))
        else:
            video = render_story(wanted.story, model, name, wanted.seed, **wanted.how(name, watch))

        stem = f"{m + 1}-{re.sub(r'[^a-z0-9]+', '-', name)}".rstrip("-")
        version = job.keep(video, stem, name)
        if album.means:
            version["heat"] = panels(video, album.means).save(job.folder / f"{stem}.heat.mp4").name
        files.append(version)
    return files


def finish(job: Job, wanted: Wanted, model: Components, log: Log) -> Files:
    """Take a video through its stages."""
    told = wanted.after or {}
    video = log.video(told["of"], told["version"])
    made = finished(video, stages_of(told["then"]), stage_context(video, "", wanted.seed, progress=job.tick))
    return [job.keep(made, "1-finished", f"{wanted.method}, then {told['then']}")]


def edit(job: Job, wanted: Wanted, model: Components, log: Log) -> Files:
    """Make a story again as it was, and as edited, from the same noise; an edit of an edit goes on from that."""
    told = wanted.after or {}
    story = parse_story(told["source"])
    shown = replace(wanted, story=story).laid_out(model)
    watch = [Stop(job.stop.is_set), Progress(job.tick)]
    before, after = render_edit(
        shown if isinstance(shown, Scene) else story, [Edit(**each) for each in told["edits"]], model, wanted.method,
        wanted.seed, **wanted.how(wanted.method, watch),
    )  # fmt: skip
    return [job.keep(after, "1-edited", "edited"), job.keep(before, "2-before", "before")]


ACTIONS: dict[str, Callable[[Job, Wanted, Components, Log], Files]] = {"render": make, "finish": finish, "edit": edit}
"""By the name of the errand in `api.py`. They call `job.tick`, mind `job.stop` and write into `job.folder`."""
