"""Plug-ins: what installed packages add by entry points, by group: methods, models, planners, benchmarks."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import AnimaticError


def installed(group: str) -> list[str]:
    """The names that installed packages give in a group of entry points; nothing is imported."""
    return sorted(entry_points(group=group).names)


def packages_of(group: str) -> dict[str, str]:
    """The package of each name in a group of entry points; nothing is imported."""
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    return {point.name: point.dist.name if point.dist else point.value for point in points}


def loaded(group: str, name: str) -> Any:
    """What an entry point names. Raises `AnimaticError` with the package where its import fails."""
    point = entry_points(group=group)[name]
    try:
        return point.load()
    except Exception as error:  # whatever another package's import raises
        raise AnimaticError(_failed(point, f"cannot be imported: {_described(error)}")) from error


def called(group: str, name: str, *given: Any) -> Any:
    """What the function or class of an entry point returns for what is `given`; an `AnimaticError` of it is its own."""
    make = loaded(group, name)
    point = entry_points(group=group)[name]
    if not callable(make):
        raise AnimaticError(_failed(point, f"is {type(make).__name__}; want a function or class"))
    try:
        return make(*given)
    except AnimaticError:
        raise
    except Exception as error:  # whatever another package's code raises
        raise AnimaticError(_failed(point, f"failed: {_described(error)}")) from error


def _failed(point: EntryPoint, reason: str) -> str:
    package = f" of package {point.dist.name!r}" if point.dist else ""
    return f"{point.group.removeprefix('animatic.')} {point.name!r}{package} ({point.value}) {reason}"


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
