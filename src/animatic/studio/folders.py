"""Named folders of the gallery: which job is in which, kept in <folder>/folders.json.

A job is in one folder or in none. A job in the trash keeps its place, so that it comes back to it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field, StrictStr, TypeAdapter

from ..errors import warn
from ..files import write_atomically
from .log import Refused

FILE = "folders.json"
VERSION = 1
MOST = 100  # folders
LETTERS = 80  # of a name

Contents: TypeAlias = dict[str, list[str]]
"""Names of jobs by the name of their folder."""

_CONTENTS = TypeAdapter(dict[Annotated[StrictStr, Field(min_length=1, max_length=LETTERS)], list[StrictStr]])


class Folders:
    """The folders of one gallery. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._contents: Contents = {}
        if self._path.exists():
            try:
                data = json.loads(self._path.read_text("utf-8"))
                if data["version"] != VERSION:
                    raise ValueError(f"it is of version {data['version']!r}; this program reads version {VERSION}")
                self._contents = contents_in(data["folders"])
            except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
                reason = " ".join(str(error).split())
                warn(f"{self._path}: is damaged; no job is in a folder ({reason[:200]})")

    def all(self) -> Contents:
        """The jobs of each folder, by name."""
        with self._lock:
            names = sorted(self._contents, key=str.casefold)
            return {name: list(self._contents[name]) for name in names}

    def places(self) -> dict[str, str]:
        """The folder of each job that is in one."""
        return {job: name for name, jobs in self.all().items() for job in jobs}

    def of(self, job: str) -> str:
        """The folder that a job is in; "" for none."""
        return self.places().get(job, "")

    def check_known(self, name: str) -> None:
        """Raise `Refused` where no folder has this name."""
        with self._lock:
            self._known(name)

    def create(self, name: str, jobs: Sequence[str] = ()) -> str:
        """A new folder with these jobs, which leave theirs; returns its name as it is kept.

        Raises `Refused` where the name is none, or is there already.
        """
        name = _checked(name)
        with self._lock:
            if name in self._contents:
                raise Refused(f"there is a folder {name!r} already; want another name")
            if len(self._contents) >= MOST:
                raise Refused(f"there are {MOST} folders, the most that may be")
            self._change(lambda contents: _put({**contents, name: []}, jobs, name))
        return name

    def rename(self, name: str, to: str) -> None:
        """Raises `Refused` where there is no such folder, or another one has that name."""
        to = _checked(to)
        with self._lock:
            self._known(name)
            if to != name and to in self._contents:
                raise Refused(f"there is a folder {to!r} already; want another name")
            self._change(lambda contents: {to if each == name else each: jobs for each, jobs in contents.items()})

    def delete(self, name: str) -> list[str]:
        """Remove a folder; its jobs stay, in none. Returns them: `create` with both undoes it."""
        with self._lock:
            jobs = self._known(name)
            self._change(lambda contents: {each: kept for each, kept in contents.items() if each != name})
            return jobs

    def move(self, jobs: Sequence[str], name: str) -> None:
        """Put jobs into a folder, or into none where `name` is "". Raises `Refused` where there is no such folder."""
        with self._lock:
            if name:
                self._known(name)
            self._change(lambda contents: _put(contents, jobs, name))

    def forget(self, jobs: Iterable[str]) -> None:
        """Of jobs that were removed for good."""
        gone = self.places().keys() & set(jobs)
        if gone:
            self.move(list(gone), "")

    def check(self, found: Contents) -> None:
        """Raise `Refused` where the folders of a project cannot be added."""
        for name in found:
            if _checked(name) != name:
                raise Refused(f"a folder of the project is called {name[:40]!r}; want a name without space around it")
        if len(self.all().keys() | found.keys()) > MOST:
            raise Refused(f"with those of the project there would be more than {MOST} folders, the most that may be")

    def add(self, found: Contents) -> None:
        """The folders of a project: one that is there by name gets its jobs too."""
        if not found:
            return
        with self._lock:
            names = [*self._contents, *(name for name in found if name not in self._contents)]
            contents = {name: [*self._contents.get(name, ()), *found.get(name, ())] for name in names}
            self._change(lambda _: contents)

    def _known(self, name: str) -> list[str]:
        if name not in self._contents:
            raise Refused(f"no folder is called {name[:40]!r}", 404)
        return self._contents[name]

    def _change(self, change: Callable[[Contents], Contents]) -> None:
        """Write what `change` makes of the contents, then remember it; called under the lock."""
        contents = change(self._contents)
        data = {"version": VERSION, "folders": contents}
        write_atomically(self._path, json.dumps(data, indent=1, ensure_ascii=False).encode())
        self._contents = contents


def contents_in(data: Any) -> Contents:
    """Folders in decoded JSON. Raises `ValueError` where they are none, or a job is in two."""
    contents = _CONTENTS.validate_python(data)
    jobs = [job for each in contents.values() for job in each]
    if len(set(jobs)) != len(jobs):
        raise ValueError("a job is in two folders")
    return contents


def _put(contents: Mapping[str, list[str]], jobs: Sequence[str], name: str) -> Contents:
    """The contents with jobs in one folder, behind those that are there, or in none where `name` is ""."""
    moved = list(dict.fromkeys(jobs))
    without = {each: [job for job in kept if job not in moved] for each, kept in contents.items()}
    if name:
        without[name] += moved
    return without


def _checked(name: str) -> str:
    """A name without space around it. Raises `Refused` where nothing is left, or it holds control characters."""
    name = " ".join(name.split())
    if not name or not name.isprintable() or len(name) > LETTERS:
        raise Refused(f"name of the folder is {name[:40]!r}; want 1 to {LETTERS} letters")
    return name
