"""A method's settings as fields of a form, read from its controls: name, range, default and help stand in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from ..backbones.base import Backbone
from ..errors import AnimaticError
from ..methods import Recipe
from ..prompt_styles import style_of, worded
from ..sampling import Control
from ..scene import Scene

KINDS = {bool: "switch", int: "whole"}
NUMBERS = ("float", "Share")  # as they are annotated: a default of 100 may be changed to 99.5
EXAMPLE = Scene("A bear")  # settings do not depend on what is shown
GUIDANCE = ("Guidance.scale", "WaveGuidance.scale")  # what `--guidance` sets on the command line
HIDDEN = ("legacy",)  # the originals' arithmetic, for comparison with them

Setting = bool | int | float


@dataclass(frozen=True)
class Field:
    """A setting that can be changed. `path` is "Control.field", or "Control.part.field"; `most` None is no limit.

    Values are 0 or more. `help` is what the class says of it.
    """

    path: str
    kind: str
    default: Setting
    most: float | None
    help: str


def fields_of(recipe: Recipe, backbone: Backbone) -> list[Field]:
    """The settings of a method on a model, with the defaults that it has there."""
    controls = recipe([EXAMPLE], backbone, backbone.habits.guidance)
    return [field for name, control in _named(controls) for field in _walk(control, name)]


def tuned(recipe: Recipe, values: Mapping[str, Setting], backbone: Backbone, name: str) -> Recipe:
    """The method with settings changed. Raises where one is unknown, of another kind or out of range."""
    known = {field.path: field for field in fields_of(recipe, backbone)}
    for path, value in values.items():
        if path not in known:
            raise AnimaticError(f"unknown setting {path[:80]!r} of {name}; known: {', '.join(known)}")
        _check(known[path], value)

    @worded(style_of(recipe))
    def changed(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
        # a recipe hands its guidance on to runs of its own (LMD's of single things): it is told, not exchanged after
        told = next((float(values[path]) for path in GUIDANCE if path in values), guidance)
        controls = dict(_named(recipe(scenes, backbone, told)))
        for path, value in values.items():
            key, *parts = path.split(".")
            if key not in controls:
                raise AnimaticError(f"{path} is set, but {name} has no {key} for this scene")
            controls[key] = _with(controls[key], parts, float(value) if known[path].kind == "number" else value)
        return list(controls.values())

    changed.__name__ = name
    return changed


def _named(controls: Sequence[Control]) -> Iterator[tuple[str, Control]]:
    """Each with the name of its class; a second one of a class is numbered."""
    seen: list[str] = []
    for control in controls:
        name = type(control).__name__
        seen.append(name)
        yield name if seen.count(name) == 1 else f"{name} {seen.count(name)}", control


def _walk(owner: Any, prefix: str) -> Iterator[Field]:
    for f in fields(owner):
        if f.name.startswith("_") or f.name in HIDDEN:
            continue
        value, path = getattr(owner, f.name), f"{prefix}.{f.name}"
        if f.type in NUMBERS:
            yield Field(path, "number", float(value), 1.0 if f.type == "Share" else None, _help(type(owner), f.name))
        elif type(value) in KINDS:
            yield Field(path, KINDS[type(value)], value, None, _help(type(owner), f.name))
        elif is_dataclass(value) and f.repr:
            yield from _walk(value, path)


def _help(cls: type, name: str) -> str:
    """The clauses of a docstring that name the field, or its first line."""
    words = " ".join((cls.__doc__ or "").split())
    clauses = re.split(r"(?<=;)\s|(?<=\.)\s(?=[A-Z`])", words)
    said = [clause.rstrip(";") for clause in clauses if f"`{name}`" in clause]
    return (" ".join(said) or clauses[0].rstrip(";")).replace("`", "")


def _check(field: Field, value: Setting) -> None:
    whole = {"switch": (bool,), "whole": (int,), "number": (int, float)}[field.kind]
    if type(value) not in whole:
        raise AnimaticError(f"{field.path} is {str(value)[:80]!r}; want a {field.kind}, such as {field.default}")
    if not (math.isfinite(value) and 0 <= value <= (math.inf if field.most is None else field.most)):
        least = "0 or more" if field.most is None else f"0 to {field.most:g}"
        raise AnimaticError(f"{field.path} is {value}; want {least}")


def _with(owner: Any, parts: Sequence[str], value: Setting) -> Any:
    """A copy in which the field that `parts` lead to is another."""
    name, *more = parts
    return replace(owner, **{name: _with(getattr(owner, name), more, value) if more else value})
