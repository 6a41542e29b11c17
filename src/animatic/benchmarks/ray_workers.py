"""A run's jobs on Ray: one actor per GPU, or per `threads` CPU cores. This process claims, writes and keeps count.

Workers send back finished files, so they need no common disk. A lost worker's batch goes to another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..errors import AnimaticError
from .generate import JobRenderer, RunPart, store
from .jobs import FAILED, Job, Outcome, Progress, RunSettings, no_progress
from .run_store import Run

LOSSES = 3  # workers a batch may cost before it is given up: it may be what kills them


def work(run: Run, part: RunPart, tick: Progress = no_progress) -> None:
    """Make a part of a run on the Ray cluster of this machine (`RAY_ADDRESS`), or on one begun here."""
    try:
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError
    except ImportError:
        raise AnimaticError("--cluster needs Ray; install animatic[cluster]") from None
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
        except Exception as error:  # Ray has no class of its own for this
            raise AnimaticError(f"Ray could not begin: {_reason(error)}") from None
    threads = run.settings.threads
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = gpus or int(ray.cluster_resources().get("CPU", 0)) // threads
    if not count:
        raise AnimaticError(f"threads is {threads}, more than any worker of the cluster has; want less")
    environment = {"env_vars": {"OMP_NUM_THREADS": str(threads)}}
    actor: Any = ray.remote(num_cpus=threads, num_gpus=1 if gpus else 0, runtime_env=environment)(Worker)
    losses = Counter[int]()
    waiting: list[list[Job]] = []  # batches whose worker was lost
    idle: list[Any] = []
    busy: dict[Any, tuple[Any, list[Job]]] = {}  # call -> worker, batch

    def begin() -> None:
        worker = actor.remote(run.settings)
        busy[worker.ready.remote()] = (worker, [])

    try:
        with run.working():
            for _ in range(count):
                begin()
            while busy:
                call = ray.wait(list(busy))[0][0]
                worker, batch = busy.pop(call)
                try:
                    outcomes = ray.get(call)
                    idle.append(worker)
                except (RayActorError, OutOfMemoryError) as error:
                    outcomes, lost = [], batch[0].place if batch else -1
                    losses[lost] += 1
                    if not batch and losses[lost] == LOSSES:
                        raise AnimaticError(f"{LOSSES} workers could not begin: {_reason(error)}") from None
                    if losses[lost] < LOSSES:
                        waiting += [batch] if batch else []
                    else:
                        reason = f"its worker was lost {LOSSES} times: {_reason(error)}"
                        outcomes = [Outcome(job.number, FAILED, reason) for job in batch]
                    begin()
                except RayError as error:
                    raise AnimaticError(f"a worker failed: {_reason(error)}") from None
                store(run, batch, outcomes)
                tick(*run.progress(part.limit, part.shard))
                while idle and (todo := waiting.pop() if waiting else run.claim(part.limit, part.shard)):
                    worker = idle.pop()
                    busy[worker.make.remote(todo)] = (worker, todo)
                if not waiting and not any(batch for _, batch in busy.values()):
                    break  # who still begins has nothing to do
    finally:
        if ours:
            ray.shutdown()


def _reason(error: Exception) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "AnimaticError" in line] or lines[:1]
    return told[-1].split("AnimaticError: ")[-1] if told else type(error).__name__


class Worker:
    """What lives on a worker: a model, loaded once."""

    def __init__(self, settings: RunSettings) -> None:
        self.maker = JobRenderer(settings)

    def ready(self) -> Sequence[Outcome]:
        return []

    def make(self, batch: Sequence[Job]) -> Sequence[Outcome]:
        return self.maker(batch)
