"""Write docs/cli.md and docs/methods.md from the code. A test checks that they are current.

python runs/reference.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from animatic import load
from animatic.backbones import PRESETS
from animatic.methods import METHODS
from animatic.studio.fields import fields_of

DOCS = Path(__file__).parents[1] / "docs"


def cli() -> str:
    """Typer's own page of every command."""
    command = [sys.executable, "-m", "typer", "animatic.cli", "utils", "docs", "--name", "animatic"]
    utf8 = {**os.environ, "PYTHONUTF8": "1"}  # whatever the locale
    page = subprocess.run(command, capture_output=True, encoding="utf-8", env=utf8, check=True).stdout
    return page.replace("# `animatic`", "# Command line", 1).rstrip() + "\n"


def methods() -> str:
    """Methods with their settings on `mini`, and models."""
    return "\n".join(_methods()) + "\n"


def _methods() -> Iterator[str]:
    mini = load("mini")
    known = {name: {f.path: f for f in fields_of(recipe, mini)} for name, recipe in METHODS.items()}
    yield "# Methods and models"
    yield "\nWritten by `runs/reference.py`.\n"
    yield "| method | what it does |\n|---|---|"
    for name, recipe in METHODS.items():
        yield _row(f"`{name}`", (recipe.__doc__ or "").splitlines()[0])
    yield "\n## Settings\n\nDefaults are those on `mini`; each model family has its own.\n"
    yield "| setting | range | default | what it is |\n|---|---|---|---|"
    for path, field in sorted({path: f for fields in known.values() for path, f in fields.items()}.items()):
        defaults: dict[str, list[str]] = {}
        for name, fields in known.items():
            if path in fields:
                defaults.setdefault(str(fields[path].default), []).append(f"`{name}`")
        usual = max(defaults, key=lambda value: len(defaults[value]))
        others = "; ".join(f"{value} in {', '.join(names)}" for value, names in defaults.items() if value != usual)
        least = "0 or more" if field.most is None else f"0 to {field.most:g}"
        kinds = {"switch": "on or off", "whole": f"whole, {least}"}
        yield _row(path, kinds.get(field.kind, least), usual + (f"; {others}" if others else ""), field.help)
    yield "\n## Models\n\n| model | what it is | weights |\n|---|---|---|"
    for name, preset in PRESETS.items():
        yield _row(f"`{name}`", preset.about, preset.source or "bundled")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli(), "utf-8")
    (DOCS / "methods.md").write_text(methods(), "utf-8")
