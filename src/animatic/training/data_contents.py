"""What a run has learned from: the digest of each file's content, kept in its folder and compared on a resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..errors import AnimaticError
from ..files import read_json, write_atomically
from .items import Item
from .sources import ToyWorld

READERS = 8  # files read at the same time: hashing leaves Python's lock, and network disks answer in parallel


class DataContents:
    """The contents of a run's data, in `files.json` of its folder `out`: name -> [version, SHA-256 of the content].

    A file is read once. It is read again only where its version (size and time) is no longer the one that was kept.
    """

    def __init__(self, out: Path) -> None:
        self.file = out / "files.json"
        self.out = out
        self.resumed = any((out / "checkpoints").glob("step-*"))
        self.known: dict[str, tuple[str, str]] = {}
        if self.file.exists():
            self.known = self._checked(read_json(self.file))

    def _checked(self, stored: object) -> dict[str, tuple[str, str]]:
        try:
            return TypeAdapter(dict[str, tuple[str, str]]).validate_python(stored)
        except ValidationError:
            raise AnimaticError(f"{self.file}: is not what a run writes; want another --out") from None

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items with the digests of their contents.

        Raises `AnimaticError`, naming the file, where one is not what a resumed run began with.
        """
        if isinstance(items, ToyWorld):  # has no files
            return items
        with ThreadPoolExecutor(READERS) as readers:
            contents = list(readers.map(self._content, items))
        found = [replace(item, content=content) for item, content in zip(items, contents, strict=True)]

        # A run on other data under the same name would be neither the old run nor a new one.
        if self.resumed:
            changed = [item for item in found if self._differs(item)]
            if changed:
                first = changed[0]
                what = "has changed" if first.content else "cannot be read"
                others = f" (as {len(changed) - 1} more)" if changed[1:] else ""
                raise AnimaticError(
                    f"{first.name}: {what}{others} since {self.out} began; want the file as it was, or another --out"
                )

        # Files that are gone for now stay known, once something was learned from them.
        if not self.resumed:
            self.known = {}
        for item in found:
            if item.content:
                self.known[item.name] = (item.version, item.content)
        return found

    def save(self) -> None:
        """Write the contents, or nothing where the data are no files."""
        if self.known:
            write_atomically(self.file, (json.dumps(self.known, ensure_ascii=False, indent=0) + "\n").encode())

    def _content(self, item: Item) -> str:
        """The digest of a file's content, "" where it cannot be read: its turn in the run will say why."""
        version, content = self.known.get(item.name, ("", ""))
        if content and version == item.version:
            return content
        try:
            return item.digest()
        except OSError:
            return ""

    def _differs(self, item: Item) -> bool:
        return item.name in self.known and self.known[item.name][1] != item.content
