"""Options that commands share, and commands whose options are made from the fields of dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from math import isfinite
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from ..errors import AnimaticError

AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]
Given = Mapping[str, Any]
"""Values by field, of the fields that were given on the command line."""


@dataclass(frozen=True)
class OptionsOf:
    """Annotates a parameter `Annotated[Given, OptionsOf(SomeDataclass)]`: an option for each of its fields.

    The command is passed those that were given. Fields without a help text are no options.
    """

    bundle: type


def by_field(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer shall see it.

    A parameter that is a dataclass becomes one option for each field; so does one annotated with `OptionsOf`, where no
    option has a default.
    """
    # the parameters that typer sees, and the bundles that they are gathered into again
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    bundles: dict[str, tuple[Any, bool]] = {}  # (dataclass, whether only what is given is passed)
    for name, parameter in signature.parameters.items():
        if is_dataclass(hints[name]):
            bundles[name] = hints[name], False
            parameters += _options(hints[name])
        elif bundle := _optional_bundle(hints[name]):
            bundles[name] = bundle, True
            parameters += _options(bundle, optional=True)
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))

    def run(**values: Any) -> None:
        for name, (bundle, optional) in bundles.items():
            of_bundle = {f.name: values.pop(f.name) for f in fields(bundle) if f.name in values}

            # None is "not given", also of a field that may be None itself: the command line cannot say that
            if optional:
                values[name] = {field: value for field, value in of_bundle.items() if value is not None}
            else:
                values[name] = bundle(**of_bundle)
        command(**values)

    # typer reads the name, the help and the options from these
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def finite_only(command: Callable[..., Any]) -> Callable[..., Any]:
    """`command` without NaN and infinity: it raises `AnimaticError` where one is given for a real number.

    typer takes "nan" for a number; a threshold of NaN would compare as false everywhere.
    """

    @wraps(command)
    def run(**values: Any) -> Any:
        for name, value in values.items():
            if isinstance(value, float) and not isfinite(value):
                raise AnimaticError(f"--{name.replace('_', '-')} is {value}; want a finite number")
        return command(**values)

    return run


def _optional_bundle(hint: Any) -> type | None:
    """The dataclass in an annotation `Annotated[Given, OptionsOf(...)]`."""
    if get_origin(hint) is not Annotated:
        return None
    for part in get_args(hint)[1:]:
        if isinstance(part, OptionsOf):
            return part.bundle
    return None


def _options(bundle: Any, optional: bool = False) -> list[inspect.Parameter]:
    """A keyword parameter for each field of a dataclass that has a help text; with `optional` None is its default."""
    kind = inspect.Parameter.KEYWORD_ONLY
    types = get_type_hints(bundle)
    parameters = []
    for f in fields(bundle):
        if "help" not in f.metadata:
            continue

        # what the field says of its option; `as_text` is of types that typer cannot read, such as a size
        metadata = dict(f.metadata)
        annotation = types[f.name]
        if metadata.pop("as_text"):
            annotation = str | None
        elif optional:
            annotation = _as_typed(annotation)
        annotated = Annotated[annotation, typer.Option(*metadata.pop("flags"), **metadata)]
        default = None if optional else f.default
        parameters.append(inspect.Parameter(f.name, kind, default=default, annotation=annotated))
    return parameters


def _as_typed(hint: Any) -> Any:
    """The type of an option for a field, None where it is not given."""
    (kind, *_) = [part for part in get_args(hint) if part is not NoneType] or [hint]
    return kind | None
