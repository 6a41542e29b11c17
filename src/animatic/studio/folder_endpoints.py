"""Endpoints for the folders of the gallery."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from .folders import Folders
from .work import Studio

Name = Annotated[str, Field(max_length=80)]
Names = Annotated[list[Name], Field(max_length=10_000)]


class FolderEndpoints:
    """The part of `api.Api` that is about folders."""

    studio: Studio
    folder_names: Folders

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
