"""The queue and its one worker: jobs are done in the order they came, each can be stopped, none is forgotten."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..backbones import load
from ..backbones.base import Components
from ..controls.heat import Heat
from ..controls.watching import Preview, Progress, Stop, Stopped
from ..errors import AnimaticError
from ..methods import recipe_named
from ..rendering import render
from ..sampling import Step, check
from ..scene import Scene, parse_story, save_story
from ..video import Video, heat_map, joined, side_by_side
from .fields import Setting, tuned
from .log import CANCELLED, DONE, FAILED, RUNNING, WAITING, Log, Record, Refused

HEAT = 192  # pixels of a map's height, at least
PREVIEW = 192  # pixels of a preview's sides, or up to twice that
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one request may ask for; `waiting` is of all users together."""

    waiting: int = 16
    frames: int = 64
    steps: int = 200
    side: int = 1024
    scenes: int = 8
    tracks: int = 12
    keys: int = 64
    letters: int = 2000
    beside: int = 2
    body: int = 2_000_000


@dataclass(frozen=True)
class Wanted:
    """A render: scenes in a row, a model, a method and others beside it; what is None is the model's habit."""

    story: tuple[Scene, ...]
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

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.method, *self.beside)))

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "story": {"version": 1, "scenes": [asdict(scene) for scene in self.story]}}

    @staticmethod
    def of(data: Mapping[str, Any]) -> Wanted:
        size = data["size"] and tuple(data["size"])
        told = {"story": parse_story(data["story"]), "size": size, "beside": tuple(data["beside"])}
        return Wanted(**{**data, **told})


