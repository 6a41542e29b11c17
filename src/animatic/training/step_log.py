"""The log of a training run, `log.jsonl` in its folder: one line of JSON a step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_atomically


def file_of(folder: Path) -> Path:
    """Where the log of a run's folder is."""
    return folder / "log.jsonl"


def append(folder: Path, step: int, values: Mapping[str, Any]) -> None:
    """Add the line of a step; everything that is logged can be read while the run goes on."""
    with file_of(folder).open("a") as log:
        print(json.dumps({"step": step, **values}), file=log)


def shorten(folder: Path, last: int) -> None:
    """Drop the lines of steps after `last`, the checkpoint's: they are taken again, and each step has one line."""
    file = file_of(folder)
    if not file.exists():
        return
    kept = []
    for line in file.read_text("utf-8", errors="replace").splitlines(keepends=True):
        # lines after the last checkpoint are cut by a kill, and of any bytes after a power cut
        try:
            step = json.loads(line)["step"] if line.endswith("}\n") else last + 1
        except ValueError:
            continue
        if step <= last:
            kept.append(line)
    write_atomically(file, "".join(kept).encode())
