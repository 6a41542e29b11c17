"""Defaults of a method beyond its controls: its solver, its windows over a story, how it weights words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..timeline import BY_TIME, WindowLayout

AnyRecipe = TypeVar("AnyRecipe", bound=Callable[..., Any])


@dataclass(frozen=True)
class Usage:
    """Defaults of a method.

    `scheduler`: "" is the model's own. `layout`: the windows over a story. `reweights_as_published`: see
    `editing.edited`.
    """

    scheduler: str = ""
    layout: WindowLayout = BY_TIME
    reweights_as_published: bool = False


def used(usage: Usage) -> Callable[[AnyRecipe], AnyRecipe]:
    """Decorates a recipe that has defaults of its own."""

    def with_usage(recipe: AnyRecipe) -> AnyRecipe:
        recipe.usage = usage  # pyright: ignore[reportFunctionMemberAccess]
        return recipe

    return with_usage


def usage_of(recipe: Callable[..., Any]) -> Usage:
    """The defaults of a recipe, its own or those of most methods."""
    return getattr(recipe, "usage", Usage())


def layout_of(
    recipe: Callable[..., Any],
    overlap: float | None = None,
    transitions: int | None = None,
    longer_middle: int | None = None,
) -> WindowLayout:
    """The windows of a method; arguments that are not None replace its own."""
    given = {"overlap": overlap, "transitions": transitions, "longer_middle": longer_middle}
    return replace(usage_of(recipe).layout, **{name: value for name, value in given.items() if value is not None})
