"""What somebody said of the takes of a job: the best, favourites, notes, and takes that were deleted.

<folder>/<job>/marks.json, beside the record and not in it: servers of before read their records as ever.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, StrictBool, StrictStr, TypeAdapter

from ..errors import warn
from ..files import write_atomically

FILE = "marks.json"
VERSION = 1


@dataclass(frozen=True)
class Mark:
    """Of one take. `pinned`: it is the best of its job; `deleted`: it is hidden until it is restored."""

    favourite: StrictBool = False
    pinned: StrictBool = False
    deleted: StrictBool = False
    note: StrictStr = ""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


Marked = dict[int, Mark]
"""Marks by the number of the take, counted from 0 as in the record's `files`."""


class Marks:
    """Marks of the jobs in a folder. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Marked] = {}

    def of(self, job: str) -> Marked:
        """The marks of a job that is there. Where the file is damaged that is said, and it has none."""
        with self._lock:
            if job not in self._known:
                self._known[job] = self._read(self.folder / job / FILE)
            return dict(self._known[job])

    def change(self, job: str, take: int, **changes: Any) -> None:
        """Change a take's mark; where it is pinned, no other take of the job is."""
        marked = self.of(job)
        marked[take] = replace(marked.get(take, Mark()), **changes)
        if changes.get("pinned"):
            for other in marked.keys() - {take}:
                marked[other] = replace(marked[other], pinned=False)
        self.replace(job, marked)

    def replace(self, job: str, marked: Marked) -> None:
        """Write all marks of a job."""
        with self._lock:
            write_atomically(self.folder / job / FILE, json.dumps(to_json(marked), ensure_ascii=False).encode())
            self._known[job] = marked

    def forget(self, job: str) -> None:
        """Of a job that is no longer in the folder."""
        with self._lock:
            self._known.pop(job, None)

    def _read(self, path: Path) -> Marked:
        if not path.is_file():
            return {}
        try:
            return of_json(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            reason = " ".join(str(error).split())
            warn(f"{path}: is damaged and was left out ({reason[:200]})")
            return {}


def to_json(marked: Marked) -> dict[str, Any]:
    """As JSON holds it."""
    return {"version": VERSION, "takes": {str(take): asdict(mark) for take, mark in marked.items()}}


def of_json(data: Mapping[str, Any]) -> Marked:
    """What `to_json` wrote. Raises `ValueError` or `KeyError` where it is something else."""
    if data["version"] != VERSION:
        raise ValueError(f"it is of version {data['version']!r}; this program reads version {VERSION}")
    return TypeAdapter(dict[int, Mark]).validate_python({int(take): mark for take, mark in data["takes"].items()})
