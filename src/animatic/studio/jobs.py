"""What a job can be: to render a request, to finish a video that was made, to make one again with other words."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ..attention_export import AttentionExport, panels
from ..backbones.components import Components
from ..callbacks import Callback, OnProgress, together
from ..controls.watching import Preview, Stop, Stopped
from ..core.control import Control
from ..core.types import Step
from ..generation import finished, generate_versions
from ..request import GenerationRequest
from ..seed_series import generate_seeds
from ..video import Video
from .box_scores import in_box
from .estimates import StepTimer
from .images import image_of
from .job_request import JobRequest
from .log import Log, Record

PREVIEW = 192  # pixels of a preview's sides, or up to twice that


class Job:
    """A record being worked at: how far it is, what it would show by now, and whether it should stop."""

    def __init__(self, record: Record, folder: Path) -> None:
        self.record = record
        self.folder = folder
        self.stop = threading.Event()

        # progress in steps, since a time of `time.monotonic`
        self.began = 0.0
        self.done = 0
        self.count = 0

        # seconds a step of the requests that were rendered
        self.step_seconds: list[tuple[GenerationRequest, float]] = []

        # the last preview as webp, and how many there were: the page loads the next one when the number changes
        self.preview = b""
        self.shown = 0

    def tick(self, done: int, count: int) -> None:
        """Progress of the run. Raises `Stopped` where the job is to stop, which ends the run."""
        if self.stop.is_set():
            raise Stopped
        if not done:
            self.began = time.monotonic()  # loading is not counted into the rest
        self.done = done
        self.count = count

    def show(self, step: Step, frames: Tensor) -> None:
        """Keep what the video would be by now, reduced by leaving out pixels: it is made at every step."""
        stride = max(1, max(frames.shape[2:4]) // PREVIEW)
        small = Video(frames[0, :, ::stride, ::stride].cpu().numpy())
        self.preview = small.encoded(".webp", scale=1)
        self.shown += 1

    @property
    def rest(self) -> float | None:
        """Seconds that are left, as the steps so far went."""
        if not self.done:
            return None
        took = time.monotonic() - self.began
        return took / self.done * (self.count - self.done)

    def keep(self, video: Video, stem: str, label: str) -> dict[str, str]:
        """Write a video for the page, and as it is without loss (mkv), to be gone on with; its files by kind."""
        version = {"method": label, "json": "story.json"}
        for suffix, scale in (("mp4", None), ("gif", None), ("mkv", 1)):
            version[suffix] = video.save(self.folder / f"{stem}.{suffix}", scale).name
        return version


Files = list[dict[str, str]]
"""For each version that was made its files by kind, and what `log.FACTS` names."""


def make(job: Job, wanted: JobRequest, model: Components, log: Log) -> Files:
    """Render the request, then what it is to be compared with, each from all of its seeds.

    Takes are in the job's record as soon as their files are there, and stay there where the job is cancelled.
    """
    files: Files = []
    seeds = wanted.seeds or [wanted.generation.sampling.seed]
    count = wanted.takes

    # progress runs on over all takes, which last about the same time
    def tick(done: int, steps: int) -> None:
        job.tick(len(files) * steps + done, count * steps)

    timer = StepTimer()
    observers: list[Callback | Control] = [Preview(job.show, every=1), Stop(job.stop.is_set), OnProgress(tick), timer]
    image = image_of(log.folder, wanted.generation)
    for r, (setting, request) in enumerate(wanted.requests):
        export = AttentionExport(whole=wanted.attention and r == 0)
        for video in generate_seeds(request, seeds, model, [*observers, export], image=image):
            # a take's name says by what it differs from the others
            method = str(video.info["method"])
            stem = f"{len(files) + 1}-{re.sub(r'[^a-z0-9]+', '-', method)}".rstrip("-")
            version = job.keep(video, stem, method)
            version["seed"] = str(video.info["seed"])
            if setting:
                version["setting"] = setting
            if export.means:
                version["attention"] = panels(video, export.means).save(job.folder / f"{stem}.attention.mp4").name
                export.whole = False  # of the first take alone
                export.means.clear()
            if (score := in_box(video, wanted.story, model)) is not None:
                version["in_box"] = f"{score:.3f}"
            files.append(version)
            if timer.seconds is not None:
                job.step_seconds.append((request, timer.seconds))
            if len(files) < count:
                log.change(job.record.id, files=tuple(files))
    return files


def finish(job: Job, wanted: JobRequest, model: Components, log: Log) -> Files:
    """Take a video through its stages."""
    assert wanted.source is not None
    video = log.video(*wanted.source)
    made = finished(video, wanted.generation, together([OnProgress(job.tick)]))
    stages = wanted.generation.finishing.stages
    return [job.keep(made, "1-finished", f"{video.info['method']}, then {stages}")]


def edit(job: Job, wanted: JobRequest, model: Components, log: Log) -> Files:
    """Make a story again as it was, and as edited, from the same noise; an edit of an edit goes on from that."""
    observers: list[Callback | Control] = [Stop(job.stop.is_set), OnProgress(job.tick)]
    image = image_of(log.folder, wanted.generation)
    *_, before, after = generate_versions(wanted.generation, model, observers, image=image)
    return [job.keep(after, "1-edited", "edited"), job.keep(before, "2-before", "before")]


ACTIONS: dict[str, Callable[[Job, JobRequest, Components, Log], Files]] = {
    "render": make,
    "finish": finish,
    "edit": edit,
}
"""By the name of the endpoint in `api.py`. They call `job.tick`, mind `job.stop` and write into `job.folder`."""
