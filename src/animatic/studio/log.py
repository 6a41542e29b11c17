"""The run log: a folder per job with its record, its scene and what was made. The files are all there is to it.

<folder>/20261121-153000-123456-<random>/record.json, story.json, 1-lvd.mp4, 1-lvd.gif ...
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import AnimaticError, warn
from ..files import make_folder, sync, write_atomically
from ..video import Video
from .job_request import present_form

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
VERSION = 1
FACTS = ("method", "seed", "setting", "in_box")  # what is said of a version beside its files
TRASH = "trash"  # the folder of deleted jobs, in that of the log


class Refused(AnimaticError):
    """A request that is not carried out; `status` says why in HTTP's terms."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Record:
    """A job: `action` is what to do (`jobs.ACTIONS`), `request` a `JobRequest`, `files` what was made by method.

    `number` counts the jobs of a folder from 1: clocks are set back, so that names do not say which came first.
    It is 0 in galleries of version 0.1.
    """

    id: str
    action: str
    request: Mapping[str, Any]
    state: str = WAITING
    message: str = ""
    seconds: float = 0.0
    files: tuple[Mapping[str, str], ...] = field(default=())
    number: int = 0

    @property
    def prompt(self) -> str:
        return " / ".join(scene["prompt"] for scene in self.request["story"]["scenes"])


def _read(path: Path, name: str) -> Record:
    """The record in a file. What it raises on a file that was damaged is caught, and said, by `Log`."""
    data = json.loads(path.read_text("utf-8"))
    version = data.pop("version")
    if version != VERSION:
        raise Refused(f"{path}: is of version {version!r}; this program reads version {VERSION}, and leaves it out")
    if data["id"] != name:
        raise ValueError(f"it is of job {data['id']!r}")
    data["files"] = tuple(data["files"])
    record = Record(**data)
    if not isinstance(record.number, int):
        raise ValueError(f"number {record.number!r} is no whole number")

    # a gallery of version 0.1 stays readable
    return replace(record, request=present_form(record.request))


def _new_name() -> str:
    """A job's name: the time, and what nobody guesses."""
    return f"{datetime.now():%Y%m%d-%H%M%S-%f}-{secrets.token_hex(8)}"


class Log:
    """Records in memory and on the disk, oldest first. Safe to use from several threads."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}

        found = []
        for path in sorted(self.folder.glob("*/record.json")):
            try:
                found.append(_read(path, path.parent.name))
            except Refused as error:
                warn(str(error))
            except (OSError, ValueError, TypeError, KeyError) as error:
                warn(f"{path}: is damaged and was left out ({error})")

        # those of version 0.1 have no number, and stay in the order of their names, which are times
        for record in sorted(found, key=lambda record: record.number):
            self._records[record.id] = record

    @property
    def trash(self) -> Path:
        """The folder of deleted jobs. They are no jobs of this log until they are moved back."""
        return self.folder / TRASH

    def trashed(self) -> list[str]:
        """Names of deleted jobs, by time."""
        return sorted(path.parent.name for path in self.trash.glob("*/record.json"))

    def delete(self, name: str) -> None:
        """Move a job with all its files to the trash. Raises `Refused` while it waits or is at work."""
        with self._lock:
            record = self._known(name)
            if record.state in (WAITING, RUNNING):
                raise Refused(f"job {name} is {record.state}; want it cancelled first")
            self._move(self.folder / name, self.trash / name)
            del self._records[name]

    def restore(self, name: str) -> Record:
        """Move a job back from the trash, to its place in the order of all."""
        with self._lock:
            if name not in self.trashed():  # never a path that somebody made up
                raise Refused(f"no job in the trash is called {name[:40]!r}", 404)
            try:
                record = _read(self.trash / name / "record.json", name)
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise Refused(f"job {name} is damaged and stays in the trash ({error})") from None
            self._move(self.trash / name, self.folder / name)
            records = sorted([*self._records.values(), record], key=lambda record: record.number)
            self._records = {record.id: record for record in records}
            return record

    def empty_trash(self) -> int:
        """Remove deleted jobs for good; returns how many there were."""
        with self._lock:
            names = self.trashed()
            for name in names:
                try:
                    shutil.rmtree(self.trash / name)
                except OSError as error:
                    raise AnimaticError(f"{name}: cannot be removed ({error.strerror})") from None
            return len(names)

    def adopt(self, folder: Path, record: Record) -> Record:
        """Take in a job that was made elsewhere: `folder` has its files, and becomes its folder here."""
        with self._lock:
            new = replace(record, id=_new_name(), number=self._last() + 1)
            self._move(folder, self.folder / new.id)
            return self._keep(new)

    def _move(self, source: Path, target: Path) -> None:
        try:
            make_folder(target.parent)
            source.rename(target)
            sync(target.parent)
        except OSError as error:
            raise AnimaticError(f"{source.name}: cannot be moved ({error.strerror})") from None

    def all(self) -> list[Record]:
        with self._lock:
            return list(self._records.values())

    def get(self, name: str) -> Record:
        with self._lock:
            return self._known(name)

    def _known(self, name: str) -> Record:
        if name not in self._records:
            raise Refused(f"no job is called {name[:40]!r}", 404)
        return self._records[name]

    def add(self, action: str, request: Mapping[str, Any]) -> Record:
        """A new record, the last of all."""
        with self._lock:
            record = Record(_new_name(), action, request, number=self._last() + 1)
            return self._keep(record)

    def _last(self) -> int:
        """The highest number of a record."""
        return max((record.number for record in self._records.values()), default=0)

    def change(self, name: str, **changes: Any) -> Record:
        with self._lock:
            changed = replace(self._records[name], **changes)
            return self._keep(changed)

    def _keep(self, record: Record) -> Record:
        """Write a record, then remember it: what is on the disk is never behind what a visitor was shown."""
        data = {"version": VERSION, **asdict(record)}
        text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(self.folder / record.id / "record.json", text.encode())
        self._records[record.id] = record
        return record

    def file(self, name: str, file: str) -> Path:
        """The path of a file that a job made; nothing else is ever given out."""
        record = self.get(name)
        made: set[str] = set()
        for version in record.files:
            made.update(value for kind, value in version.items() if kind not in FACTS)

        # a record may have been edited, or a file replaced by a link out of the folder
        folder = self.folder / record.id
        path = folder / file
        is_known = file in made and path.is_file()
        if not is_known or path.resolve().parent != folder.resolve():
            raise Refused(f"job {record.id} has no file {file[:60]!r}", 404)
        return path

    def video(self, name: str, version: int) -> Video:
        """A video that a job made, as it was generated."""
        files = self.get(name).files[version]
        return Video.load(self.file(name, files["mkv"]))  # mkv is lossless; mp4 and gif are for the page
