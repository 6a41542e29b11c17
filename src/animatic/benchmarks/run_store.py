"""Runs as folders: a manifest and a database row per job. Running again resumes, in any number of processes.

manifest.json   settings and versions, written once, last of the preparation
jobs.sqlite     a row per job: prompt, seed, plan, state, and the reason where it failed
made/           a video (or image) and its scene per job; a row says what its bytes are
owners/         a locked file per working process; the jobs of a process that died are released
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnimaticError
from ..files import PARTIAL, digest_of, write_atomically
from ..locking import is_held, locked
from ..scene import Scene, Story, save_story, story_json
from ..video import Video
from .jobs import DONE, FAILED, TODO, Job, Outcome, RunSettings, scenes_of
from .run_database import changing, create, job_of, reading, upgrade

VERSION = 1  # of the folder's form
_PART = "place / :size % :count = :index and (:limit is null or place / :size * :size < :limit)"
_FREE = "update jobs set state = 'todo', owner = null where owner = ?"


class Run:
    """A run's folder. Raises `AnimaticError` where it is none, or of another version."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

        # Settings and versions never change; everything else is in the database.
        manifest = _manifest(self.folder)
        self.versions: dict[str, str] = manifest["versions"]
        self.settings = RunSettings.of_dict(manifest["settings"], self.folder / "manifest.json")
        self.owner, self.base = "", self.folder / "jobs.sqlite"

    @staticmethod
    def prepared(
        folder: str | os.PathLike[str], settings: RunSettings, versions: dict[str, str], jobs: Sequence[Job]
    ) -> Run:
        """The run in `folder`, begun now or before. Raises where it was begun with other settings or versions."""
        folder = Path(folder)
        with locked(folder / ".lock"):
            if not (folder / "manifest.json").exists():
                _begin(folder, settings, versions, jobs)
            run = Run(folder)
            upgrade(run.base)
            run._sweep()

        # A run is of one model and one version: anything else would mix two in one table.
        differences = run.settings.differences(settings)
        for key, old in run.versions.items():
            if versions.get(key) != old:
                differences.append(f"{key} was {old!r}, now {versions.get(key)!r}")
        if differences:
            raise AnimaticError(f"{folder} was begun otherwise: {'; '.join(differences)}; want another folder")
        return run

    def jobs(self) -> list[Job]:
        """Every job by number."""
        # All rows first: a query that a damaged row interrupts would keep the database locked.
        with reading(self.base) as base:
            rows = base.execute("select * from jobs order by number").fetchall()
        return [job_of(row) for row in rows]

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with reading(self.base) as base:
            return dict(base.execute("select state, count(*) from jobs group by state"))

    def keep_plans(self, plans: Iterable[tuple[int, Scene | Story | AnimaticError]]) -> None:
        """Store plans by job number in one transaction; a job without one fails, unless prompts alone are used."""
        with changing(self.base) as base:
            for number, plan in plans:
                # A job without a plan cannot be made, unless its prompt alone is used.
                if isinstance(plan, AnimaticError):
                    state = TODO if self.settings.prompt_only else FAILED
                    values = (None, state, f"no plan: {plan}", number)
                else:
                    values = (story_json(scenes_of(plan)), TODO, "", number)
                base.execute("update jobs set plan = ?, state = ?, reason = ? where number = ?", values)

    def preparing(self) -> AbstractContextManager[None]:
        """One process at a time."""
        return locked(self.folder / ".lock")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Take part in the work. What this process leaves undone is free again after it, however it ends."""
        self.owner = uuid.uuid4().hex
        # The lock shows other processes that this one lives.
        path = self.folder / "owners" / self.owner
        try:
            with locked(path):
                try:
                    yield
                finally:
                    self._release()
        finally:
            path.unlink(missing_ok=True)  # after the lock: Windows removes no file that is open
            self.owner = ""

    def claim(self, limit: int | None = None, shard: tuple[int, int] = (0, 1)) -> list[Job]:
        """The next free batch, from now on this process's; empty where there is none.

        `limit` counts places (whole batches are taken); `shard` (i, n) is every n-th batch from the i-th.
        """
        values = {**self._part(limit, shard), "owner": self.owner}
        with changing(self.base) as base:
            self._bury(base)

            # the first place of this part that is still to be done
            (place,) = base.execute(f"select min(place) from jobs where state = 'todo' and {_PART}", values).fetchone()
            if place is None:
                return []

            # its whole batch, though some of its jobs may be done: sums depend on what is computed together
            in_batch = "place / :size = :batch"
            values["batch"] = place // self.settings.batch
            rows = base.execute(f"select * from jobs where {in_batch} order by place", values).fetchall()
            batch = [job_of(row) for row in rows]
            base.execute(
                f"update jobs set state = 'running', owner = :owner where state = 'todo' and {in_batch}", values
            )
        return batch

    def progress(self, limit: int | None = None, shard: tuple[int, int] = (0, 1)) -> tuple[int, int]:
        """How many jobs of a part (see `claim`) need nothing more, of how many."""
        counted = f"select total(state not in ('todo', 'running')), count(*) from jobs where {_PART}"

        with reading(self.base) as base:
            done, count = base.execute(counted, self._part(limit, shard)).fetchone()
        return int(done), count

    def _part(self, limit: int | None, shard: tuple[int, int]) -> dict[str, int | None]:
        return {"size": self.settings.batch, "limit": limit, "index": shard[0], "count": shard[1]}

    def keep(self, outcome: Outcome, plan: Scene | Story | None) -> None:
        """Write what was made, then say so in its row: a crash in between makes it again."""
        # The files first: a row that says "done" is true whenever it is read.
        file = digest = ""
        if outcome.state == DONE:
            name = f"made/{outcome.number:05d}"
            file = name + outcome.suffix
            digest = hashlib.sha256(outcome.data).hexdigest()
            if plan is not None:
                save_story(scenes_of(plan), self.folder / f"{name}.json")
            write_atomically(self.folder / file, outcome.data)

        # Only where this process still owns the job: another may have taken it over.
        made = (outcome.state, outcome.reason, outcome.seconds, file, *outcome.shape, digest)
        with changing(self.base) as base:
            base.execute(
                "update jobs set state = ?, reason = ?, seconds = ?, file = ?, frames = ?, height = ?, width = ?,"
                " digest = ?, owner = null where number = ? and state = 'running' and owner = ?",
                (*made, outcome.number, self.owner),
            )

    def reopen(self, failed: bool = False) -> None:
        """Make again what is gone from the disk or damaged there, and with `failed` what failed."""
        # A file that somebody deleted or exchanged is made again with the same seed.
        again = []
        for job in self.jobs():
            is_lost = job.state == DONE and not self._is_whole(job)
            if is_lost or (failed and job.state == FAILED):
                again.append((job.number,))
        with changing(self.base) as base:
            base.executemany("update jobs set state = 'todo', reason = '' where number = ?", again)

    def path(self, job: Job) -> Path:
        """The file of a finished job. Raises where its row names one that is not the run's own."""
        folder, _, name = job.file.partition("/")
        if folder != "made" or not name or name != Path(name).name:
            raise AnimaticError(f"{self.base}: job {job.number} names the file {job.file!r}; want one in made/")
        return self.folder / job.file

    def _is_whole(self, job: Job) -> bool:
        """Whether the file of a finished job has the bytes that were written; rows of version 0.1 do not say them."""
        path = self.path(job)
        if not path.exists():
            return False
        return not job.digest or digest_of(path) == job.digest

    def video(self, job: Job) -> Video:
        """A finished job's video at the size it was generated in. Raises where the file is missing or damaged."""
        path = self.path(job)
        if not path.exists():
            raise AnimaticError(f"{path}: is missing")
        if not self._is_whole(job):
            raise AnimaticError(f"{path}: is not what was made (damaged, or exchanged); bench generate makes it again")
        video = Video.load(path)

        # Small videos are written enlarged by whole pixels.
        count, height, width = video.frames.shape[:3]
        scale = max(1, width // job.width)
        size = (count, height // scale, width // scale)
        if size != (job.frames, job.height, job.width):
            found = f"{count} frames of {width}x{height}"
            raise AnimaticError(f"{path}: {found}; want {job.frames} of {job.width}x{job.height}")
        if scale == 1:
            return video

        # The mean of each block of pixels; five times as quick as numpy's over a reshaped array.
        total = np.zeros((count, job.height, job.width, 3), np.uint32)
        for y, x in product(range(scale), repeat=2):
            total += video.frames[:, y::scale, x::scale]
        mean = total / scale**2
        return Video((mean + 0.5).astype(np.uint8), video.fps, video.info)

    def _sweep(self) -> None:
        """Remove what killed processes left half written, where no process works on the run."""
        owners = [path for path in (self.folder / "owners").glob("*") if not path.name.startswith(PARTIAL)]
        if any(is_held(path) for path in owners):
            return
        for path in (*(self.folder / "made").glob(f"{PARTIAL}*"), *owners):
            path.unlink(missing_ok=True)

    def _release(self) -> None:
        # Also after an error: other processes may go on.
        with suppress(AnimaticError), changing(self.base) as base:  # a full disk takes no row: then the lock is gone
            base.execute(_FREE, (self.owner,))

    def _bury(self, base: sqlite3.Connection) -> None:
        """Release the jobs of processes that died."""
        for (owner,) in base.execute("select distinct owner from jobs where state = 'running'").fetchall():
            # A dead process holds no lock; its own name is skipped, since it holds this one.
            path = self.folder / "owners" / owner
            if owner != self.owner and not is_held(path):
                base.execute(_FREE, (owner,))
                path.unlink(missing_ok=True)


def _begin(folder: Path, settings: RunSettings, versions: dict[str, str], jobs: Sequence[Job]) -> None:
    # What a process left that was killed at this place; the lock is ours.
    for path in (*folder.glob(f"{PARTIAL}manifest.json.*"), folder / "jobs.sqlite-journal"):
        path.unlink(missing_ok=True)
    own = (".lock", "jobs.sqlite")
    stray = [path.name for path in folder.iterdir() if path.name not in own]
    if stray:
        raise AnimaticError(f"{folder} holds {stray[0]} and no manifest.json; want an empty folder or a run")

    # The jobs, in one transaction.
    database = folder / "jobs.sqlite"
    database.unlink(missing_ok=True)  # of a preparation that was cut
    create(database, jobs)

    # The manifest comes last: without it the folder is no run.
    manifest = {"version": VERSION, "settings": settings.to_dict(), "versions": versions, "jobs": len(jobs)}
    text = json.dumps(manifest, indent=1) + "\n"
    write_atomically(folder / "manifest.json", text.encode())


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        # A folder without a manifest is no run.
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AnimaticError(f"{path}: cannot be read ({error.strerror}); want the folder of a run") from None
    except (ValueError, RecursionError) as error:
        raise AnimaticError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        found = data.get("version") if isinstance(data, dict) else type(data).__name__
        raise AnimaticError(f"{path}: version is {found!r}; this program reads version {VERSION}")
    for name in ("settings", "versions"):
        if not isinstance(data.get(name), dict):
            raise AnimaticError(f"{path}: its {name} are {data.get(name)!r}; want a JSON object")
    return data
