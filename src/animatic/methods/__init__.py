"""Methods by name. Each is data: a list of controls for each family of models, with its paper and its repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

from ..core.control import Control
from ..errors import AnimaticError
from . import baselines, ditctrl, lmd, lvd, published
from .method import ANY, TRANSFORMER, Method, MethodLike

__all__ = ["ANY", "METHODS", "TRANSFORMER", "Method", "MethodLike", "as_method", "method_named"]

OWN = "controls: "  # begins the name of a method that is a list of controls

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        baselines.NONE,
        lvd.LVD,
        lvd.WEAK,
        lvd.BENCHMARK,
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
    """A method by name: of METHODS, or of an installed package's entry point in the group `animatic.methods`.

    An entry point is a `Method` or a list of controls. Raises `AnimaticError` where there is none, or it is neither.
    """
    if name in METHODS:
        return METHODS[name]

    # of an installed package: known by the name of its entry point, whatever it calls itself
    others = entry_points(group="animatic.methods")
    if name in others.names:
        return replace(as_method(others[name].load()), name=name)
    if name.startswith(OWN):
        raise AnimaticError(f"method {name!r} is a list of controls, which no file can hold; want method=[...] too")
    raise AnimaticError(f"unknown method {name!r}; known: {', '.join([*METHODS, *sorted(others.names)])}")


def as_method(given: Any) -> Method:
    """A method from its name, from a `Method`, or from a list of controls for every model.

    Raises `AnimaticError` where it is none of these.
    """
    if isinstance(given, str):
        return method_named(given)
    if isinstance(given, Method):
        return given

    # a list of controls is named by their classes
    if isinstance(given, Sequence) and all(isinstance(control, Control) for control in given):
        kinds = " + ".join(type(control).__name__ for control in given) or "no controls"
        return Method(f"{OWN}{kinds}", f"Controls of your own: {kinds}.", {ANY: tuple(given)})
    raise AnimaticError(f"method is {repr(given)[:60]}; want a name, a Method, or a list of controls")
