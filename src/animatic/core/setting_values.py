"""Values of settings: their types, and how a value or a text is read as one. Checked by pydantic."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from ..errors import AnimaticError

Value = bool | int | float | str | None | tuple[int | float | str, ...]
SCALARS = (bool, int, float, str, NoneType)
SWITCH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def given_settings(texts: Sequence[str]) -> dict[str, Value]:
    """Settings by name from texts NAME=VALUE: numbers, also as quotients ("10/50"), or the text, which the field reads.

    Raises `AnimaticError` where a text has no such form, or a name is given twice.
    """
    given: dict[str, Value] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (name and sign):
            raise AnimaticError(f"setting is {text[:80]!r}; want NAME=VALUE, such as energy.scale=30")
        if name.lower() in given:
            raise AnimaticError(f"setting {name!r} is given twice; want one of them")
        given[name.lower()] = _number(value)
    return given


def is_settable(hint: Any) -> bool:
    """Whether a field of this type is a setting: numbers, texts, choices, switches, and tuples of those."""
    return all(_is_value(kind) for kind in _alternatives(hint))


def _is_value(kind: Any) -> bool:
    """`is_settable` for one alternative of a type."""
    if get_origin(kind) is tuple:
        return all(part is ... or is_settable(part) for part in get_args(kind))
    return kind in SCALARS or get_origin(kind) is Literal


def kind_of(hint: Any) -> str:
    """One of switch, whole, number, choice and text; a type of several parts or alternatives is text."""
    kinds = [kind for kind in _alternatives(hint) if kind is not NoneType]
    if get_origin(kinds[0]) is Literal:
        return "choice"
    if len(kinds) > 1:
        return "text"
    scalars = {bool: "switch", int: "whole", float: "number"}
    return scalars.get(kinds[0], "text")


def limit_of(hint: Any) -> float | None:
    """The upper limit of a number, None where there is none."""
    # lower limits are constraints too, and have no `le`
    for limit in _constraints(hint):
        most = getattr(limit, "le", None)
        if most is not None:
            return most
    return None


def choice_of(hint: Any) -> tuple[str, ...]:
    """The choices of a type; () where it has none."""
    choices = []
    for kind in _alternatives(hint):
        if get_origin(kind) is Literal:
            choices += map(str, get_args(kind))
    return tuple(choices)


def shown(value: Value) -> str:
    """A value as it would be typed."""
    # bool first: it is an int too
    if isinstance(value, bool):
        return str(value).lower()
    # :g writes 5.0 as 5, as one would type it
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    return "none" if value is None else str(value)


def read(given: Any, hint: Any, name: str, default: Value) -> Any:
    """`given` as a value of the type, or of one of the kinds by name that a mapping holds; texts are parsed.

    Raises `AnimaticError` naming the setting, the value and what would be right.
    """
    refused = AnimaticError(f"{name} is {repr(given)[:80]}; want {allowed_values(hint)}, such as {shown(default)}")
    if isinstance(hint, Mapping):
        if not isinstance(given, str) or given not in hint:
            raise refused
        return given

    parsed = _parsed(given, hint) if isinstance(given, str) else given
    try:
        # by way of JSON, so that a list is read as a tuple and an int as a float, but True not as a number
        value = TypeAdapter(hint).validate_json(json.dumps(parsed), strict=True)
    except (ValidationError, TypeError, ValueError):
        raise refused from None

    # JSON has NaN and infinity in Python's reading of it
    numbers = [each for each in _flat(value) if isinstance(each, int | float)]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise refused
    # an empty tuple is a slip of typing, unless it is what the field has
    if value == () and default != ():
        raise refused
    return value


def allowed_values(hint: Any) -> str:
    """The allowed values of a type, in words."""
    if isinstance(hint, Mapping):
        return f"one of {', '.join(hint)}"
    kinds = list(_alternatives(hint))
    if choices := choice_of(hint):
        return f"one of {', '.join(each or repr(each) for each in choices)}"

    # numbers are never negative, and a field may ask for more
    most = limit_of(hint)
    lower = [limit.ge for limit in _constraints(hint) if getattr(limit, "ge", None) is not None]
    least = lower[0] if lower else 0
    span = f"{least:g} or more" if most is None else f"{least:g} to {most:g}"
    descriptions = {bool: "on or off", str: "words", int: f"whole, {span}", float: f"a number, {span}"}
    allowed = [description for kind, description in descriptions.items() if kind in kinds]
    for kind in kinds:
        if get_origin(kind) is tuple:
            allowed.append("names with commas" if str in get_args(kind) else "numbers with commas")
    if NoneType in kinds:
        allowed.append("none")
    return " or ".join(allowed)


def _parsed(text: str, hint: Any) -> Any:
    """A text read as a value of this type; the text itself where it cannot be."""
    kinds = list(_alternatives(hint))
    if NoneType in kinds and text.lower() == "none":
        return None
    kinds = [kind for kind in kinds if kind is not NoneType]

    # a tuple is typed with commas; without one it may be a number alone, where the field takes both
    parts = next((get_args(kind) for kind in kinds if get_origin(kind) is tuple), None)
    if parts and ("," in text or len(kinds) == 1):
        given = [part.strip() for part in text.split(",")]
        return [_parsed(part, parts[0]) for part in given if part]
    if bool in kinds:
        return SWITCH.get(text.lower(), text)
    if int in kinds or float in kinds:
        return _number(text)
    return text


def _number(text: str) -> int | float | str:
    """A number, or a quotient of two: "10/50" is 10 of 50 steps."""
    above, slash, below = text.partition("/")
    try:
        if slash:
            return float(above) / float(below)

        # whole numbers stay whole: a count is refused as 5.0
        digits = text.strip("+-")
        return int(text) if digits.isdigit() else float(text)
    except (ValueError, ZeroDivisionError):
        return text


def _alternatives(hint: Any) -> Iterator[Any]:
    """The types that a field may have, without their limits."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _alternatives(get_args(hint)[0])
    elif origin in (Union, UnionType):
        for each in get_args(hint):
            yield from _alternatives(each)
    else:
        yield hint


def _constraints(hint: Any) -> Iterator[Any]:
    """The constraints of numbers, anywhere in a type."""
    if get_origin(hint) is Annotated:
        for each in hint.__metadata__:
            yield from getattr(each, "metadata", ())  # pydantic's Field holds several
    for part in get_args(hint):
        yield from _constraints(part)


def _flat(value: Any) -> Iterable[Any]:
    return value if isinstance(value, tuple) else (value,)
