"""What is wrong with the words of a request, in one line: where, what it is now, and what there may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

NAMED = 40  # letters of a key that the line names
QUOTED = 80  # letters of a value in it


def what_is_wrong(error: ValidationError, words: Mapping[str, Any]) -> str:
    """The first fault of `words`, the values of an endpoint's parameters by name."""
    fault = _telling(error.errors())
    place = _place(fault, words)
    found = fault["input"]

    # "String should have at most 80 characters" says neither how many it has, nor of what
    most = fault.get("ctx", {}).get("max_length")
    if most is not None:
        unit = "letters" if isinstance(found, str) else "entries"
        return f"{place} has {len(found)} {unit}; at most {most} here"
    reason = f"{place}: {fault['msg'].removeprefix('Value error, ')}"
    if isinstance(found, str | int | float) or found is None:
        return f"{reason}; found {repr(found)[:QUOTED]}"
    return reason


def _telling(faults: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first fault; where a value may have several types, that of the type which it has."""
    first = faults[0]
    if not first["type"].endswith("_type"):
        return first
    same = [fault for fault in faults if fault["loc"][:1] == first["loc"][:1] and fault["input"] is first["input"]]
    return next((fault for fault in same if not fault["type"].endswith("_type")), first)


def _place(fault: ErrorDetails, words: Mapping[str, Any]) -> str:
    """Where the fault is: "loras.0". Pydantic's own place goes on with the type that was tried."""
    name, *inner = fault["loc"]
    place = [str(name)[:NAMED]]
    value: Any = words.get(str(name))
    for part in inner:
        entries: Mapping[int | str, Any] = {}
        if isinstance(value, dict):
            entries = value
        elif isinstance(value, list):
            entries = dict(enumerate(value))
        if part not in entries:
            break
        value = entries[part]
        place.append(str(part)[:NAMED])
    return ".".join(place)
