"""Cache of replies: an append-only file of JSON lines, one per reply, so that none is requested twice.

An entry is found by everything that could change it: prompt, planner, model, template, settings and sample number.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import AnimaticError, warn
from ..files import read_json, sync
from ..locking import locked
from ..scene import Story, parse


@dataclass(frozen=True)
class Key:
    """What a reply depends on. `sample` counts the replies to one prompt from 0."""

    prompt: str
    planner: str
    model: str
    template: str
    settings: str
    sample: int = 0


@dataclass(frozen=True)
class Entry:
    """A reply as it came, and the scenes it was read as (version-1 JSON; none where it could not be read).

    `warnings` say what was changed in reading; lines of earlier versions have none.
    """

    key: Key
    reply: str
    scenes: tuple[dict[str, Any], ...] = ()
    error: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def story(self) -> Story:
        return tuple(parse(scene, "cache") for scene in self.scenes)


class Cache:
    """Entries in memory and in `path`. A line that was cut while it was written is reported and left out."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.entries: dict[Key, Entry] = {}
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise AnimaticError(f"{path}: cannot be read ({error.strerror})") from None

        # of several entries with one key the last counts
        for i, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = _entry(json.loads(line))
            except (ValueError, TypeError, KeyError):
                warn(f"{path}: line {i} is cut or broken and was left out")
                continue
            self.entries[entry.key] = entry

    def get(self, key: Key) -> Entry | None:
        return self.entries.get(key)

    def put(self, entry: Entry) -> None:
        """Append one whole line, also while other processes do."""
        line = json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n"
        try:
            with locked(self.path.with_name(f".{self.path.name}.lock")), self.path.open("a+b") as file:
                # after a line that was cut a new one begins, or both would be lost
                end = file.seek(0, os.SEEK_END)
                if end:
                    file.seek(end - 1)
                    last = file.read(1)
                    if last != b"\n":
                        line = b"\n" + line

                # on the disk before the next request: replies cost money
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
                if not end:  # a new file's name is on the disk only with its folder
                    sync(self.path.parent)
        except OSError as error:
            raise AnimaticError(f"{self.path}: cannot be written ({error.strerror})") from None
        self.entries[entry.key] = entry


def _entry(data: dict[str, Any]) -> Entry:
    # version 0.1 kept no warnings
    key = Key(**data["key"])
    scenes = tuple(data["scenes"])
    warnings = tuple(data.get("warnings", ()))
    return Entry(**{**data, "key": key, "scenes": scenes, "warnings": warnings})


def read_replies(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """A cache file of LMD or LVD: `{prompt: [reply, ...]}`, prompts without their last full stop."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise AnimaticError(f"{path}: found {type(data).__name__}; want an object of prompts and their replies")
    for prompt, replies in data.items():
        if not isinstance(replies, list) or not all(isinstance(r, str) for r in replies):
            raise AnimaticError(f"{path}: {prompt[:60]!r} has no list of replies")
    return data
