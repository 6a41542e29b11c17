"""The queue and its one worker: jobs are done in the order they came, each can be stopped, none is forgotten."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from ..backbones.components import Components
from ..binding import bind, needs_windows
from ..controls.watching import Stopped
from ..errors import AnimaticError
from ..finishing.checks import planned_shapes, resolved
from ..finishing.stage import Shape
from ..finishing.stages import stages_of
from ..generation import render_shape
from ..locking import hold
from ..methods import method_named
from ..scene import save_story
from .estimates import Estimates, Setup
from .images import image_of
from .job_request import JobRequest
from .jobs import ACTIONS, Job
from .limits import Limits as Limits
from .log import CANCELLED, DONE, FAILED, RUNNING, WAITING, Log, Record, Refused
from .memory import KEPT_FREE, check_memory, contained, free_memory, gibibytes, is_out_of_memory
from .models import Models

T = TypeVar("T")
PATIENCE = 20.0  # seconds that a job has to stop when the studio closes: it notices at the next layer of its network
RETRY = 1.0  # seconds until a record is written again that the disk had no room for

logger = logging.getLogger(__name__)


class Studio:
    """Models, the log and the worker.

    `models` and `loras` are the only names that can be requested; the first model is loaded at once. The queue are the
    log's records that wait. What waited when the last server stopped is done now; what it was at is marked as failed.
    """

    def __init__(
        self,
        folder: str | Path,
        models: Sequence[str] = ("mini",),
        limits: Limits | None = None,
        loras: Sequence[str] = (),
    ) -> None:
        self.models = Models(models, loras)
        self.limits = limits or Limits()

        # before anything of the folder is read: what another studio is at would be taken for left over
        self._lock = hold(Path(folder) / ".lock", "another studio")
        self.log = Log(folder)
        self._states = threading.Lock()  # held while a job goes from one state to another
        self._job: Job | None = None
        self.estimates = Estimates()
        self._open = True
        try:
            self.models.load(self.models.names[0])
            self._free_at_first = free_memory()
            for record in self.log.all():
                if record.state == RUNNING:
                    message = "the server stopped in the middle; render it again"
                    self.log.change(record.id, state=FAILED, message=message)
        except BaseException:
            self._lock.release()
            raise

        # one worker: two renders at once would need the memory of both, and take as long
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work_on, name="render", daemon=True)
        for record in self.log.all():
            if record.state == WAITING:
                self._queue.put(record.id)
        self._worker.start()

    def check(self, wanted: JobRequest) -> None:
        """Raise where it cannot be done, as far as that is known before: of a model that is not loaded, less."""
        request = wanted.generation
        for _, each in wanted.requests:
            method_named(each.method)
        if model := self.models.loaded(request):
            # what the job at hand takes now is free again when this one's turn comes
            self._check_on(wanted, model, self._free_at_first)

    @property
    def room(self) -> int:
        """Bytes that a job may take when its turn comes: what the job at hand takes is free again then."""
        return self._room(self._free_at_first)

    def _room(self, free: int) -> int:
        """Bytes that a job may take where so many are free."""
        own = gibibytes(self.limits.memory)
        return min(own, free) if own else max(0, free - KEPT_FREE)

    def _check_on(self, wanted: JobRequest, model: Components, free: int) -> list[str]:
        """Raise where a model cannot do it, a scene is longer than may be, or memory does not suffice.

        Returns what will be without effect.
        """
        request = wanted.generation
        image = image_of(self.log.folder, request)
        notes = wanted.check(model, image)

        # scenes of a story last their seconds, so that no number of frames was checked
        if needs_windows(request.story, model, request.sampling.frames):
            for i, scene in enumerate(request.story, 1):
                if (frames := round(scene.seconds * model.geometry.fps)) > self.limits.frames:
                    raise Refused(f"scene {i} has {frames} frames; at most {self.limits.frames} here")
        for _, each in wanted.requests:
            check_memory(bind(each, model, image=image), model, request.model, self._room(free))
        if request.finishing.stages:
            self.check_stages(request.finishing.stages, render_shape(bind(request, model, image=image)), model.family)
        return notes

    def check_stages(self, text: str, shape: Shape, source_model: str) -> None:
        """Raise where finishing stages would make a larger video than may be."""
        limits = self.limits
        for after in planned_shapes(shape, resolved(stages_of(text), source_model)):
            if max(after.width, after.height) > limits.side or after.frames > 8 * limits.frames:
                size = f"{after.frames} frames of {after.width}x{after.height}"
                raise Refused(f"that makes {size}; at most {8 * limits.frames} of {limits.side} here")

    def submit(self, action: str, request: Mapping[str, Any]) -> Record:
        """Put a job at the end of the queue. Raises `Refused` where that is full."""
        with self._states:
            # under the lock: two visitors at once may not both get the last place
            if (count := len(self._waiting())) >= self.limits.waiting:
                raise Refused(f"{count} jobs wait already, the most that may; try again later", 429)
            record = self.log.add(action, request)
            self._queue.put(record.id)
        return record

    def _work_on(self) -> None:
        """The worker: one job after the other until the studio closes."""
        while (name := self._queue.get()) is not None:
            try:
                self._work(name)
            except Exception:  # of the log, not of a job: the next one may do better
                logger.exception("job %s was left as it is", name)

    def _waiting(self) -> list[str]:
        return [record.id for record in self.log.all() if record.state == WAITING]

    def status(self, name: str) -> dict[str, Any]:
        """A record, with its place in the queue or its progress."""
        with self._states:
            record, job = self.log.get(name), self._job
            status = asdict(record)
            if record.state == WAITING:
                status["place"] = self._waiting().index(name) + 1
        if job is not None and job.record.id == name and record.state == RUNNING:
            status |= {"done": job.done, "count": job.count, "rest": job.rest, "preview": job.shown}
        return status

    def preview(self, name: str) -> bytes:
        """The last job's frames as it would show them by now: animated webp."""
        # another thread may put the next job in its place meanwhile
        job = self._job
        if job is None or job.record.id != name or not job.preview:
            raise Refused(f"job {name[:40]!r} has no preview now", 404)
        return job.preview

    def cancel(self, name: str) -> dict[str, Any]:
        """Take a job out of the queue, or stop it; what is over stays as it is."""
        with self._states:
            if self.log.get(name).state == WAITING:
                self.log.change(name, state=CANCELLED)
            elif self._job is not None and self._job.record.id == name:
                self._job.stop.set()
        return self.status(name)

    def delete(self, name: str) -> None:
        """Move a job that is over to the trash."""
        with self._states:  # no job begins meanwhile
            self.log.delete(name)

    def close(self, patience: float = PATIENCE) -> bool:
        """Stop the job at hand and the worker; what waits is done by the next server.

        False where the job does not stop within `patience` seconds, being in an operation that cannot be interrupted:
        it waits for the next server as well, and this process should end without waiting for its threads. The same
        where a rehearsal is not over.
        """
        began = time.monotonic()
        with self._states:
            self._open = False  # a job that is stopped now waits again, rather than being cancelled
            if self._job is not None:
                self._job.stop.set()
        self._queue.put(None)
        self._worker.join(patience)
        ended = not self._worker.is_alive()
        if not ended:
            with self._states:
                for record in self.log.all():
                    if record.state == RUNNING:
                        self.log.change(record.id, state=WAITING)
        self._lock.release()
        left = max(0.0, patience - (time.monotonic() - began))
        return self.estimates.close(left) and ended

    def _with_room(self, name: str, change: Callable[[], T]) -> T | None:
        """What `change` of a job's record returns, as soon as the disk has room for it; None where the studio closes.

        It is called under the lock of states.
        """
        warned = False
        while True:
            try:
                with self._states:
                    return change()
            except AnimaticError as error:
                if not warned:
                    logger.warning("job %s waits until its record can be written: %s", name, error)
                warned = True
            if not self._open:
                return None
            time.sleep(RETRY)

    def _begin(self, name: str) -> Job | None:
        """Take up a job that still waits."""
        if not self._open or self.log.get(name).state != WAITING:
            return None
        record = self.log.change(name, state=RUNNING)
        self._job = Job(record, self.log.folder / name)
        return self._job

    def _work(self, name: str) -> None:
        job = self._with_room(name, lambda: self._begin(name))
        if job is None:
            return
        record = job.record

        # whatever happens the record gets its end, or the page would wait for it forever
        began = time.monotonic()
        try:
            wanted = JobRequest.of(record.request)
            save_story(wanted.story, job.folder / "story.json")
            model = self.models.of(wanted.generation)
            free = free_memory()
            notes = self._check_on(wanted, model, free) if record.action == "render" else []
            with _stoppable(model, job), contained(self._room(free)):
                files = ACTIONS[record.action](job, wanted, model, self.log)
            for request, seconds in job.step_seconds:
                self.estimates.measured(Setup.of(request, model), seconds)
            end: dict[str, Any] = {"state": DONE, "files": tuple(files), "message": "; ".join(notes)}
        except Stopped:
            end = {"state": CANCELLED if self._open else WAITING}
        except AnimaticError as error:
            end = {"state": FAILED, "message": str(error)}
        except Exception as error:  # the worker outlives whatever a model does; the traceback is the log's
            if is_out_of_memory(error):
                reason = "memory did not suffice; want fewer frames, a smaller size, or a method without guidance"
            else:
                logger.exception("job %s failed", name)
                said = " ".join(str(error).split())
                reason = f"{type(error).__name__}: {said[:200]}"
            end = {"state": FAILED, "message": reason}
        took = time.monotonic() - began
        self._with_room(name, lambda: self.log.change(name, seconds=round(took, 2), **end))


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
