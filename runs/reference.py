"""Write docs/cli.md, docs/methods.md and docs/flags.md from the code. A test checks that they are current.

python runs/reference.py
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from animatic import load
from animatic.backbones import PRESETS
from animatic.core.setting_values import shown
from animatic.methods import METHODS
from animatic.methods.settings import settings_of

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
    known = {name: settings_of(recipe, mini) for name, recipe in METHODS.items()}
    yield "# Methods and models"
    yield "\nWritten by `runs/reference.py`.\n"
    yield "| method | what it does |\n|---|---|"
    for name, recipe in METHODS.items():
        yield _row(f"`{name}`", (recipe.__doc__ or "").splitlines()[0])
    yield "\n## Settings\n"
    yield 'Given by `--set NAME=VALUE`, or `settings={"NAME": VALUE}` in Python. Defaults are those on `mini`; each'
    yield "family of models has its own: `animatic methods METHOD --model MODEL`.\n"
    yield "| setting | range | default | what it is |\n|---|---|---|---|"
    for path, field in sorted({path: f for fields in known.values() for path, f in fields.items()}.items()):
        defaults: dict[str, list[str]] = {}
        for name, fields in known.items():
            if path in fields:
                defaults.setdefault(shown(fields[path].default), []).append(f"`{name}`")
        usual = max(defaults, key=lambda value: len(defaults[value]))
        others = "; ".join(f"{value} in {', '.join(names)}" for value, names in defaults.items() if value != usual)
        yield _row(f"`{path}`", field.range, usual + (f"; {others}" if others else ""), field.help)
    yield "\n## Models\n\n| model | what it is | weights |\n|---|---|---|"
    for name, preset in PRESETS.items():
        yield _row(f"`{name}`", preset.about, preset.source or "bundled")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def flags() -> str:
    """The originals' flags and commands beside ours."""
    return runpy.run_path(str(Path(__file__).with_name("originals.py")))["flags"]()


if __name__ == "__main__":
    (DOCS / "flags.md").write_text(flags(), "utf-8")
    (DOCS / "cli.md").write_text(cli(), "utf-8")
    (DOCS / "methods.md").write_text(methods(), "utf-8")
