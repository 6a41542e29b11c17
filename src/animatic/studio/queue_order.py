"""The order in which waiting jobs are done, where somebody changed it: <folder>/queue.json.

A file of its own and not in the records: servers of before read those as ever.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import warn
from ..files import write_atomically
from .log import RUNNING, WAITING, Record

FILE = "queue.json"
VERSION = 1


class QueueOrder:
    """Names of jobs in the order that was wanted; those that came later are behind them, oldest first.

    Not safe to use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._names: list[str] = []
        if self._path.exists():
            try:
                self._names = _names_in(json.loads(self._path.read_text("utf-8")))
            except (OSError, ValueError, TypeError, KeyError) as error:
                warn(f"{self._path}: is damaged; jobs are done in the order they came ({error})")

    def waiting(self, records: Sequence[Record]) -> list[str]:
        """Names of those of a log's records, given oldest first, that wait; the next one first."""
        places = {name: place for place, name in enumerate(self._names)}
        names = [record.id for record in records if record.state == WAITING]
        return sorted(names, key=lambda name: places.get(name, len(places)))

    def move(self, records: Sequence[Record], name: str, place: int) -> None:
        """Put one that waits at a place, 1 for the next; at the end where there are fewer.

        Raises `AnimaticError` where that cannot be written, and keeps the order before.
        """
        others = [other for other in self.waiting(records) if other != name]
        others.insert(place - 1, name)

        # the job at hand is first of all where it waits again for the next server
        running = [record.id for record in records if record.state == RUNNING]
        names = [*running, *others]
        data = {"version": VERSION, "order": names}
        write_atomically(self._path, json.dumps(data, indent=1).encode())
        self._names = names


def _names_in(data: Any) -> list[str]:
    """The names in the file's content. What it raises on other content is caught, and said."""
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']!r}; this program reads version {VERSION}")
    names = data["order"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("order is no list of names")
    return names
