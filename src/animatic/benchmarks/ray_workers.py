"""A run's jobs on Ray: one actor per GPU, or per `threads` CPU cores. This process claims, writes and keeps count.

Workers send back finished files, so they need no common disk. Ray restarts a lost worker and gives it its batch again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import AnimaticError
from .generate import JobRenderer, RunPart, store
from .jobs import FAILED, Job, Outcome, Progress, Rendered, RunSettings, no_progress
from .run_store import Run

LOSSES = 3  # workers a batch may cost before it is given up: it may be what kills them


def work(run: Run, part: RunPart, tick: Progress = no_progress) -> None:
    """Make a part of a run on the Ray cluster of this machine (`RAY_ADDRESS`), or on one begun here."""
    try:
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError
    except ImportError:
        raise AnimaticError("--cluster needs Ray; install animatic[cluster]") from None
    is_own_cluster = not ray.is_initialized()
    if is_own_cluster:
        try:
            ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
        except Exception as error:  # Ray has no class of its own for this
            raise AnimaticError(f"Ray could not begin: {_reason(error)}") from None

    # One worker for each GPU, or as many as there are cores for.
    threads = run.settings.threads
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    count = gpus or int(resources.get("CPU", 0)) // threads
    if not count:
        raise AnimaticError(f"threads is {threads}, more than any worker of the cluster has; want less")
    actor: Any = ray.remote(
        num_cpus=threads,
        num_gpus=1 if gpus else 0,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": str(threads)}},
        max_restarts=-1,  # without limit: `max_task_retries` counts what each batch costs
        max_task_retries=LOSSES - 1,
    )(Worker)

    busy: dict[Any, tuple[Any, list[Job]]] = {}  # call -> worker, batch
    idle: list[Any] = []
    try:
        with run.working():
            for _ in range(count):
                worker = actor.remote(run.settings)
                busy[worker.load.remote()] = (worker, [])

            while busy:
                call = ray.wait(list(busy))[0][0]
                worker, batch = busy.pop(call)
                try:
                    outcomes = ray.get(call)
                except (RayActorError, OutOfMemoryError) as error:
                    if not batch:
                        raise AnimaticError(f"{LOSSES} workers could not begin: {_reason(error)}") from None
                    reason = f"its worker was lost {LOSSES} times: {_reason(error)}"
                    outcomes = [Outcome(job.number, FAILED, reason) for job in batch]
                except RayError as error:
                    raise AnimaticError(f"a worker failed: {_reason(error)}") from None
                store(run, batch, outcomes)
                tick(*run.progress(part.limit, part.shard))

                idle.append(worker)
                while idle:
                    batch = run.claim(part.limit, part.shard)
                    if not batch:
                        break
                    worker = idle.pop()
                    busy[worker.make.remote(batch)] = (worker, batch)
                if not any(batch for _, batch in busy.values()):
                    break  # a worker that still loads has nothing to do
    finally:
        if is_own_cluster:
            ray.shutdown()


def _reason(error: Exception) -> str:
    """An error in one line: our own message where it has one, else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if "AnimaticError" in line]
    if own:
        return own[-1].split("AnimaticError: ")[-1]
    return lines[0] if lines else type(error).__name__


class Worker:
    """What lives on a worker: a model, loaded once.

    It is loaded by a call and not at construction: Ray counts the retries of calls alone, and would begin a worker that
    dies at construction again without end.
    """

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.renderer: JobRenderer | None = None

    def load(self) -> Sequence[Outcome]:
        self.renderer = self.renderer or JobRenderer(self.settings)
        return []

    def make(self, batch: Sequence[Job]) -> Sequence[Outcome]:
        self.load()  # a restarted worker has no model yet
        assert self.renderer is not None
        made = self.renderer(batch)
        return [each.outcome() if isinstance(each, Rendered) else each for each in made]
