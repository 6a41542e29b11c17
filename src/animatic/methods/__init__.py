"""Methods by name. Each is data: a list of controls for each family of models, with its paper and its repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..core.control import Control
from ..errors import AnimaticError
from ..plugins import installed, loaded
from . import baselines, ditctrl, lmd, lvd, published
from .method import ANY, TRANSFORMER, Method, MethodLike
from .stacks import nearest, parts_of, stacked, unknown_part

__all__ = ["ANY", "METHODS", "TRANSFORMER", "Method", "MethodLike", "as_method", "method_named"]

GROUP = "animatic.methods"  # of entry points
OWN = "controls: "  # begins the name of a method that is a list of controls

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        baselines.NONE,
        lvd.LVD,
        lvd.WEAK,
        lvd.BENCHMARK,
        lvd.FAST,
        lvd.LVD_GLIGEN,
        lvd.LVD_PLUS,
        published.LVD,
        published.LVD_WEAK,
        published.LVD_BENCHMARK,
        published.LVD_GLIGEN,
        published.LVD_PLUS,
        baselines.LAYOUT_ATTENTION,
        lmd.LMD,
        lmd.LMD_SAM,
        lmd.LMD_PLUS,
        lmd.LMD_PLUS_SAM,
        baselines.GLIGEN,
        baselines.BOXDIFF,
        baselines.BACKWARD_GUIDANCE,
        baselines.MULTIDIFFUSION,
        published.LMD,
        published.LMD_PLUS,
        published.GLIGEN,
        published.BOXDIFF,
        published.BACKWARD_GUIDANCE,
        published.MULTIDIFFUSION,
        ditctrl.DITCTRL,
        ditctrl.MASKED,
        ditctrl.CHAINED,
        published.DITCTRL,
        ditctrl.WITH_LVD,
        ditctrl.WITH_GLIGEN,
    )
}


def method_named(name: str) -> Method:
    """A method by name: of METHODS, of an installed package's entry point in the group `animatic.methods`, or a stack.

    An entry point is a `Method` or a list of controls. A stack is several methods with plus signs between them, such
    as `lvd+layout-attention`, see `methods.stacks`. Raises `AnimaticError` where there is none, where an entry point is
    neither, and where the methods of a stack contradict each other.
    """
    if name.startswith(OWN):
        raise AnimaticError(f"method {name!r} is a list of controls, which no file can hold; want method=[...] too")
    known = [*METHODS, *installed(GROUP)]
    parts = parts_of(name, known)
    if not parts:
        unknown = unknown_part(name, known)
        where = "" if unknown == name else f" in {name!r}"
        raise AnimaticError(
            f"unknown method {unknown!r}{where}{nearest(unknown, known)}; known: {', '.join(known)}, or several with +"
        )
    if len(parts) > 1:
        return stacked(name, [method_named(part) for part in parts])
    if name in METHODS:
        return METHODS[name]

    # of an installed package: known by the name of its entry point, whatever it calls itself
    return replace(as_method(loaded(GROUP, name)), name=name)


def as_method(given: Any) -> Method:
    """A method from its name, from a `Method`, or from a list of controls for every model.

    Raises `AnimaticError` where it is none of these.
    """
    if isinstance(given, str):
        return method_named(given)
    if isinstance(given, Method):
        return given

    # a list of controls is named by their classes
    if isinstance(given, Sequence):
        for number, control in enumerate(given, 1):
            if not isinstance(control, Control):
                raise AnimaticError(f"control {number} of the list is {repr(control)[:60]}; want a Control")
        kinds = " + ".join(type(control).__name__ for control in given) or "no controls"
        return Method(f"{OWN}{kinds}", f"Controls of your own: {kinds}.", {ANY: tuple(given)})
    raise AnimaticError(f"method is {repr(given)[:60]}; want a name, a Method, or a list of controls")
