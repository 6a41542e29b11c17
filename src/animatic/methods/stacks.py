"""Stacks: several methods by one name, `lvd+layout-attention`: their controls in one list.

The rule of each part of a `Method`:

* controls: those of the first, then those of the others, in an order that works (`core.order`). Equal controls are
  there once. Of a kind that a list may hold once, two that differ are refused; a plain `Guidance()` gives way.
* wording, guidance scale, scheduler and layout of windows: those of the first method that has its own, with a warning
  where another has others.
* paper, arXiv number, repository: those of all.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..controls.guidance import Guidance
from ..core.control import Control
from ..core.order import kind_of, sorted_controls
from ..errors import AnimaticError, warn
from ..timeline import BY_TIME
from .method import ANY, Method

ALONE = "none"  # the model without any method, which a stack has anyway


def parts_of(name: str, known: Collection[str]) -> list[str]:
    """The names of methods that `name` joins by plus signs; [] where it is no such name.

    Names have plus signs of their own ("lvd+"): the longest that leaves a name for every part goes first.
    """
    for first in sorted(known, key=len, reverse=True):
        if name == first:
            return [first]
        if name.startswith(f"{first}+"):
            others = parts_of(name[len(first) + 1 :], known)
            if others:
                return [first, *others]
    return []


def unknown_part(name: str, known: Collection[str]) -> str:
    """The first part of a name with plus signs that is no method, or the name itself."""
    for first in sorted(known, key=len, reverse=True):
        if name.startswith(f"{first}+") and len(name) > len(first) + 1:
            return unknown_part(name[len(first) + 1 :], known)
    first, _, _ = name.partition("+")
    return first or name


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that is spelt most alike, as a question for a message; "" where none is."""
    alike = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {alike[0]!r}?" if alike else ""


def stacked(name: str, parts: Sequence[Method]) -> Method:
    """The methods as one, called `name`. Raises `AnimaticError` where they contradict each other."""
    names = [part.name for part in parts]
    if ALONE in names:
        raise AnimaticError(f"method {name!r}: {ALONE!r} is the model alone, and adds nothing; want it without a plus")
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise AnimaticError(f"method {name!r} has {twice!r} twice; want it once")

    families = dict.fromkeys(family for part in parts for family in part.controls)
    controls = {family: tuple(_joined(name, parts, family)) for family in families}
    summaries = [part.summary.rstrip(".") for part in parts]
    return Method(
        name,
        f"{'; and: '.join(summaries)}.",
        controls,
        paper=_all(part.paper for part in parts),
        arxiv=_all(part.arxiv for part in parts),
        repository=_all(part.repository for part in parts),
        prompt_style=_first(name, parts, "the wording of scenes", lambda part: part.prompt_style),
        guidance=_guidance(name, parts),
        scheduler=_first(name, parts, "the scheduler", lambda part: part.scheduler or None) or "",
        layout=_first(name, parts, "the windows", lambda part: None if part.layout == BY_TIME else part.layout)
        or BY_TIME,
        reweights_as_published=any(part.reweights_as_published for part in parts),
        parts=tuple(names),
    )


def _joined(name: str, parts: Sequence[Method], family: str) -> list[Control]:
    """The controls of all parts on one family of models."""
    joined: dict[int, tuple[Control, str]] = {}  # each with the part that it is of
    for part in parts:
        for control in part.controls.get(family, part.controls[ANY]):
            if any(control == other for other, _ in joined.values()):
                continue

            # one of a kind: the plain guidance that every method has gives way
            clash = next((i for i, (other, _) in joined.items() if _clash(control, other)), None)
            if clash is None:
                joined[len(joined)] = control, part.name
                continue
            other, owner = joined[clash]
            if other == Guidance():
                joined[clash] = control, part.name
            elif control != Guidance():
                kind = kind_of(control).__name__
                raise AnimaticError(
                    f"method {name!r}: {owner!r} and {part.name!r} each have a {kind} of their own; want one of them"
                )
    return sorted_controls([control for control, _ in joined.values()])


def _clash(control: Control, other: Control) -> bool:
    return control.only_one and kind_of(control) is kind_of(other)


def _first(name: str, parts: Sequence[Method], what: str, read: Callable[[Method], Any]) -> Any:
    """The value of the first part that has one; warns where another part has another. None is no value."""
    having = [(read(part), part.name) for part in parts if read(part) is not None]
    if not having:
        return None
    value, owner = having[0]
    others = [other for own, other in having if own != value]
    if others:
        warn(f"method {name!r}: {what} is that of {owner!r}, the first; that of {', '.join(others)} is another")
    return value


def _guidance(name: str, parts: Sequence[Method]) -> dict[str, float | None]:
    """The guidance scale by family: of the first part that has one there."""
    families = dict.fromkeys(family for part in parts for family in part.guidance)
    scales: dict[str, float | None] = {}
    for family in families:

        def on_family(part: Method, family: str = family) -> float | None:
            return part.guidance.get(family, part.guidance.get(ANY))

        where = f" on {family}" if family else ""
        scales[family] = _first(name, parts, f"the guidance scale{where}", on_family)
    return scales


def _all(texts: Any) -> str:
    """Texts that are not empty, each once."""
    return "; ".join(dict.fromkeys(filter(None, texts)))
