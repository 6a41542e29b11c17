"""Options that commands share, and commands that are told dataclasses: one option a field."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from math import isfinite
from typing import Annotated, Any, get_type_hints

import typer

from ..errors import AnimaticError

AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]


def by_field(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer shall see it: a parameter that is a dataclass is told by options, one for each field."""
    parameters = inspect.signature(command, eval_str=True).parameters
    bundles: dict[str, Any] = {name: p.annotation for name, p in parameters.items() if is_dataclass(p.annotation)}
    told: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        told += _options(bundles[name]) if name in bundles else [parameter.replace(kind=parameter.KEYWORD_ONLY)]

    def run(**words: Any) -> None:
        for name, bundle in bundles.items():
            words[name] = bundle(**{f.name: words.pop(f.name) for f in fields(bundle)})
        command(**words)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(told)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in told}
    return run


def only_finite(app: typer.Typer) -> None:
    """No command of `app`, or of the groups in it, takes NaN or infinity for a real number any more."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _checked(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            only_finite(group.typer_instance)


def _checked(command: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(command)
    def run(**values: Any) -> Any:
        for name, value in values.items():
            if isinstance(value, float) and not isfinite(value):
                raise AnimaticError(f"--{name.replace('_', '-')} is {value}; want a finite number")
        return command(**values)

    return run


def _options(bundle: Any) -> list[inspect.Parameter]:
    kind, types = inspect.Parameter.KEYWORD_ONLY, get_type_hints(bundle)
    named = [(f.name, f.default, Annotated[types[f.name], typer.Option(**f.metadata)]) for f in fields(bundle)]
    return [inspect.Parameter(name, kind, default=default, annotation=told) for name, default, told in named]
