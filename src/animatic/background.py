"""Work in a thread beside that of the caller: a video is encoded and written while the next one is rendered."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """Runs tasks one after another in a thread. `submit` waits for the task before, so that memory is bounded.

    Used as a context, whose end waits for the last task. What a task raises is raised by the next `submit`, or by the
    end of the context where that has no error of its own. `results` are those of the tasks that have ended, in order.
    """

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[Result] | None = None

    def submit(self, task: Callable[..., Result], *arguments: object) -> None:
        self._wait()
        self._running = self._thread.submit(task, *arguments)

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self.results.append(running.result())

    def __enter__(self) -> Background[Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # a task that has begun is ended whatever happens: what was rendered is not lost
        self._thread.shutdown(wait=True)
        if kind is None:
            self._wait()
