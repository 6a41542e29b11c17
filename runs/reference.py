"""Write docs/cli.md, methods.md, flags.md, api.md and schedulers.md from the code. A test checks that they are current.

python runs/reference.py
"""

from __future__ import annotations

import os
import pkgutil
import runpy
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import animatic
from animatic import load
from animatic.backbones import PRESETS
from animatic.core.setting_values import shown
from animatic.methods import METHODS
from animatic.methods.settings import settings_of

DOCS = Path(__file__).parents[1] / "docs"
SOURCE = Path(animatic.__file__).parent


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
    known = {name: settings_of(method, mini) for name, method in METHODS.items()}
    yield "# Methods and models"
    yield "\nWritten by `runs/reference.py`.\n"
    yield "| method | what it does | paper | code |\n|---|---|---|---|"
    for name, method in METHODS.items():
        paper = f"[{method.paper}](https://arxiv.org/abs/{method.arxiv})" if method.arxiv else method.paper
        code = f"[{method.repository.rpartition('/')[2]}]({method.repository})" if method.repository else ""
        yield _row(f"`{name}`", method.summary, paper, code)
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


def schedulers() -> str:
    """Every scheduler class of diffusers, and what it does here."""
    return runpy.run_path(str(Path(__file__).with_name("schedulers.py")))["schedulers"]()


API = {  # the modules of the API reference, by the package they lie in; "*" is every public module of the package
    "core": ("The sampling loop: its types, and the base classes `Control` and `Backbone`.", "*"),
    "controls": ("Controls, one idea from one paper each.", "*"),
    "methods": ("Methods as data: lists of controls for each family of models.", "*"),
    "backbones": (
        "Models in diffusers layout.",
        "load",
        "components",
        "attention_hooks",
        "unet2d",
        "unet3d",
        "cogvideox",
        "wan",
    ),
}


def api() -> str:
    """One directive for each public module; mkdocstrings puts its docstrings there when the site is built."""
    return "\n".join(_api()) + "\n"


def _api() -> Iterator[str]:
    yield "# API reference"
    yield "\nWritten by `runs/reference.py`; `make docs` fills it in from the docstrings.\n"
    yield "## animatic\n"
    yield from _directive("animatic", sorted(animatic.__all__))
    for package, (about, *names) in API.items():
        yield f"## animatic.{package}\n\n{about}\n"
        found = pkgutil.iter_modules([str(SOURCE / package)])
        modules = [m.name for m in found if not m.name.startswith("_")] if "*" in names else names
        yield from _directive(f"animatic.{package}")
        for name in modules:
            yield from _directive(f"animatic.{package}.{name}")


def _directive(name: str, members: Sequence[str] = ()) -> Iterator[str]:
    yield f"::: {name}"
    if members:
        yield "    options:\n      members:"
        yield from (f"        - {member}" for member in members)
    yield ""


if __name__ == "__main__":
    (DOCS / "api.md").write_text(api(), "utf-8")
    (DOCS / "flags.md").write_text(flags(), "utf-8")
    (DOCS / "cli.md").write_text(cli(), "utf-8")
    (DOCS / "methods.md").write_text(methods(), "utf-8")
    (DOCS / "schedulers.md").write_text(schedulers(), "utf-8")
