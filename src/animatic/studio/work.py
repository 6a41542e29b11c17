"""The queue and its one worker: jobs are done in the order of the queue, each can be stopped, none is forgotten."""

from __future__ import annotations

import copy
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from ..controls.watching import Stopped
from ..errors import AnimaticError
from ..files import make_folder
from ..locking import hold
from ..scene import save_story
from .estimates import Estimates, Setup
from .job_checks import JobChecks
from .job_request import JobRequest
from .jobs import ACTIONS, Job, stoppable
from .limits import Limits as Limits
from .log import CANCELLED, DONE, FAILED, RUNNING, WAITING, Log, Record, Refused
from .loras import Loras
from .memory import contained, free_memory, is_out_of_memory
from .models import OFFERED, Models
from .queue_order import QueueOrder

T = TypeVar("T")
PATIENCE = 20.0  # seconds that a job has to stop when the studio closes: it notices at the next layer of its network
VISITORS = "visitors"  # the folder of visitors' galleries, in that of the studio
INTERRUPTED = "the server stopped in the middle; render it again"
RETRY = 1.0  # seconds until a record is written again that the disk had no room for

logger = logging.getLogger(__name__)


class Studio(JobChecks):
    """Models, the log and the worker.

    `models` are the only names that can be requested, with `loras` and those that a visitor has sent; the first model
    is loaded at once. The queue are the log's records that wait, in the order of `QueueOrder`, those of the last server
    among them; what that was at is marked as failed.

    A visitor's (`of_visitor`) has a log of its own, and shares the rest with this one.
    """

    def __init__(
        self,
        folder: str | Path,
        models: Sequence[str] = OFFERED,
        limits: Limits | None = None,
        loras: Sequence[str] = (),
    ) -> None:
        self.models = Models(models)
        self.limits = limits or Limits()
        self._started_loras = tuple(loras)

        # before anything of the folder is read: what another studio is at would be taken for left over
        self._lock = hold(Path(folder) / ".lock", "another studio")
        self._states = threading.Lock()  # held while a job goes from one state to another
        self._left_out: set[str] = set()  # jobs that could not be taken up; the next server does them
        self.estimates = Estimates()
        self._closing = threading.Event()
        # an entry for each job that was added: whose it is, None to end. Which one is next is decided at its turn.
        self._queue: queue.SimpleQueue[Studio | None] = queue.SimpleQueue()
        self._at(Path(folder))
        self.studios: dict[str, Studio] = {"": self}  # with those of visitors, by their names
        try:
            self.models.load(self.models.names[0])
            self._free_at_first = free_memory()
            for place in sorted((self.log.folder / VISITORS).glob("*/")):
                self.of_visitor(place.name)
            for studio in self.studios.values():
                for record in studio.log.all():
                    if record.state == RUNNING:
                        studio.log.change(record.id, state=FAILED, message=INTERRUPTED)
        except BaseException:
            self._lock.release()
            raise

        # one worker: two renders at once would need the memory of both, and take as long
        waiting = [(name, studio) for studio in self.studios.values() for name in studio._waiting()]
        for _, studio in sorted(waiting, key=lambda entry: entry[0]):  # names begin with the time
            self._queue.put(studio)
        self._worker = threading.Thread(target=self._work_on, name="render", daemon=True)
        self._worker.start()

    def _at(self, folder: Path) -> None:
        """Take the jobs of a folder for one's own."""
        self.log = Log(folder)
        self.loras = Loras(self.log.folder, self._started_loras, self.limits)
        self._order = QueueOrder(self.log.folder)
        self._job: Job | None = None

    def of_visitor(self, name: str, begins: bool = False) -> Studio:
        """The studio of a visitor, who sees and changes no job but their own, in the folder <folder>/visitors/NAME.

        Of a visitor without a folder it is forgotten at once, unless a job `begins` it.
        """
        with self._states:
            if name in self.studios:
                return self.studios[name]
            studio = copy.copy(self)
            studio._at(self.log.folder / VISITORS / name)
            if begins:
                try:
                    make_folder(studio.log.folder)
                except OSError as error:
                    raise AnimaticError(f"{studio.log.folder}: cannot be made ({error.strerror})") from None
            if studio.log.folder.exists():
                self.studios[name] = studio
            return studio

    def submit(self, action: str, request: Mapping[str, Any]) -> Record:
        """Put a job at the end of the queue. Raises `Refused` where that is full."""
        with self._states:
            # under the lock: two visitors at once may not both get the last place
            count = sum(len(studio._waiting()) for studio in self.studios.values())
            if count >= self.limits.waiting:
                raise Refused(f"{count} jobs wait already, the most that may; try again later", 429)

            # where visitors are apart none of them takes all places
            own = len(self._waiting())
            if self is not self.studios[""] and own >= (most := max(1, self.limits.waiting // 2)):
                raise Refused(f"{own} jobs of yours wait already; at most {most} of one visitor may", 429)
            record = self.log.add(action, request)
            self._queue.put(self)
        return record

    def _work_on(self) -> None:
        """The worker: one job after the other until the studio closes."""
        while (studio := self._queue.get()) is not None:
            studio._work_on_next()

    def _work_on_next(self) -> None:
        with self._states:
            waiting = [name for name in self._waiting() if name not in self._left_out]
        if not waiting:
            return
        name = waiting[0]
        try:
            self._work(name)
        except Exception:  # of the log, not of a job: the next one may do better
            self._left_out.add(name)
            logger.exception("job %s was left as it is", name)

    def _waiting(self) -> list[str]:
        """Names of the jobs that wait, the next one first."""
        return self._order.waiting(self.log.all())

    def _place(self, name: str) -> int:
        """How many jobs there are until the end of this one, the one at hand left out."""
        own = self._waiting()
        before = own.index(name)

        # visitors have their turns in the order in which their jobs came, which the names begin with
        turn = sorted(own)[before]
        others = [other for studio in self.studios.values() if studio is not self for other in studio._waiting()]
        return before + 1 + sum(other < turn for other in others)

    def queue(self) -> list[dict[str, Any]]:
        """Statuses of the job at hand and of those that wait, in the order in which they are done."""
        with self._states:
            running = [record.id for record in self.log.all() if record.state == RUNNING]
            names = [*running, *self._waiting()]
        statuses = [self.status(name) for name in names]

        # one may have ended meanwhile
        return [status for status in statuses if status["state"] in (RUNNING, WAITING)]

    def move(self, name: str, place: int) -> None:
        """Put a job that waits at a place in the queue, 1 for the next; at the end where it has fewer.

        Raises `Refused` where it does not wait.
        """
        with self._states:
            record = self.log.get(name)
            if record.state != WAITING:
                raise Refused(f"job {name} is {record.state}; want one that waits")
            self._order.move(self.log.all(), name, place)

    def status(self, name: str) -> dict[str, Any]:
        """A record, with its place in the queue or its progress."""
        with self._states:
            record, job = self.log.get(name), self._job
            status = asdict(record)
            if record.state == WAITING:
                status["place"] = self._place(name)
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
            self._closing.set()  # a job that is stopped now waits again, rather than being cancelled
            for studio in self.studios.values():
                if studio._job is not None:
                    studio._job.stop.set()
        self._queue.put(None)
        self._worker.join(patience)
        ended = not self._worker.is_alive()
        if not ended:
            with self._states:
                for studio in self.studios.values():
                    for record in studio.log.all():
                        if record.state == RUNNING:
                            studio.log.change(record.id, state=WAITING)
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
            if self._closing.is_set():
                return None
            time.sleep(RETRY)

    def _begin(self, name: str) -> Job | None:
        """Take up a job that still waits."""
        if self._closing.is_set() or self.log.get(name).state != WAITING:
            return None
        self._job = Job(self.log.change(name, state=RUNNING), self.log.folder / name)
        return self._job

    def _work(self, name: str) -> None:
        job = self._with_room(name, lambda: self._begin(name))
        if job is None:
            return

        # whatever happens the record gets its end, or the page would wait for it forever
        began = time.monotonic()
        try:
            wanted = JobRequest.of(job.record.request)
            save_story(wanted.story, job.folder / "story.json")
            added = self.loras.files_of(wanted.generation)  # now: one may be deleted meanwhile
            model = self.models.of(wanted.generation, self.loras)
            free = free_memory()
            notes = self._check_on(wanted, model, free) if job.record.action == "render" else []
            with stoppable(model, job), contained(self._room(free)):
                files = ACTIONS[job.record.action](job, wanted, model, self.log)
            for request, seconds in job.step_seconds:
                self.estimates.measured(Setup.of(replace(request, loras=added), model), seconds)
            end: dict[str, Any] = {"state": DONE, "files": tuple(files), "message": "; ".join(notes)}
        except Stopped:
            end = {"state": WAITING if self._closing.is_set() else CANCELLED}
        except AnimaticError as error:
            end = {"state": FAILED, "message": str(error)}
        except Exception as error:  # the worker outlives whatever a model does; the traceback is the log's
            if is_out_of_memory(error):
                reason = "memory did not suffice; want fewer frames, a smaller size, or a method without guidance"
            else:
                logger.exception("job %s failed", name)
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            end = {"state": FAILED, "message": reason}
        took = time.monotonic() - began
        self._with_room(name, lambda: self.log.change(name, seconds=round(took, 2), **end))
