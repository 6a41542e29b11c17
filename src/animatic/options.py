"""Options that commands share, and commands that are told a dataclass: one option a field."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]


def by_field(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer shall see it: a parameter that is a dataclass is told by options, one for each field."""
    parameters = inspect.signature(command, eval_str=True).parameters
    bundles: dict[str, Any] = {name: p.annotation for name, p in parameters.items() if is_dataclass(p.annotation)}
    options: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        bundle = bundles.get(name)
        told = inspect.signature(bundle, eval_str=True).parameters.values() if bundle else [parameter]
        options += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in told]

    def run(**words: Any) -> None:
        for name, bundle in bundles.items():
            words[name] = bundle(**{f.name: words.pop(f.name) for f in fields(bundle)})
        command(**words)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in options}
    return run
