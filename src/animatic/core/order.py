"""The order of controls: which must stand around which, and which may be in a list once.

Controls that only change the conditioning or attention (`condition`, `attend`) take part in every evaluation of the
network, wherever they stand. Those that evaluate it themselves (`denoise`, `steer`) reach what is inside them alone:

    Regions  around  Guidance, Composition  around  Energy, and all of them around  Windows  around  ShareKV

Regions are samples of their own, which guidance evaluates in two branches; windows cut up branches. Energies read whole
videos, so that windows must be inside; a composition sets the sample, which undoes what an energy before it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass

from ..errors import AnimaticError
from .control import Control


def check_order(controls: Sequence[Control]) -> None:
    """Raise `AnimaticError` where a list, or one that a control holds, is in an order that cannot work."""
    for i, control in enumerate(controls):
        for earlier in controls[:i]:
            _check_pair(earlier, control)
        for nested in _lists_of(control):
            check_order(nested)


def check_guided(controls: Sequence[Control]) -> None:
    """Raise where no control guides: the samples would have one latent for two branches of text.

    A control of one's own that overrides `denoise` may guide without saying so.
    """
    for control in controls:
        foreign = not type(control).__module__.startswith("animatic.")
        if control.guides or (foreign and type(control).denoise is not Control.denoise):
            return
    listed = ", ".join(type(control).__name__ for control in controls) or "none"
    raise AnimaticError(f"no control guides (controls: {listed}); want Guidance() among them, before Windows")


def sorted_controls(controls: Sequence[Control]) -> list[Control]:
    """The controls in an order that works; those that may stand anywhere keep theirs."""
    rest = list(controls)
    ordered: list[Control] = []
    while rest:
        # the first that stands inside none of those that are left
        for control in rest:
            others = (other for other in rest if other is not control)
            if not any(_is_one_of(control, other.stands_around) for other in others):
                break
        else:
            names = ", ".join(type(control).__name__ for control in rest)
            raise AnimaticError(f"each of {names} wants to stand around another; no order works")
        rest = [other for other in rest if other is not control]
        ordered.append(control)
    return ordered


def _check_pair(earlier: Control, later: Control) -> None:
    """Raise where two controls cannot stand in this order, or not in one list."""
    outer = type(later).__name__
    inner = type(earlier).__name__
    if _is_one_of(earlier, later.stands_around):
        raise AnimaticError(f"{outer} must stand around {inner}, and comes after it; want {outer} before {inner}")
    if later.only_one and kind_of(earlier) is kind_of(later):
        raise AnimaticError(f"{inner} and {outer} cannot be in one list; want one {kind_of(later).__name__}")


def kind_of(control: Control) -> type[Control]:
    """Its kind: the outermost class that says that a control may be there once, or its own."""
    kinds = [cls for cls in type(control).__mro__ if issubclass(cls, Control) and cls.only_one]
    return kinds[-1] if kinds else type(control)


def _is_one_of(control: Control, names: frozenset[str]) -> bool:
    """Whether a control is of one of these classes, by name, or of a subclass."""
    return any(cls.__name__ in names for cls in type(control).__mro__)


def _lists_of(control: Control) -> Iterator[Sequence[Control]]:
    """The lists of controls that a control holds, such as those of the objects' run of a composition."""
    for each in fields(control) if is_dataclass(control) else ():
        value = getattr(control, each.name, None)
        if isinstance(value, tuple) and value and all(isinstance(part, Control) for part in value):
            yield value