class Job:
    """A record being worked at: where it is, what it would show by now, and whether it should stop."""

    def __init__(self, record: Record, folder: Path) -> None:
        self.record, self.folder = record, folder
        self.stop = threading.Event()
        self.began = time.monotonic()
        self.done, self.count = 0, 0
        self.preview, self.shown = b"", 0

    def tick(self, done: int, count: int) -> None:
        if done == 0 and self.done == 0:
            self.began = time.monotonic()  # loading is not counted into the rest
        self.done, self.count = done, count

    def show(self, video: Video) -> None:
        part = max(1, max(video.frames.shape[1:3]) // PREVIEW)
        small = Video(np.ascontiguousarray(video.frames[:, ::part, ::part]))
        self.preview, self.shown = small.encoded(".webp", scale=1), self.shown + 1

    @property
    def rest(self) -> float | None:
        """Seconds that are left, as the steps so far went."""
        took = time.monotonic() - self.began
        return took / self.done * (self.count - self.done) if self.done else None


class Studio:
    """Models, the log and the worker. `models` are the only names that can be asked for, the first is loaded at once.

    What waited when the last server stopped is done now; what it was at is told as failed.
    """

    def __init__(self, folder: str | Path, models: Sequence[str] = ("mini",), limits: Limits | None = None) -> None:
        self.models, self.limits = tuple(models), limits or Limits()
        self.log = Log(folder)
        self._loaded: dict[str, Components] = {}
        self._loading = threading.Lock()
        self._ready = threading.Condition()
        self._waiting: deque[str] = deque()
        self._job: Job | None = None
        self._open = True
        for record in self.log.all():
            if record.state == RUNNING:
                self.log.change(record.id, state=FAILED, message="the server stopped in the middle; render it again")
            elif record.state == WAITING:
                self._waiting.append(record.id)
        self.model(self.models[0])
        self._worker = threading.Thread(target=self._work, name="render", daemon=True)
        self._worker.start()

    def model(self, name: str) -> Components:
        """A model by name, loaded when it is first asked for; it stays."""
        self._known(name)
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = load(name)
            return self._loaded[name]

    def _known(self, name: str) -> None:
        if name not in self.models:
            raise Refused(f"unknown model {name[:60]!r}; known here: {', '.join(self.models)}")

    def check(self, wanted: Wanted) -> None:
        """Raise where it cannot be done, as far as that can be told before: of a model that is not loaded, less."""
        recipes = {name: recipe_named(name) for name in wanted.methods}
        model = self._loaded.get(wanted.model)
        if model is None:
            self._known(wanted.model)
            return
        for name, recipe in recipes.items():
            if name == wanted.method:
                recipe = tuned(recipe, wanted.settings, model, name)
            check(model, recipe(wanted.story[:1], model, 1.0))
        for scene in wanted.story:
            model.check_scene(scene)
        native = model.geometry
        width, height = wanted.size or (native.width, native.height)
        native.latent(native.frames if wanted.frames is None else wanted.frames, height, width)
        model.schedule(wanted.steps or model.habits.steps, wanted.scheduler)

    def submit(self, action: str, request: Mapping[str, Any]) -> Record:
        """Put a job at the end of the queue. Raises `Refused` where that is full."""
        with self._ready:
            if len(self._waiting) >= self.limits.waiting:
                raise Refused(f"{len(self._waiting)} jobs wait already, the most that may; try again later", 429)
            record = self.log.add(action, request)
            self._waiting.append(record.id)
            self._ready.notify()
        return record

    def status(self, name: str) -> dict[str, Any]:
        """A record, with its place in the queue or its progress."""
        record, told = self.log.get(name), {}
        with self._ready:
            job = self._job if self._job and self._job.record.id == name else None
            if name in self._waiting:
                told["place"] = self._waiting.index(name) + 1
        if job is not None and record.state == RUNNING:
            told |= {"done": job.done, "count": job.count, "rest": job.rest, "preview": job.shown}
        return {**asdict(record), **told}

    def preview(self, name: str) -> bytes:
        """The running job's frames as it would show them by now: animated webp."""
        job = self._job
        if job is None or job.record.id != name or not job.preview:
            raise Refused(f"job {name[:40]!r} has no preview now", 404)
        return job.preview

    def cancel(self, name: str) -> dict[str, Any]:
        """Take a job out of the queue, or stop it; what is over stays as it is."""
        self.log.get(name)
        with self._ready:
            if name in self._waiting:
                self._waiting.remove(name)
                self.log.change(name, state=CANCELLED)
            elif self._job is not None and self._job.record.id == name:
                self._job.stop.set()
        return self.status(name)

    def close(self) -> None:
        """Stop the job at hand and the worker; what waits is done by the next server."""
        with self._ready:
            self._open = False
            if self._job is not None:
                self._job.stop.set()
            self._ready.notify()
        self._worker.join()

    def _work(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._waiting or not self._open)
                if not self._open:
                    return
                record = self.log.get(self._waiting.popleft())
                self._job = job = Job(record, self.log.folder / record.id)
                self.log.change(record.id, state=RUNNING)
            began = time.monotonic()
            try:
                with _stoppable(self.model(record.request["model"]), job):
                    files = actions()[record.action](self, job)
                end: dict[str, Any] = {"state": DONE, "files": tuple(files)}
            except Stopped:
                end = {"state": CANCELLED} if self._open else {"state": WAITING}
            except AnimaticError as error:
                end = {"state": FAILED, "message": str(error)}
            except Exception as error:  # the worker outlives whatever a model does; the traceback is the log's
                logger.exception("job %s failed", record.id)
                end = {"state": FAILED, "message": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            with self._ready:
                self._job = None
                self.log.change(record.id, seconds=round(time.monotonic() - began, 2), **end)


@contextmanager
def _stoppable(model: Components, job: Job) -> Iterator[None]:
    """Also in runs that a control makes of its own, such as LMD's of single things: `Stop` is not among theirs."""

    def ask(*_: object) -> None:
        if job.stop.is_set():
            raise Stopped

    hook = model.unet.register_forward_pre_hook(ask)
    try:
        yield
    finally:
        hook.remove()


def make(studio: Studio, job: Job) -> list[dict[str, str]]:
    """Render the scenes under the method, then under each one beside it, with the same noise."""
    wanted = Wanted.of(job.record.request)
    model = studio.model(wanted.model)
    save_story(wanted.story, job.folder / "story.json")
    files = []
    runs = len(wanted.methods) * len(wanted.story)
    for m, name in enumerate(wanted.methods):
        recipe = recipe_named(name)
        if name == wanted.method:
            recipe = tuned(recipe, wanted.settings, model, name)
        videos, maps = [], []
        for s, scene in enumerate(wanted.story):
            run, heats = m * len(wanted.story) + s, {}

            def tick(done: int, count: int, run: int = run) -> None:
                job.tick(run * count + done, runs * count)

            def show(step: Step, frames: Tensor) -> None:
                job.show(Video(frames[0].cpu().numpy()))

            def keep(row: int, phrase: str, heat: Tensor, heats: dict[str, Any] = heats) -> None:
                heats[phrase] = heat.cpu().numpy()

            watch = [Preview(show, every=1), Stop(job.stop.is_set), Progress(tick)]
            if wanted.heat and m == 0:
                watch.append(Heat([scene], keep))
            video = render(
                scene, model, recipe, wanted.seed + s, steps=wanted.steps, frames=wanted.frames, size=wanted.size,
                scheduler=wanted.scheduler, watch=watch,
            )  # fmt: skip
            videos.append(video)
            if heats:
                scale = max(1, HEAT // video.frames.shape[1])
                maps.append(side_by_side([heat_map(video, heat, phrase, scale) for phrase, heat in heats.items()]))
        made = joined(videos) if len(videos) > 1 else videos[0]
        stem = f"{m + 1}-{re.sub(r'[^a-z0-9]+', '-', name)}".rstrip("-")
        version = kept(job, made, stem, name)
        for s, seen in enumerate(maps):
            version[f"heat{s or ''}"] = seen.save(job.folder / f"{stem}.heat{s or ''}.mp4").name
        files.append(version)
    return files


def kept(job: Job, video: Video, stem: str, label: str) -> dict[str, str]:
    """Write a video for the page, and as it is without loss (mkv), to be gone on with; its files by kind."""
    version = {"method": label, "json": "story.json"}
    for suffix in ("mp4", "gif"):
        version[suffix] = video.save(job.folder / f"{stem}.{suffix}").name
    return version | {"mkv": video.save(job.folder / f"{stem}.mkv", scale=1).name}


Action = Callable[[Studio, Job], Sequence[Mapping[str, str]]]
"""It calls `job.tick`, minds `job.stop`, writes into `job.folder` and returns its files by kind, for each version.

Its request has the keys of `Wanted`, for the gallery, and perhaps `after.AFTER`."""


def actions() -> dict[str, Action]:
    """What a job can be, by the name of its errand in `api.py`."""
    from .after import edit_made, finish_made

    return {"render": make, "finish": finish_made, "edit": edit_made}
