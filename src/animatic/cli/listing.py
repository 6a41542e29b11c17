"""Commands that say what is known: models, methods with their settings, and what a result was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..core.model_options import DEFAULT_MODEL
from ..errors import AnimaticError
from .console import printable, table
from .options import AsJson


def models(as_json: AsJson = False) -> None:
    """List the models known by name."""
    from ..backbones import PRESETS
    from ..plugins import packages_of

    rows = [(name, preset.about, preset.source or "bundled") for name, preset in PRESETS.items()]
    rows += [(name, "of an installed package", package) for name, package in packages_of("animatic.backbones").items()]
    table(("model", "what it is", "weights"), rows, as_json)


def methods(
    name: Annotated[str, typer.Argument(help="A method: list its settings, for --set.", show_default=False)] = "",
    model: Annotated[str, typer.Option(help="The model whose settings they are.")] = DEFAULT_MODEL,
    as_json: AsJson = False,
) -> None:
    """List the methods known by name with their papers and repositories, or the settings of one."""
    from ..methods import GROUP, METHODS
    from ..plugins import packages_of

    if name:
        _settings(name, model, as_json)
        return
    rows = [(name, each.summary, each.paper, each.arxiv, each.repository) for name, each in METHODS.items()]
    for other, package in packages_of(GROUP).items():
        rows.append((other, f"of the installed package {package}", "", "", ""))
    table(("method", "what it does", "paper", "arXiv", "repository"), rows, as_json)


def _settings(method: str, model: str, as_json: bool) -> None:
    """Every setting of a method on a model: its name, what it is there, and one sentence."""
    from ..backbones import load
    from ..core.setting_values import shown
    from ..methods import method_named
    from ..methods.settings import settings_of

    known = settings_of(method_named(method), load(model)).values()
    if as_json:
        print(json.dumps([setting.to_dict() for setting in known]))
        return
    rows = [(each.path, shown(each.default), each.range, each.help) for each in known]
    table((f"{method} on {model}", "is", "may be", "what it is"), rows)


def info(
    file: Annotated[Path, typer.Argument(help="A video or picture made by animatic.")],
    request: Annotated[
        bool, typer.Option("--request", help="Only what makes it again: `animatic render` takes it as a file.")
    ] = False,
) -> None:
    """Print what a result was made from."""
    from ..request_files import request_in
    from ..video import read_info

    if not request:
        print(printable(json.dumps(read_info(file), indent=1, ensure_ascii=False)))
        return
    carried = request_in(file)
    if carried is None:
        raise AnimaticError(f"{file}: carries no request; want a file that animatic wrote")
    print(printable(json.dumps(carried.to_dict(), indent=1, ensure_ascii=False)))
