"""Endpoints for the gallery: what was rendered, searched, and put into folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from .log import Record
from .takes import TakeEndpoints

PAGE = 24  # records of the gallery at a time

Name = Annotated[str, Field(max_length=80)]
Names = Annotated[list[Name], Field(max_length=10_000)]


class GalleryEndpoints(TakeEndpoints):
    """The part of `api.Api` that is about the gallery and its folders."""

    def gallery(
        self,
        search: Annotated[str, Field(max_length=400)] = "",
        first: Annotated[int, Field(ge=0)] = 0,
        favourites: bool = False,
        folder: Name | None = None,
    ) -> dict[str, Any]:
        """Jobs, newest first, whose prompt, method, model, state or notes hold every word of `search`.

        `favourites`: only those with a favourite take; `folder`: only those in it, "" for those in none.
        """
        words = search.lower().split()
        places = self.folder_names.places()
        if folder:
            self.folder_names.check_known(folder)
        found = []
        for record in reversed(self.studio.log.all()):
            marks = self.marks.of(record.id).values()
            notes = [mark.note for mark in marks]
            is_in = folder is None or places.get(record.id, "") == folder
            is_wanted = not favourites or any(mark.favourite for mark in marks)
            if is_in and is_wanted and _holds(record, notes, words):
                found.append(record)
        page = found[first : first + PAGE]
        return {"count": len(found), "jobs": [self.with_links(asdict(record)) for record in page]}

    def folders(self) -> dict[str, Any]:
        """Folders by name: {"folders": [{"name", "jobs": [id ...], "with_videos": [id ...]}]}; none of the trash."""
        there = {record.id: record for record in self.studio.log.all()}
        found = []
        for name, jobs in self.folder_names.all().items():
            kept = [job for job in jobs if job in there]
            with_videos = [job for job in kept if there[job].files]
            found.append({"name": name, "jobs": kept, "with_videos": with_videos})
        return {"folders": found}

    def create_folder(self, name: Name, jobs: Names | None = None) -> dict[str, Any]:
        """A new folder, with these jobs; returns all of them."""
        self._check(jobs or [])
        self.folder_names.create(name, jobs or [])
        return self.folders()

    def rename_folder(self, name: Name, to: Name) -> dict[str, Any]:
        """Give a folder another name; returns all of them."""
        self.folder_names.rename(name, to)
        return self.folders()

    def delete_folder(self, name: Name) -> dict[str, Any]:
        """Remove a folder, not its jobs. Returns {"name", "jobs"}, with which `create_folder` undoes it."""
        return {"name": name, "jobs": self.folder_names.delete(name)}

    def put_in_folder(self, jobs: Names, folder: Name = "") -> dict[str, Any]:
        """Put jobs into a folder, "" for none; returns all folders."""
        self._check(jobs)
        self.folder_names.move(jobs, folder)
        return self.folders()

    def _check(self, jobs: list[str]) -> None:
        """Raise `Refused` where one of them is not there, nor in the trash."""
        trashed = set(self.studio.log.trashed())
        for job in jobs:
            if job not in trashed:
                self.studio.log.get(job)


def _holds(record: Record, notes: Sequence[str], words: Sequence[str]) -> bool:
    generation = record.request["generation"]
    parts = (record.prompt, generation["model"], generation["method"], record.state, record.id, *notes)
    text = " ".join(parts).lower()
    return all(word in text for word in words)
