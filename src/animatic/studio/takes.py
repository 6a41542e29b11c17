"""Endpoints for what was made: takes marked, made again in a row, deleted and brought back, jobs as one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import IO, Annotated, Any

from pydantic import Field

from .folders import Folders
from .job_request import JobRequest
from .limits import Limits, check_amounts
from .log import FACTS, RUNNING, WAITING, Record, Refused
from .marks import Marks
from .projects import read_project, write_project
from .variation import Variation
from .work import Studio

Name = Annotated[str, Field(max_length=80)]
Take = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """Seeds of `count` takes; () where there is one, which has the request's own. Raises `Refused` beyond the last."""
    if first + count > 2**63:
        raise Refused(f"seed is {first} with {count} takes; want seeds below 2**63")
    return tuple(range(first, first + count)) if count > 1 else ()


class TakeEndpoints:
    """The part of `api.Api` that is about jobs which are over."""

    studio: Studio
    limits: Limits
    marks: Marks
    folder_names: Folders

    def more(self, id: Name, take: Take = 0, takes: Count = 4, vary: dict[str, Any] | None = None) -> dict[str, Any]:
        """Queue takes like one that was made: from the `takes` seeds after those of its job, with its settings.

        With `vary`, {"name": SETTING, "values": [...]}, from its own seed, once with each of the values.
        """
        check_amounts([("takes is {}", takes, self.limits.takes)])
        wanted = self.like(id, take)
        if vary is not None:
            wanted = replace(wanted, vary=Variation.of(vary))
        else:
            before = JobRequest.of(self.studio.log.get(id).request)
            first = max([before.generation.sampling.seed, *before.seeds]) + 1
            again = wanted.generation.with_sampling(seed=first)
            wanted = replace(wanted, generation=again, seeds=seeds_from(first, takes))
        self.check_takes(wanted)
        self.studio.check(wanted)
        return self.described(self.studio.submit("render", wanted.to_dict()).id)

    def like(self, id: str, take: int) -> JobRequest:
        """What makes a take again, alone. Raises `Refused` where its job was no render."""
        record = self._with_take(id, take)
        if record.action != "render":
            raise Refused(f"job {id} is of kind {record.action}; want a render, of which more can be made")
        made = record.files[take]
        wanted = JobRequest.of(record.request)

        # which of what was compared it is: takes go seed by seed
        each = max(1, len(wanted.seeds))
        _, request = wanted.requests[take // each]
        seed = int(made.get("seed", request.sampling.seed))
        return JobRequest(request.with_sampling(seed=seed))

    def check_takes(self, wanted: JobRequest) -> None:
        """Raise where a job has more takes than one may have, or a value is larger than may be."""
        check_amounts([("that makes {} takes", wanted.takes, self.limits.takes)])
        for _, request in wanted.requests:
            check_amounts([("steps is {}", request.sampling.steps, self.limits.steps)])

    def mark(
        self,
        id: Name,
        take: Take = 0,
        favourite: bool | None = None,
        pinned: bool | None = None,
        note: str | None = None,
    ) -> dict[str, Any]:
        """Mark a take as a favourite, as the best of its job (`pinned`), or with a note; returns the job's status."""
        self._with_take(id, take)
        check_amounts(self.limits.amount_of_letters("note", note or ""))
        given = {"favourite": favourite, "pinned": pinned, "note": note}
        self.marks.change(id, take, **{name: value for name, value in given.items() if value is not None})
        return self.described(id)

    def delete(self, id: Name, take: Take | None = None) -> dict[str, Any]:
        """Move a job to the trash, or hide one take of it; `restore` undoes it. Returns {"id", "take"}."""
        if take is None:
            self.studio.delete(id)
            self.marks.forget(id)
        else:
            self._with_take(id, take)
            self.marks.change(id, take, deleted=True, pinned=False)
        return {"id": id, "take": take}

    def restore(self, id: Name, take: Take | None = None) -> dict[str, Any]:
        """Bring back a job, or a take, that was deleted; returns its status."""
        if take is None:
            self.studio.log.restore(id)
        else:
            self._with_take(id, take)
            self.marks.change(id, take, deleted=False)
        return self.described(id)

    def trash(self) -> dict[str, Any]:
        """Deleted jobs, by time: {"jobs": [id ...]}."""
        return {"jobs": self.studio.log.trashed()}

    def empty_trash(self) -> dict[str, Any]:
        """Remove deleted jobs for good; returns how many: {"count": ...}."""
        names = self.studio.log.trashed()
        count = self.studio.log.empty_trash()
        self.folder_names.forget(names)
        return {"count": count}

    def described(self, id: str) -> dict[str, Any]:
        """A job's status with addresses in place of the names of files, and with its marks."""
        return self.with_links(self.studio.status(id))

    def with_links(self, status: dict[str, Any]) -> dict[str, Any]:
        """A status with addresses in place of the names of files, "marks" of each take, and the "folder" it is in."""
        address = f"/made/{status['id']}"
        marked = self.marks.of(status["id"])
        linked, marks = [], []
        for take, version in enumerate(status["files"]):
            links: dict[str, str] = {}
            for kind, name in version.items():
                links[kind] = name if kind in FACTS else f"{address}/{name}"
            linked.append(links)
            marks.append(asdict(marked[take]) if take in marked else {})
        return {**status, "files": linked, "marks": marks, "folder": self.folder_names.of(status["id"])}

    def export_project(self, names: Sequence[str], stream: IO[bytes]) -> None:
        """Write jobs with their requests, scenes and videos as a zip file."""
        if not names or len(names) > self.limits.project_jobs:
            raise Refused(f"a project of {len(names)} jobs; want 1 to {self.limits.project_jobs}")
        write_project(self.studio.log, self.marks, self.folder_names, names, stream)

    def import_project(self, stream: IO[bytes]) -> dict[str, Any]:
        """Add the jobs of an exported project to the gallery: {"jobs": [id ...]}."""
        limits = self.limits
        records = read_project(
            stream, self.studio.log, self.marks, self.folder_names,
            limits.project, limits.image_side, limits.project_jobs,
        )  # fmt: skip
        return {"jobs": [record.id for record in records]}

    def _with_take(self, id: str, take: int) -> Record:
        """A job that has this take, and is not at work on others."""
        record = self.studio.log.get(id)
        if record.state in (WAITING, RUNNING) or take >= len(record.files):
            raise Refused(
                f"job {id} is {record.state} and has {len(record.files)} takes; want one of a job that is over"
            )
        return record
